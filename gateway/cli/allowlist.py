"""pgbastion allowlist ..."""

from typing import Annotated

import typer

from gateway.access.model import ListMode
from gateway.cli import names
from gateway.cli.client import Api, path
from gateway.cli.errors import CommandError
from gateway.cli.options import AsJson, Expires, IfVersion, Reason, until
from gateway.cli.output import Record, note, print_json, say, show
from gateway.cli.reach import admin

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="From which networks. An address must pass the global list, and the user's and the target's where they restrict.",
)

OfTarget = Annotated[
    str | None,
    typer.Option("--target", help="This target's own list.", show_default="the global list", autocompletion=names.targets),
]
OfUser = Annotated[
    str | None, typer.Option("--user", help="This user's own list.", show_default="the global list", autocompletion=names.users)
]

COLUMNS = {
    "level": "list",
    "network": "network",
    "label": "label",
    "valid_until": "expires",
    "live": "live",
    "id": "id",
}


@admin(
    app,
    examples=[
        "pgbastion allowlist create 203.0.113.0/24 --label office",
        "pgbastion allowlist create 203.0.113.7 --user ana_diaz --expires 8h",
    ],
)
def create(
    api: Api,
    network: Annotated[str, typer.Argument(help="An address or a network, such as 10.1.0.0/16.", show_default=False)],
    label: Annotated[str, typer.Option("--label", help="What it is, for people.", show_default=False)] = "",
    target: OfTarget = None,
    user: OfUser = None,
    expires: Expires = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Admit a network."""
    _one_level(target, user)
    body = {"network": network, "label": label, "valid_until": until(expires), "level": _level(target, user)}
    made = api.post(path("allowlist"), body, reason=reason)
    if as_json:
        print_json(made)
    else:
        say(f"{made.get('network')} added to the list: {made.get('level')}.")
    if (owner := _owner(target, user)) and api.get(path(*owner)).record.get("allowlist") != ListMode.RESTRICT.value:
        note("Note: this list is in mode inherit, so it is ignored. See: pgbastion allowlist mode --help")


@admin(app, "list", examples=["pgbastion allowlist list", "pgbastion allowlist list --user ana_diaz"])
def list_entries(api: Api, target: OfTarget = None, user: OfUser = None, as_json: AsJson = False) -> None:
    """List entries, expired ones too; all lists unless one is named."""
    _one_level(target, user)
    found = api.all(path("allowlist"), target=target, user=user)
    show(found, as_json=as_json, columns=COLUMNS, empty="No entries. (An empty global list admits nobody.)")


@admin(app, examples=["pgbastion allowlist delete 203.0.113.0/24", "pgbastion allowlist delete 203.0.113.7 --user ana_diaz"])
def delete(
    api: Api,
    entry: Annotated[str, typer.Argument(help="The entry's id, or its network.", show_default=False)],
    target: OfTarget = None,
    user: OfUser = None,
    if_version: IfVersion = None,
    reason: Reason = "",
) -> None:
    """Remove an entry; sessions from there end within a second."""
    _one_level(target, user)
    is_network = "." in entry or ":" in entry
    gone = _by_network(api, entry, target, user) if is_network else api.get(path("allowlist", entry)).record
    api.delete(path("allowlist", str(gone["id"])), reason=reason, version=if_version)
    say(f"{gone.get('network')} removed from the list: {gone.get('level')}.")
    if not any(each.get("level") == "global" for each in api.pages(path("allowlist"))):
        note("Note: the global list is empty now: nobody is admitted.")


@admin(app, examples=["pgbastion allowlist mode restrict --user ana_diaz", "pgbastion allowlist mode inherit --target shop"])
def mode(
    api: Api,
    mode: Annotated[ListMode, typer.Argument(help="inherit: the list is ignored. restrict: only what it lists is admitted.")],
    target: OfTarget = None,
    user: OfUser = None,
    if_version: IfVersion = None,
    reason: Reason = "",
) -> None:
    """Switch a target's or a user's own list on or off."""
    _one_level(target, user)
    owner = _owner(target, user)
    if owner is None:
        raise CommandError("the global list always restricts", "Name a list: --user NAME or --target NAME.")
    changed = api.patch(path(*owner), {"allowlist": mode.value}, reason=reason, version=if_version)
    say(f"The list of {owner[0][:-1]} {owner[1]} is in mode {changed.get('allowlist')}.")
    live = any(each.get("live") for each in api.pages(path("allowlist"), target=target, user=user))
    if mode is ListMode.RESTRICT and not live:
        note("Note: it has no live entry, so nobody is admitted there.")


def _by_network(api: Api, network: str, target: str | None, user: str | None) -> Record:
    from gateway.access.networks import NetworkError, parse_network

    try:
        wanted = str(parse_network(network))
    except NetworkError as error:
        raise CommandError(str(error)) from error
    owner = _owner(target, user)
    level = "global" if owner is None else None
    for each in api.pages(path("allowlist"), target=target, user=user):
        if each.get("network") == wanted and (level is None or each.get("level") == level):
            return each
    whose = "global" if owner is None else f"{owner[0][:-1]} {owner[1]}"
    raise CommandError(f"{wanted} is not on this list ({whose})", "See: pgbastion allowlist list")


def _one_level(target: str | None, user: str | None) -> None:
    if target is not None and user is not None:
        raise typer.BadParameter("give either --target or --user")


def _owner(target: str | None, user: str | None) -> tuple[str, str] | None:
    if target is not None:
        return "targets", target
    return None if user is None else ("users", user)


def _level(target: str | None, user: str | None) -> Record:
    if target is not None:
        return {"target": target}
    return {} if user is None else {"user": user}
