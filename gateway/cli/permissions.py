"""pgbastion permissions ..."""

import csv
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from gateway.cli import names
from gateway.cli.audit import When, parse_instant
from gateway.cli.client import Api, path, records
from gateway.cli.options import AsJson
from gateway.cli.output import JsonValue, Record, print_json, say, show
from gateway.cli.reach import admin
from gateway.services.permissions_page import as_markdown

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Who may do what as an admin, and why.")

OfUser = Annotated[str, typer.Option("--user", help="The user's name.", show_default=False, autocompletion=names.users)]

_HELD = {"environment": "environment", "permission": "permission", "how": "how", "role": "admin role"}
_VERBS = {"verb": "verb", "resource": "resource", "action": "action", "scope": "asked about", "permissions": "allowed by"}
_REACH = {
    "user": "user",
    "target": "target",
    "environment": "environment",
    "mode": "mode",
    "through": "through",
    "since": "since",
    "until": "until",
    "account": "account",
    "grant": "grant",
}


@admin(app, "show", examples=["pgbastion permissions show --user ana_diaz"])
def show_rights(api: Api, user: OfUser, as_json: AsJson = False) -> None:
    """Show what somebody may do in each environment: explicit or implied, by which admin role."""
    rights = api.get(path("permissions", "users", user)).record
    if as_json:
        print_json(rights)
        return
    if rights.get("owner"):
        say(f'"{user}" is an owner: may do everything everywhere.')
    if not rights.get("active"):
        say(f'"{user}" is disabled or has expired, so none of this holds at the moment.')
    rows = [
        {
            "environment": there.get("environment"),
            "permission": held.get("permission"),
            "how": _how(held),
            "role": held.get("role"),
        }
        for there in records(rights.get("environments"))
        for held in records(there.get("permissions"))
    ]
    show(rows, as_json=False, columns=_HELD, empty=f'"{user}" has no admin role: may do nothing but use what is granted.')


@admin(
    app,
    examples=[
        "pgbastion permissions why --user ana_diaz targets.delete shop",
        "pgbastion permissions why --user ana_diaz targets.create --environment production",
        "pgbastion permissions why --user ana_diaz tunnel.connect shop",
    ],
)
def why(
    api: Api,
    user: OfUser,
    verb: Annotated[str, typer.Argument(help="As permissions verbs lists it.", show_default=False)],
    target: Annotated[
        str | None, typer.Argument(help="On this target.", show_default=False, autocompletion=names.targets)
    ] = None,
    environment: Annotated[
        str | None, typer.Option("--environment", help="In this environment.", autocompletion=names.environments)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say whether somebody may do this, by which admin role; or which permission it takes, and who can give it."""
    found = api.get(path("permissions", "users", user, "why", verb), target=target, environment=environment).record
    if as_json:
        print_json(found)
        return
    place = "" if found.get("environment") is None else f' in "{found.get("environment")}"'
    may = "may" if found.get("allowed") else "may not"
    say(f'"{user}" {may} do {verb}{place} ({found.get("resource")}: {found.get("action")}).')
    for held in records(found.get("because")):
        say(f'  admin role "{held.get("role")}": {held.get("permission")}, {_how(held)}')
    if not found.get("allowed"):
        needed = _listed(found.get("needed"))
        takes = f"It takes one of: {needed}." if needed else "Only owners may."
        givers = ", ".join(
            each for each in (_listed(found.get("givers")), "whoever runs commands on the gateway's machine") if each
        )
        say(f"  {takes} Who can give it: {givers}.")


@admin(app, examples=["pgbastion permissions verbs"])
def verbs(
    api: Api,
    markdown: Annotated[bool, typer.Option("--markdown", help="As tables for a document.")] = False,
    as_json: AsJson = False,
) -> None:
    """List every verb with the permissions that allow it."""
    if markdown:
        sys.stdout.write(as_markdown())
        return
    found = records(api.get(path("permissions", "verbs")).record.get("items"))
    show(found, as_json=as_json, columns=_VERBS, empty="")


@admin(
    app,
    examples=["pgbastion permissions report --csv > access.csv", "pgbastion permissions report --since 2026-01-01 --json"],
)
def report(
    api: Api,
    since: When = None,
    until: When = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV.")] = False,
    as_json: AsJson = False,
) -> None:
    """Report who could reach what, when, by which grant: for access reviews."""
    now = datetime.now(UTC)
    period = {name: parse_instant(text, now).isoformat() for name, text in (("since", since), ("until", until)) if text}
    found = records(api.get(path("permissions", "report"), **period).record.get("items"))
    if as_csv:
        _write_csv(found)
        return
    show(found, as_json=as_json, columns=_REACH, empty="Nobody could reach anything.")


def _write_csv(rows: Sequence[Record]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(_REACH)
    writer.writerows([_plain(row.get(name)) for name in _REACH] for row in rows)


def _plain(value: JsonValue) -> str:
    """As a spreadsheet may read it: nothing that it would take for a formula."""
    text = "" if value is None else str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def _how(held: Record) -> str:
    return "explicit" if held.get("explicit") else f"implied by {held.get('by')}"


def _listed(value: JsonValue) -> str:
    return ", ".join(str(each) for each in value) if isinstance(value, list) else ""
