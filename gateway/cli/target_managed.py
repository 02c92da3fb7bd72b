"""pgbastion targets managed, managed-logins and clean: a database role for each person."""

from typing import Annotated

import typer

from gateway.access.managed import ManagedMode
from gateway.cli.client import Api, path, records
from gateway.cli.options import AsJson, IfVersion, Reason
from gateway.cli.output import print_json, say, show
from gateway.cli.progress import working
from gateway.cli.reach import admin
from gateway.cli.target_permits import Name

_LOGINS = {
    "login": "login",
    "user": "user",
    "mode": "mode",
    "grant": "grant",
    "member_of": "member of",
    "valid_until": "valid until",
    "state": "state",
    "finding": "finding",
}
_CLEANED = {"login": "login", "kind": "kind", "left": "left", "reason": "reason"}


def register(app: typer.Typer) -> None:
    """Add these commands to `pgbastion targets`."""
    admin(
        app,
        "managed",
        examples=["pgbastion targets managed shop --mode per-user", "pgbastion targets managed shop --mode off"],
    )(managed)
    admin(app, "managed-logins", examples=["pgbastion targets managed-logins shop --json"])(managed_logins)
    admin(app, "clean", examples=["pgbastion targets clean shop --dry-run", "pgbastion targets clean shop"])(clean)


def managed(
    api: Api,
    name: Name,
    mode: Annotated[
        ManagedMode,
        typer.Option("--mode", help="off: the target's own logins; else a database role for each person, or grant."),
    ],
    if_version: IfVersion = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Set whose database role the target's sessions use upstream; its sessions end.

    Roles are made on the server when somebody first comes, and dropped when their right ends. It takes the target's admin login.
    """
    with working(name):
        target = api.put(path("targets", name, "managed"), {"managed": mode.value}, reason=reason, version=if_version)
    if as_json:
        print_json(target)
        return
    match mode:
        case ManagedMode.OFF:
            say(f'Target "{name}" uses its own logins. Look what is left: pgbastion targets managed-logins {name}')
        case ManagedMode.PER_USER:
            say(f'Target "{name}": each person has a database role of their own from their next login on.')
        case ManagedMode.PER_GRANT:
            say(f'Target "{name}": each person has a database role for each grant from their next login on.')


def managed_logins(api: Api, name: Name, as_json: AsJson = False) -> None:
    """List the database roles that people have on the target's server, and why one could not be made or dropped."""
    found = api.all(path("targets", name, "managed-logins"))
    show(found, as_json=as_json, columns=_LOGINS, empty=f'Nobody has a database role of their own on "{name}".')


def clean(
    api: Api,
    name: Name,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only look.")] = False,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Drop the gateway's login roles that should not be on the target's server any more. It happens by itself, too.

    Exit status: 0 when nothing is left, else 1.
    """
    with working(name):
        found = api.post(path("targets", name, "clean"), reason=reason, dry_run="true" if dry_run else None)
    if as_json:
        print_json(found)
    else:
        show(records(found.get("logins")), as_json=False, columns=_CLEANED, empty="There is nothing to clean up.")
    if not found.get("ok"):
        raise typer.Exit(1)
