"""pgbastion oidc mappings ..."""

from typing import Annotated

import typer

from gateway.cli import names
from gateway.cli.client import Api, path
from gateway.cli.options import AsJson, IfVersion, Reason
from gateway.cli.output import print_json, say, show
from gateway.cli.reach import admin, example_text

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The identity provider.")
mappings = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="What groups at the identity provider mean here.",
    epilog=example_text(["pgbastion oidc mappings create data-analysts --group analysts", "pgbastion oidc mappings list"]),
)
app.add_typer(mappings, name="mappings")

_COLUMNS = {"value": "group there", "group": "group here", "role": "admin role", "id": "id"}


@admin(
    mappings,
    examples=[
        "pgbastion oidc mappings create data-analysts --group analysts",
        "pgbastion oidc mappings create dba --role operators",
    ],
)
def create(
    api: Api,
    value: Annotated[str, typer.Argument(help="As the provider's group claim has it.", show_default=False)],
    group: Annotated[str | None, typer.Option("--group", help="A group here.", autocompletion=names.groups)] = None,
    role: Annotated[str | None, typer.Option("--role", help="An admin role.")] = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Whoever is in that group there is in this one here, or holds this admin role. Who is not, is taken out."""
    if (group is None) == (role is None):
        raise typer.BadParameter("give either --group or --role")
    made = api.post(path("claim-mappings"), {"value": value, "group": group, "role": role}, reason=reason)
    if as_json:
        print_json(made)
        return
    say(f'"{value}" means {f"group {group}" if group else f"admin role {role}"} from the next sign-in on.')


@admin(mappings, "list", examples=["pgbastion oidc mappings list"])
def list_mappings(api: Api, as_json: AsJson = False) -> None:
    """List them."""
    found = api.all(path("claim-mappings"))
    empty = "No mappings. Create one: pgbastion oidc mappings create VALUE --group GROUP"
    show(found, as_json=as_json, columns=_COLUMNS, empty=empty)


@admin(mappings, examples=["pgbastion oidc mappings delete 4b3c5a1e-..."])
def delete(
    api: Api,
    mapping_id: Annotated[str, typer.Argument(metavar="ID", help="Of the mapping; list tells it.", show_default=False)],
    if_version: IfVersion = None,
    reason: Reason = "",
) -> None:
    """Delete one. Who is in the group, or holds the role, by it stays there: take them out by hand."""
    api.delete(path("claim-mappings", mapping_id), reason=reason, version=if_version)
    say("Mapping deleted.")
