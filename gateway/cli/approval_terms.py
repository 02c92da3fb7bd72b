"""Steps, rules and emergencies of an approval policy in one line each: how they are given on the command line, and how shown.

--step "2 of role:dba, group:leads"      --step "user:cara else role:heads after 30m"
--rule "short-read 1h"                   --rule "again 2h since 30d"
--break-glass "role:on-call for 30m"
"""

import re
from collections.abc import Mapping
from typing import Final

import typer

from gateway.access.approvals import RuleKind
from gateway.cli.instants import exactly
from gateway.cli.options import parse_span
from gateway.cli.output import JsonValue, Record

NONE: Final = "none"

_STEP: Final = re.compile(
    r"(?:(?P<needed>[0-9]{1,3}) of )?(?P<approvers>.+?)(?: else (?P<escalation>.+?) after (?P<after>\S+))?"
)
_RULE: Final = re.compile(r"(?P<kind>\S+) (?P<within>\S+)(?: since (?P<since>\S+))?")
_BREAK_GLASS: Final = re.compile(r"(?P<holders>.+) for (?P<within>\S+)")
_APPROVER: Final = re.compile(r"(role|group|user):\S+")


def read_step(text: str) -> dict[str, JsonValue]:
    """As the API wants it. Raises typer.BadParameter."""
    found = _STEP.fullmatch(text.strip())
    if found is None or " after " in found["approvers"] or " else " in found["approvers"]:
        raise typer.BadParameter(
            f"{text!r} is no step: write 2 of role:dba, group:leads or user:cara else role:heads after 30m"
        )
    step: dict[str, JsonValue] = {"approvers": _people(found["approvers"]), "needed": int(found["needed"] or 1)}
    if found["escalation"] is not None:
        step |= {"escalation": _people(found["escalation"]), "escalates_after_seconds": parse_span(found["after"])}
    return step


def read_rule(text: str) -> dict[str, JsonValue]:
    """As the API wants it. Raises typer.BadParameter."""
    found = _RULE.fullmatch(text.strip())
    kinds = [each.value for each in RuleKind]
    if found is None or found["kind"] not in kinds:
        raise typer.BadParameter(f"{text!r} is no rule: write short-read 1h, again 2h since 30d or on-call 1h")
    if (found["kind"] == RuleKind.AGAIN) != (found["since"] is not None):
        raise typer.BadParameter("the rule again, and only that one, says how long ago: again 2h since 30d")
    rule: dict[str, JsonValue] = {"kind": found["kind"], "within_seconds": parse_span(found["within"])}
    return rule | ({"since_seconds": parse_span(found["since"])} if found["since"] is not None else {})


def read_break_glass(text: str) -> dict[str, JsonValue] | None:
    """As the API wants it; None for `none`. Raises typer.BadParameter."""
    if text.strip() == NONE:
        return None
    found = _BREAK_GLASS.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(f"{text!r}: write who, and for how long at most: role:on-call for 30m (or {NONE})")
    return {"holders": _people(found["holders"]), "within_seconds": parse_span(found["within"])}


def step_text(step: Record) -> str:
    needed = step.get("needed")
    count = "" if needed == 1 else f"{needed} of "
    escalation = step.get("escalation")
    if not isinstance(escalation, list) or not escalation:
        return f"{count}{_joined(step.get('approvers'))}"
    after = _span(step.get("escalates_after_seconds"))
    return f"{count}{_joined(step.get('approvers'))} else {_joined(escalation)} after {after}"


def rule_text(rule: Record) -> str:
    since = rule.get("since_seconds")
    said = f"{rule.get('kind')} {_span(rule.get('within_seconds'))}"
    return f"{said} since {_span(since)}" if rule.get("kind") == RuleKind.AGAIN else said


def break_glass_text(value: JsonValue) -> str:
    if not isinstance(value, Mapping):
        return NONE
    return f"{_joined(value.get('holders'))} for {_span(value.get('within_seconds'))}"


def _people(text: str) -> list[JsonValue]:
    names = [each.strip() for each in text.split(",")]
    for name in names:
        if not _APPROVER.fullmatch(name):
            raise typer.BadParameter(f"{name!r} is nobody: write role:NAME, group:NAME or user:NAME")
    return list(names)


def _joined(value: JsonValue) -> str:
    return ", ".join(str(each) for each in value) if isinstance(value, list) else ""


def _span(seconds: JsonValue) -> str:
    """As it is typed: `1h`, `1d12h`."""
    return exactly(seconds).replace("min", "m").replace(" ", "") or "0s"
