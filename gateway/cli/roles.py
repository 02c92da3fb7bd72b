"""pgbastion roles ..."""

from typing import Annotated

import typer

from gateway.access.model import Permission
from gateway.cli import names
from gateway.cli.client import Api, path
from gateway.cli.options import AsJson, IfVersion, Reason
from gateway.cli.output import Record, print_json, say, show
from gateway.cli.reach import admin

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Admin roles: who may change what, and where.")

Name = Annotated[str, typer.Argument(help="The admin role's name.", show_default=False, autocompletion=names.roles)]
InEnvironment = Annotated[
    str, typer.Option("--environment", help="In this environment.", autocompletion=names.environments, show_default=False)
]
Permissions = Annotated[
    list[Permission], typer.Option("--permission", help="May be repeated; they add up.", show_default=False)
]

_COLUMNS = {"name": "name", "permissions": "permissions", "members": "members", "owners": "owners", "id": "id"}


@admin(app, examples=["pgbastion roles create dba --member ana_diaz"])
def create(
    api: Api,
    name: Name,
    member: Annotated[
        list[str] | None, typer.Option("--member", help="A first member; may be repeated.", autocompletion=names.users)
    ] = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Create an admin role. It holds no permission yet."""
    made = api.post(path("roles"), {"name": name, "members": member or []}, reason=reason)
    if as_json:
        print_json(made)
    else:
        say(f'Admin role "{name}" created. Next: pgbastion roles grant {name} --environment NAME --permission PERMISSION')


@admin(app, "list", examples=["pgbastion roles list"])
def list_roles(api: Api, as_json: AsJson = False) -> None:
    """List admin roles with permissions and members. Owners may do everything everywhere."""
    show([_flat(each) for each in api.all(path("roles"))], as_json=as_json, columns=_COLUMNS, empty="No admin roles of yours.")


@admin(app, examples=["pgbastion roles grant dba --environment production --permission read --permission tunnel"])
def grant(
    api: Api, name: Name, environment: InEnvironment, permission: Permissions, if_version: IfVersion = None, reason: Reason = ""
) -> None:
    """Add permissions in one environment: its members have them at once."""
    body: Record = {"permissions": [each.value for each in permission]}
    role = api.put(path("roles", name, "environments", environment), body, reason=reason, version=if_version)
    _say_held(role, name, environment)


@admin(app, examples=["pgbastion roles revoke dba --environment production --permission tunnel"])
def revoke(
    api: Api, name: Name, environment: InEnvironment, permission: Permissions, if_version: IfVersion = None, reason: Reason = ""
) -> None:
    """Take permissions in one environment away; sessions that stood on them end within a second."""
    role: Record = {}
    for each in permission:
        where = path("roles", name, "environments", environment, each.value)
        role = api.delete(where, reason=reason, version=if_version)
        if_version = None
    _say_held(role, name, environment)


@admin(
    app,
    examples=["pgbastion roles members dba --add ben_okoro --remove ana_diaz", "pgbastion roles members owners --add ana_diaz"],
)
def members(
    api: Api,
    name: Name,
    add: Annotated[list[str] | None, typer.Option("--add", help="Who gets it.", autocompletion=names.users)] = None,
    remove: Annotated[list[str] | None, typer.Option("--remove", help="Who loses it.", autocompletion=names.users)] = None,
    if_version: IfVersion = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Give the role to users, take it from others; without either, list its members. The last owner stays."""
    where = path("roles", name, "members")
    if add or remove:
        body: Record = {"add": add or [], "remove": remove or []}
        role = api.change("PATCH", where, body, reason=reason, version=if_version)
    else:
        role = api.get(path("roles", name)).record
    if as_json:
        print_json(role)
        return
    found = role.get("members")
    listed = ", ".join(str(each) for each in found) if isinstance(found, list) else ""
    say(f'Members of "{name}": {listed or "nobody"}.')


@admin(app, examples=["pgbastion roles delete dba"])
def delete(api: Api, name: Name, if_version: IfVersion = None, reason: Reason = "") -> None:
    """Delete an admin role, and with it what its members had by it. That of the owners stays."""
    api.delete(path("roles", name), reason=reason, version=if_version)
    say(f'Admin role "{name}" deleted.')


def _flat(role: Record) -> Record:
    return {**role, "permissions": "everything"} if role.get("owners") else role


def _say_held(role: Record, name: str, environment: str) -> None:
    held = role.get("permissions")
    there = held.get(environment) if isinstance(held, dict) else None
    listed = ", ".join(str(each) for each in there) if isinstance(there, list) else ""
    say(f'Admin role "{name}" holds in "{environment}": {listed or "nothing"}.')
