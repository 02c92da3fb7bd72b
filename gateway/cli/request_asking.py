"""pgbastion request create and wait: ask for a right, and learn what came of it."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from gateway.access.asking import Scope
from gateway.access.authorize import parse_database_name
from gateway.access_mode import AccessMode
from gateway.cli import names
from gateway.cli.client import Api, path
from gateway.cli.errors import CommandError
from gateway.cli.instants import exactly, moment, utc_now
from gateway.cli.options import AsJson, check_expiry, parse_mode, parse_span, until
from gateway.cli.output import JsonValue, Record, print_json, say, say_wrapped
from gateway.cli.reach import admin
from gateway.cli.request_deciding import Number, by_a_person
from gateway.cli.request_shown import names_of, say_given, say_request, what_of, who_of
from gateway.cli.request_waiting import Outcome, end_with, outcome_of, wait_for


def _span_text(text: str) -> str:
    parse_span(text)  # refuse it as a usage error now; the verb reads it again
    return text


Wait = Annotated[
    bool,
    typer.Option("--wait", help="Wait until somebody decides. Exit status 0: approved, 1: expired, 2: denied, 4: timed out."),
]
Timeout = Annotated[
    str | None,
    typer.Option(
        "--timeout", metavar="HOW LONG", parser=_span_text, help="Wait no longer (10m).", show_default="until it expires"
    ),
]
Target = Annotated[
    str | None, typer.Argument(help="The target's name; shop:rw to write.", show_default=False, autocompletion=names.targets)
]
Environment = Annotated[
    str | None,
    typer.Option("--environment", help="Instead: all targets of this environment.", autocompletion=names.environments),
]
Mode = Annotated[
    AccessMode | None,
    typer.Option("--mode", metavar="MODE", parser=parse_mode, help="read_only or read_write.", show_default="read_only"),
]
Role = Annotated[str | None, typer.Option("--role", help="With the rights of this role of the database.", show_default=False)]
Sql = Annotated[
    list[str] | None,
    typer.Option("--sql", metavar="FILE", help="What these statements need; - for standard input.", show_default=False),
]
Scopes = Annotated[
    Scope | None,
    typer.Option(
        "--scope",
        help="With --sql or --from. relations: what they touch, as they touch it. exact: nothing but these statements.",
        show_default="relations",
    ),
]
Code = Annotated[
    str | None,
    typer.Option("--from", metavar="CODE", help="What was refused to you, by the code in its hint.", show_default=False),
]
Duration = Annotated[
    str | None,
    typer.Option(
        "--duration", metavar="HOW LONG", parser=_span_text, help="30m, 2h, 1d12h.", show_default="as the policy says"
    ),
]
Starts = Annotated[
    str | None,
    typer.Option("--starts", metavar="WHEN", parser=check_expiry, help="In 2h, or at an instant.", show_default="at once"),
]
ForUser = Annotated[
    str | None, typer.Option("--for", metavar="USER", help="For another.", show_default="you", autocompletion=names.users)
]
BreakGlass = Annotated[
    bool, typer.Option("--break-glass", help="An emergency: give it to yourself now. All are told; it is reviewed.")
]


@dataclass(frozen=True, slots=True)
class _Right:
    """What of the options says what is asked for."""

    mode: AccessMode | None
    role: str | None
    sql: Sequence[str]
    scope: Scope | None


def register(app: typer.Typer) -> None:
    """Add these commands to `pgbastion request`."""
    admin(
        app,
        examples=[
            'pgbastion request create shop --duration 2h --reason "monthly report" --wait',
            'pgbastion request create shop:rw --reason "wrong prices" --ticket OPS-4711 --starts 2030-01-31T18:00+01:00',
            'pgbastion request create shop --sql fix.sql --scope exact --reason "a call was lost"',
            'pgbastion request create shop --role reporting --reason "year end"',
            "pgbastion request create --environment staging --mode rw --for ben_okoro --duration 1d",
            'pgbastion request create --from k7m2x9qa --reason "what was refused"',
            'pgbastion request create shop:rw --break-glass --duration 30m --reason "the shop is down"',
        ],
    )(create)
    admin(app, examples=["pgbastion request wait 17", "pgbastion request wait 17 --timeout 10m && psql ..."])(wait)


def create(
    api: Api,
    target: Target = None,
    environment: Environment = None,
    mode: Mode = None,
    role: Role = None,
    sql: Sql = None,
    scope: Scopes = None,
    code: Code = None,
    duration: Duration = None,
    reason: Annotated[str, typer.Option("--reason", help="For who decides, and for the audit.", show_default=False)] = "",
    ticket: Annotated[str | None, typer.Option("--ticket", help="A ticket's reference.", show_default=False)] = None,
    starts: Starts = None,
    user: ForUser = None,
    break_glass: BreakGlass = False,
    wait: Wait = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Ask for a right. It is approved by a rule or by others, never by you; it ends by itself, and your sessions with it."""
    if timeout is not None and not wait:
        raise typer.BadParameter("--timeout goes with --wait")
    body = _wanted(target, environment, _Right(mode, role, sql or (), scope), code)
    body |= {} if duration is None else {"duration_seconds": parse_span(duration)}
    body |= {} if starts is None else {"starts_at": until(starts)}
    for name, value in (("reason", reason), ("ticket", ticket), ("user", user), ("break_glass", break_glass)):
        body |= {name: value} if value else {}
    with by_a_person(api):
        made = api.post(path("access-requests"), body)
    outcome = outcome_of(made)
    if outcome is None and wait:
        if not as_json:
            _say_asked(made)
        made, outcome = wait_for(api, str(made.get("number")), None if timeout is None else parse_span(timeout))
    if outcome is not None:
        _finish(made, outcome, as_json=as_json)
    elif as_json:
        print_json(made)
    else:
        _say_asked(made)
        say(f"Wait for it: pgbastion request wait {made.get('number')}")


