"""What an approval policy says, as options of a command."""

from collections.abc import Callable
from typing import Annotated

import typer

from gateway.access_mode import AccessMode
from gateway.cli.approval_terms import NONE, read_break_glass, read_rule, read_step
from gateway.cli.options import parse_mode, parse_span
from gateway.cli.output import JsonValue


def _checked(read: Callable[[str], object]) -> Callable[[str], str]:
    """Refuse it as a usage error now; the command reads it again."""

    def check(text: str) -> str:
        read(text)
        return text

    return check


Modes = Annotated[
    list[AccessMode] | None,
    typer.Option("--mode", metavar="MODE", parser=parse_mode, help="read_only, read_write (ro, rw); may be repeated."),
]
Steps = Annotated[
    list[str] | None,
    typer.Option(
        "--step",
        metavar="STEP",
        parser=_checked(read_step),
        help="Who has to say yes: '2 of role:dba, group:leads', or 'user:cara else role:heads after 30m'. Repeated: one after "
        "the other.",
        show_default=False,
    ),
]
Rules = Annotated[
    list[str] | None,
    typer.Option(
        "--rule",
        metavar="RULE",
        parser=_checked(read_rule),
        help="What is approved by itself, at most for how long: 'short-read 1h', 'again 2h since 30d' (the same, approved by "
        "people before), 'on-call 1h'. May be repeated.",
        show_default=False,
    ),
]
Roles = Annotated[
    list[str] | None,
    typer.Option("--database-role", metavar="ROLE", help="A role of the databases that may be asked for; may be repeated."),
]
Announce = Annotated[
    list[str] | None,
    typer.Option(
        "--announce",
        metavar="WHERE",
        help="Where approvers are told: slack:CHANNEL, mail:ADDRESS, webhook:NAME; may be repeated.",
    ),
]
OnCall = Annotated[
    str | None,
    typer.Option("--on-call", metavar="SCHEDULE", help=f"PagerDuty's id of the schedule of the rule on-call, or {NONE}."),
]
Glass = Annotated[
    str | None,
    typer.Option(
        "--break-glass",
        metavar="WHO",
        parser=_checked(read_break_glass),
        help=f"Who may give it to themselves in an emergency: 'role:on-call for 30m', or {NONE}.",
    ),
]
Default = Annotated[
    str | None, typer.Option("--default", metavar="HOW LONG", parser=_checked(parse_span), help="If not asked.")
]
Most = Annotated[str | None, typer.Option("--max", metavar="HOW LONG", parser=_checked(parse_span), help="At most.")]
DecideWithin = Annotated[
    str | None,
    typer.Option("--decide-within", metavar="HOW LONG", parser=_checked(parse_span), help="Then a request expires."),
]
ReasonRequired = Annotated[bool | None, typer.Option("--require-reason/--no-require-reason", help="Must there be a reason?")]
TicketRequired = Annotated[bool | None, typer.Option("--require-ticket/--no-require-ticket", help="Must there be a ticket?")]
Bound = Annotated[
    bool | None,
    typer.Option("--bound/--not-bound", help="Does a right end when one who approved it may not approve any more?"),
]


def list_fields(
    mode: list[AccessMode] | None,
    step: list[str] | None,
    rule: list[str] | None,
    database_role: list[str] | None,
    announce: list[str] | None,
) -> dict[str, JsonValue]:
    """Those that are given, as the API wants them: each is the whole list."""
    body: dict[str, JsonValue] = {"modes": [each.value for each in dict.fromkeys(mode)]} if mode else {}
    body |= {"steps": [read_step(each) for each in step]} if step else {}
    body |= {"rules": [read_rule(each) for each in rule]} if rule else {}
    body |= {"database_roles": list(database_role)} if database_role else {}
    return body | ({"announce": list(announce)} if announce else {})


def term_fields(
    on_call: str | None,
    break_glass: str | None,
    default: str | None,
    most: str | None,
    decide_within: str | None,
    require_reason: bool | None,
    require_ticket: bool | None,
    bound: bool | None,
) -> dict[str, JsonValue]:
    """Those that are given, as the API wants them."""
    body: dict[str, JsonValue] = {} if on_call is None else {"on_call": None if on_call == NONE else on_call}
    body |= {} if break_glass is None else {"break_glass": read_break_glass(break_glass)}
    for field, text in (("default_seconds", default), ("max_seconds", most), ("decide_within_seconds", decide_within)):
        body |= {} if text is None else {field: parse_span(text)}
    flags = (("reason_required", require_reason), ("ticket_required", require_ticket), ("bound_to_approvers", bound))
    return body | {field: flag for field, flag in flags if flag is not None}
