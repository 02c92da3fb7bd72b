"""pgbastion targets test, audit and init-sql: does the gateway get in there, with which rights, and with how few could it."""

from collections.abc import Mapping
from typing import Annotated

import typer

from gateway.access_mode import AccessMode
from gateway.cli.client import Api, path, records
from gateway.cli.options import AnyMode, AsJson
from gateway.cli.output import Record, print_json, say, say_raw, show
from gateway.cli.progress import working
from gateway.cli.reach import admin
from gateway.cli.target_permits import Name

_CATALOGS = {"worker": "worker", "login": "login", "revision": "revision", "seconds": "seconds", "failure": "failure"}
_HEALTH = {
    "target": "target",
    "mode": "mode",
    "state": "state",
    "answered_at": "last answer",
    "failed_at": "last failure",
    "kind": "cause",
}
_STEPS = {"mode": "mode", "name": "step", "ok": "ok", "detail": "found", "remedy": "remedy"}


def register(app: typer.Typer) -> None:
    """Add these commands to `pgbastion targets`."""
    admin(app, "test", examples=["pgbastion targets test shop", "pgbastion targets test shop --mode read_write --json"])(look)
    admin(app, "refresh", examples=["pgbastion targets refresh shop"])(refresh)
    admin(app, "health", examples=["pgbastion targets health", "pgbastion targets health --json"])(health)
    admin(app, "audit", examples=["pgbastion targets audit shop", "pgbastion targets audit shop --mode read_write --json"])(
        audit
    )
    admin(
        app,
        "init-sql",
        examples=[
            "pgbastion targets init-sql shop > roles.sql",
            "pgbastion targets init-sql shop | psql ...",
            "pgbastion targets init-sql shop --grant 5d3e1f0a-... > roles.sql",
        ],
    )(init_sql)


def look(api: Api, name: Name, mode: AnyMode = None, as_json: AsJson = False) -> None:
    """Log in to a target as its sessions do, and name the step that fails: DNS, TCP, TLS, login, role, database, settings.

    Exit status: 0 when every step went well, else 1.
    """
    target = api.get(path("targets", name)).record
    steps: list[Record] = []
    for each in [mode] if mode is not None else _modes(target):
        with working(f"{name}, {each}"):
            found = api.post(path("targets", name, "check"), mode=each.value)
        steps += [{"mode": each.value, **step} for step in records(found.get("steps"))]
    if as_json:
        print_json(steps)
    elif not steps:
        say(f'Target "{name}" has no login yet. Next: pgbastion targets login {name} --mode read_only --login ROLE')
    else:
        show(steps, as_json=False, columns=_STEPS, empty="")
    if not steps or not all(step.get("ok") for step in steps):
        raise typer.Exit(1)


def refresh(api: Api, name: Name, as_json: AsJson = False) -> None:
    """Read a target's functions, types and views again: after this, live sessions are judged by them. It happens by itself, too.

    Exit status: 0 when it was read, or nobody needs it now; else 1.
    """
    with working(name):
        found = api.post(path("targets", name, "refresh"))
    if as_json:
        print_json(found)
    else:
        nobody = f'Nobody is in "{name}" read-only: what is there is read when somebody comes.'
        show(records(found.get("catalogs")), as_json=False, columns=_CATALOGS, empty=nobody)
    if not found.get("ok"):
        raise typer.Exit(1)


def health(api: Api, as_json: AsJson = False) -> None:
    """List how targets answered sessions lately: since the gateway was started, and by what came last."""
    found = api.all(path("target-health"))
    show(found, as_json=as_json, columns=_HEALTH, empty="No target has a login yet.")


def audit(api: Api, name: Name, mode: AnyMode = None, as_json: AsJson = False) -> None:
    """Say what the role of a target's login could still do if the parser failed, and the SQL that ends it. Nothing is changed.

    Exit status: 0 when nothing above info was found, else 1.
    """
    target = api.get(path("targets", name)).record
    audits: list[Record] = []
    for each in [mode] if mode is not None else _modes(target):
        with working(f"{name}, {each}"):
            audits.append(api.post(path("targets", name, "audit"), mode=each.value))
    if as_json:
        print_json(audits)
    elif not audits:
        say(f'Target "{name}" has no login yet. Next: pgbastion targets login {name} --mode read_only --login ROLE')
    for found in [] if as_json else audits:
        _say_audit(found)
    if not audits or not all(found.get("ok") for found in audits):
        raise typer.Exit(1)


def _say_audit(found: Record) -> None:
    """A block for each finding: SQL is to be copied, and a table would cut it."""
    findings = records(found.get("findings"))
    say(f'{found.get("mode")}: the role "{found.get("login")}"')
    obstacle = found.get("obstacle")
    if isinstance(obstacle, Mapping):
        say(f"  could not be looked at: {obstacle.get('name')}: {obstacle.get('detail')}")
        say(f"  {obstacle.get('remedy')}")
    elif not findings:
        say("  could do nothing but read.")
    for each in findings:
        say("")
        say(f"  {each.get('severity')}: {each.get('check')}: {each.get('detail')}")
        say(f"    {each.get('meaning')}")
        if each.get("remedy"):
            say(f"    {each.get('remedy')}")
    say("")


def init_sql(
    api: Api,
    name: Name,
    grant: Annotated[
        str | None,
        typer.Option(
            "--grant",
            metavar="ID",
            help="For this grant's list of schemas and tables: a role that has these alone.",
            show_default="the target's own roles",
        ),
    ] = None,
) -> None:
    """Print SQL that makes the target's database roles with the least rights they need. Run it as the database's admin."""
    say_raw(str(api.get(path("targets", name, "init-sql"), grant=grant).record.get("sql")))


def _modes(target: Record) -> list[AccessMode]:
    logins = target.get("logins")
    return [mode for mode in AccessMode if isinstance(logins, dict) and mode.value in logins]
