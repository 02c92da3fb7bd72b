"""What a message says in words, for e-mail and chats. Pure.

What people wrote themselves (a reason, a comment) goes through `disarmed` on its way to a chat, so that it stays text there: it
begins no line of its own, mentions nobody and is no link.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | Mapping[str, Json] | None"

_MARK: Final = "\u200b"  # a space of no width
_ARMED: Final = re.compile(r"[<@\]]|:(?=//)")
_MOST_CHARACTERS: Final = 500

_WHAT: Final = {
    "created": "{requester} asks for {what}",
    "escalated": "Nobody has decided yet: {requester} asks for {what}",
    "approved": "{holder} was given {what}",
    "active": "{holder} may use {what} now",
    "denied": "{requester} was denied {what}",
    "cancelled": "{requester} asks no more for {what}",
    "expired": "Over: {what} of {holder}",
    "relinquished": "{holder} gave back {what}",
    "revoked": "Taken away from {holder}: {what}",
    "errored": "{holder} could not be given {what}",
    "expiring": "Ends soon: {what} of {holder}",
    "break_glass": "EMERGENCY: {holder} took {what} without an approval",
    "review_due": "To be reviewed: {holder} took {what} in an emergency",
}


def read_payload(text: str) -> Mapping[str, Json]:
    """The message's own JSON. Raises ValueError for what no version of this program wrote."""
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("a message's payload is a JSON object")
    return found


def request_in(payload: Mapping[str, Json]) -> Mapping[str, Json]:
    """The access request that it is about, as it was; empty: about none."""
    found = payload.get("request")
    return found if isinstance(found, Mapping) else {}


def headline(topic: str, payload: Mapping[str, Json]) -> str:
    """One line: who, what, where."""
    request = request_in(payload)
    pattern = _WHAT.get(topic.removeprefix("access_request."))
    if pattern is None or not request:
        return "pgbastion: a test message" if topic == "webhook.test" else f"pgbastion: {plain(topic)}"
    said = pattern.format(requester=_said(request, "requester"), holder=_said(request, "holder"), what=what_of(request))
    return f"Request {_said(request, 'number')}: {said}"


def what_of(request: Mapping[str, Json]) -> str:
    """What is asked for: "read_only on orders"."""
    role, count = _said(request, "database_role"), request.get("statements")
    wanted = f'database role "{role}"' if role else _said(request, "mode")
    if isinstance(count, int) and count and not role:
        wanted = f"{count} statement{'s' if count > 1 else ''} ({wanted})"
    return f"{wanted} on {_said(request, 'place')}"


def details(payload: Mapping[str, Json]) -> list[tuple[str, str]]:
    """What else there is to know, by its name; what is not there is left out."""
    request = request_in(payload)
    found = [
        ("Reason", _said(request, "reason")),
        ("Ticket", _said(request, "ticket")),
        ("For", lasting(request.get("duration_seconds"))),
        ("From", moment(request.get("starts_at"))),
        ("Until", moment(request.get("ends_at"))),
        ("Ended because", _said(request, "ended_because")),
        ("Approvers", ", ".join(_texts(request.get("approvers")))),
    ]
    decisions = request.get("decisions")
    for each in decisions if isinstance(decisions, list) else ():
        if isinstance(each, Mapping):
            by = f"rule {_said(each, 'rule')}" if each.get("rule") else _said(each, "by")
            comment = _said(each, "comment")
            found.append(("Decided", f"{_said(each, 'word')} by {by}{f': {comment}' if comment else ''}"))
    return [(name, text) for name, text in found if text]


def how_to(topic: str, payload: Mapping[str, Json]) -> str:
    """What the reader may do now, as a command; "" for nothing."""
    number = _said(request_in(payload), "number")
    match topic.removeprefix("access_request."):
        case "created" | "escalated" if number:
            return f"pgbastion request show {number}   then: pgbastion request approve {number}, or deny"
        case "approved" | "active" | "expiring" if number:
            return f"When you are done: pgbastion request relinquish {number}"
        case "break_glass" | "review_due" if number:
            return f"pgbastion request review {number}"
    return ""


def lasting(seconds: Json) -> str:
    """ "1 h 30 min"."""
    if not isinstance(seconds, int | float) or seconds <= 0:
        return ""
    minutes = max(round(seconds / 60), 1)
    days, rest = divmod(minutes, 24 * 60)
    hours, minutes = divmod(rest, 60)
    parts = [f"{days} d" if days else "", f"{hours} h" if hours else "", f"{minutes} min" if minutes else ""]
    return " ".join(part for part in parts if part)


def moment(text: Json) -> str:
    """ "2026-03-01 12:00 UTC"."""
    if not isinstance(text, str):
        return ""
    try:
        return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return ""


def plain(text: str) -> str:
    """On one line, and nothing in it that a terminal or a header would obey."""
    return "".join(each if each.isprintable() else " " for each in text[:_MOST_CHARACTERS])


def disarmed(text: str) -> str:
    """Shown as it is by what makes links, mentions and markup out of text."""
    return _ARMED.sub(lambda found: f"{found[0]}{_MARK}", plain(text))


def _said(holder: Mapping[str, Json], name: str) -> str:
    value = holder.get(name)
    return "" if value is None or isinstance(value, bool | list | Mapping) else plain(str(value))


def _texts(value: Json) -> list[str]:
    return [plain(each) for each in value if isinstance(each, str)] if isinstance(value, list) else []
