"""pgbastion request ...: ask for a right that ends by itself, decide about others' requests, give back what is not needed."""

import shutil
import sys
from textwrap import shorten
from typing import Annotated, Final

import typer

from gateway.cli import names, request_asking, request_deciding
from gateway.cli.client import Api, path
from gateway.cli.instants import away, exactly, utc_now
from gateway.cli.options import AsJson
from gateway.cli.output import Record, print_json, show
from gateway.cli.reach import admin
from gateway.cli.request_deciding import Number, Reason
from gateway.cli.request_shown import GIVEN, STYLES, place_of, right_of, say_noted, who_of

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Ask for a right that ends by itself; decide about others' requests. Whoever waits learns by the exit status: "
    "0 approved, 1 error, expired or taken back, 2 denied (or wrong usage), 4 timed out.",
)

_LIST: Final = {
    "number": "no.",
    "state": "state",
    "who": "who",
    "where": "where",
    "right": "what",
    "length": "for",
    "asked": "asked",
    "ends": "ends",
    "reason": "reason",
    "approvers": "waits for",
}
_NOT_IF_NARROW: Final = ("reason", "approvers")
_NARROW: Final = 110
_REASON: Final = 40
_ASKABLE: Final = {
    "target": "target",
    "environment": "environment",
    "mode": "mode",
    "default": "usually",
    "most": "at most",
    "wants": "wants",
    "database_roles": "roles",
    "emergency": "emergency",
}

AnyUser = Annotated[str | None, typer.Option("--user", help="Only by or for this user.", autocompletion=names.users)]
AnyTarget = Annotated[str | None, typer.Option("--target", help="Only for this target.", autocompletion=names.targets)]
AnyEnvironment = Annotated[
    str | None, typer.Option("--environment", help="Only in this environment.", autocompletion=names.environments)
]

request_asking.register(app)


@admin(
    app,
    "list",
    examples=["pgbastion request list", "pgbastion request list --to-decide", "pgbastion request list --all --user ana --json"],
)
def list_requests(
    api: Api,
    to_decide: Annotated[bool, typer.Option("--to-decide", help="Only those that wait for your word.")] = False,
    to_review: Annotated[bool, typer.Option("--to-review", help="Only emergencies that nobody has reviewed.")] = False,
    mine: Annotated[bool, typer.Option("--mine", help="Only those by you or for you.")] = False,
    user: AnyUser = None,
    target: AnyTarget = None,
    environment: AnyEnvironment = None,
    everything: Annotated[bool, typer.Option("--all", help="Those that are over, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List requests that are not over: yours, and those that you may see."""
    chosen = [name for name, given in (("to-decide", to_decide), ("to-review", to_review), ("mine", mine)) if given]
    if len(chosen) > 1:
        raise typer.BadParameter("give one of --to-decide, --to-review and --mine")
    found = api.all(
        path("access-requests"),
        which=chosen[0] if chosen else None,
        live=None if everything or to_review else True,
        user=user,
        target=target,
        environment=environment,
    )
    if as_json:
        print_json(found)
        return
    rows = [_row(each) for each in found]
    empty = "No requests. Ask: pgbastion request create TARGET (see: pgbastion request targets)"
    columns = _filled(_LIST, rows)
    if sys.stdout.isatty() and shutil.get_terminal_size().columns < _NARROW:  # request show has it all
        columns = {name: heading for name, heading in columns.items() if name not in _NOT_IF_NARROW}
    show(
        rows, as_json=False, columns=columns, empty=empty, styles={"state": STYLES}, stacked=("state", "right", "asked", "ends")
    )


@admin(app, "targets", examples=["pgbastion request targets", "pgbastion request targets --json"])
def list_targets(api: Api, as_json: AsJson = False) -> None:
    """List what you may ask for: targets, access modes, roles of databases, and for how long."""
    found = api.all(path("askable"))
    if as_json:
        print_json(found)
        return
    rows: list[Record] = [
        {
            **each,
            "target": each.get("target") or "(all of it)",
            "default": exactly(each.get("default_seconds")),
            "most": exactly(each.get("max_seconds")),
            "wants": ", ".join(name for name in ("reason", "ticket") if each.get(f"{name}_required")),
            "emergency": exactly(each.get("break_glass_seconds")),
        }
        for each in found
    ]
    empty = "There is nothing that you may ask for. An admin opens it: pgbastion approvals create --help"
    show(rows, as_json=False, columns=_filled(_ASKABLE, rows), empty=empty)


@admin(app, examples=['pgbastion request cancel 17 --reason "not needed any more"'])
def cancel(api: Api, number: Number, reason: Reason = "", as_json: AsJson = False) -> None:
    """Take back what you asked for, before it begins."""
    _end(api, number, "cancel", reason, as_json=as_json)


@admin(app, examples=["pgbastion request relinquish 17"])
def relinquish(api: Api, number: Number, reason: Reason = "", as_json: AsJson = False) -> None:
    """Give back what you were given. Sessions that stand on it end within a second."""
    _end(api, number, "relinquish", reason, as_json=as_json)


request_deciding.register(app)


def _end(api: Api, number: str, verb: str, reason: str, *, as_json: bool) -> None:
    found = api.post(path("access-requests", number, verb), reason=reason)
    if as_json:
        print_json(found)
    else:
        say_noted(found)


def _filled(columns: dict[str, str], rows: list[Record]) -> dict[str, str]:
    """Those in which there is anything."""
    return {name: heading for name, heading in columns.items() if any(row.get(name) for row in rows)}


def _row(request: Record) -> Record:
    now = utc_now()
    return {
        **request,
        "who": who_of(request),
        "where": place_of(request),
        "right": right_of(request),
        "reason": shorten(str(request.get("reason")), _REASON, placeholder=" ..."),
        "length": exactly(request.get("duration_seconds")),
        "asked": away(request.get("asked_at"), now),
        "ends": away(request.get("ends_at"), now) if request.get("state") in GIVEN else "",
    }