def wait(api: Api, number: Number, timeout: Timeout = None, as_json: AsJson = False) -> None:
    """Wait until somebody decides. Exit status 0: approved, 1: error, expired or taken back, 2: denied, 4: timed out."""
    found, outcome = wait_for(api, number, None if timeout is None else parse_span(timeout))
    _finish(found, outcome, as_json=as_json)


def _wanted(target: str | None, environment: str | None, right: _Right, code: str | None) -> dict[str, JsonValue]:
    """The body's place and right. Raises typer.BadParameter, CommandError for a file that cannot be read."""
    if code is not None:
        if environment is not None or target is not None or right.mode is not None or right.role is not None or right.sql:
            raise typer.BadParameter("--from says which statement, and where: name neither a target nor what to ask for")
        found: dict[str, JsonValue] = {"code": code}
        return found | ({"scope": right.scope.value} if right.scope is not None else {})
    if (target is None) == (environment is None):
        raise typer.BadParameter("name a target, or give --environment (see: pgbastion request targets)")
    if right.role is not None and right.sql:
        raise typer.BadParameter("give either --role or --sql")
    if right.sql and right.mode is not None:
        raise typer.BadParameter("--sql says itself which mode it needs: leave out --mode")
    if right.scope is not None and not right.sql:
        raise typer.BadParameter("--scope goes with --sql or --from")
    name, asked = (None, AccessMode.READ_ONLY) if target is None else parse_database_name(target)
    body: dict[str, JsonValue] = {"environment": environment} if name is None else {"target": name}
    if right.sql:
        body |= {"statements": [_text(each) for each in right.sql]}
        return body | ({"scope": right.scope.value} if right.scope is not None else {})
    body |= {"mode": (right.mode or asked).value}
    return body | ({"database_role": right.role} if right.role is not None else {})


def _text(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise CommandError(f"{file} is not UTF-8 text") from None


def _say_asked(made: Record) -> None:
    length = exactly(made.get("duration_seconds"))
    say(f"Request {made.get('number')}: {who_of(made)}, {what_of(made)}, for {length}.")
    approvers = names_of(made.get("approvers"))
    if approvers:
        say_wrapped(f"{approvers} may decide until {moment(made.get('decide_by'), utc_now())}.", indent=2)
    else:
        say(f'Nobody may decide about it now: an admin has to look at the approval policy "{made.get("policy")}".')


def _finish(found: Record, outcome: Outcome, *, as_json: bool) -> None:
    number = found.get("number")
    if as_json:
        print_json(found)
    elif outcome is Outcome.APPROVED:
        say_given(found)
    elif outcome is Outcome.TIMED_OUT:
        say(f"Nobody has decided about request {number} yet. Go on waiting: pgbastion request wait {number}")
    else:
        say_request(found)
    end_with(outcome)
