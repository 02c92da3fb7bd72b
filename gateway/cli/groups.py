"""pgbastion groups ..."""

from typing import Annotated

import typer

from gateway.cli import names
from gateway.cli.client import Api, path
from gateway.cli.options import AsJson, IfVersion, Reason
from gateway.cli.output import print_json, say, show
from gateway.cli.reach import admin

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Users who share grants.")

Name = Annotated[str, typer.Argument(help="The group's name.", show_default=False, autocompletion=names.groups)]
Members = Annotated[
    list[str], typer.Argument(metavar="USER...", help="Users' names.", show_default=False, autocompletion=names.users)
]

COLUMNS = {"name": "name", "members": "members", "grants": "grants", "id": "id"}


@admin(app, examples=["pgbastion groups create analysts --member ana_diaz --member ben_okoro"])
def create(
    api: Api,
    name: Name,
    member: Annotated[
        list[str] | None, typer.Option("--member", help="A first member; may be repeated.", autocompletion=names.users)
    ] = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Create a group. It has no grant yet."""
    made = api.post(path("groups"), {"name": name, "members": member or []}, reason=reason)
    if as_json:
        print_json(made)
    else:
        say(f'Group "{name}" created. Next: pgbastion groups add {name} USER')


@admin(app, "list", examples=["pgbastion groups list"])
def list_groups(api: Api, as_json: AsJson = False) -> None:
    """List all groups."""
    found = api.all(path("groups"))
    show(found, as_json=as_json, columns=COLUMNS, empty="No groups yet. Create one: pgbastion groups create NAME")


@admin(app, "show", examples=["pgbastion groups show analysts"])
def show_group(api: Api, name: Name, as_json: AsJson = False) -> None:
    """Show one group with its members and grants."""
    from gateway.cli.grant_terms import show_grants

    group = api.get(path("groups", name)).record
    held = api.all(path("grants"), group=name)
    if as_json:
        print_json({**group, "grant_list": held})
        return
    show([group], as_json=False, columns=COLUMNS, empty="")
    show_grants(held)


@admin(app, examples=["pgbastion groups add analysts ana_diaz ben_okoro"])
def add(api: Api, name: Name, users: Members, reason: Reason = "") -> None:
    """Make users members: what the group is granted they may use, at once."""
    for user in users:
        api.put(path("groups", name, "members", user), reason=reason)
        say(f'User "{user}" is in group "{name}".')


@admin(app, examples=['pgbastion groups remove analysts ana_diaz --reason "changed teams"'])
def remove(api: Api, name: Name, users: Members, reason: Reason = "") -> None:
    """Take users out; sessions that stand on the group's grants end within a second."""
    for user in users:
        api.delete(path("groups", name, "members", user), reason=reason)
        say(f'User "{user}" is not in group "{name}" any more.')


@admin(app, examples=["pgbastion groups delete analysts"])
def delete(api: Api, name: Name, if_version: IfVersion = None, reason: Reason = "") -> None:
    """Delete a group with its grants; sessions that stand on them end. Its members stay users."""
    api.delete(path("groups", name), reason=reason, version=if_version)
    say(f'Group "{name}" deleted.')
