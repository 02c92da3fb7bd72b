"""What somebody filled in, read back: facts, or what is wrong with which field. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from gateway.access_mode import AccessMode
from gateway.durations import write_duration
from gateway.notify.slack import names, text
from gateway.notify.slack.facts import Json
from gateway.notify.slack.modal import MOST_TEXT
from gateway.notify.slack.places import Chosen, Kind, Place, read_access, settled
from gateway.notify.slack.spans import read_span

Values = Mapping[str, Json]
"""`view.state.values`, as Slack sends it: by block id, then by action id."""

Wrong = Mapping[str, str]
"""By block id, what is wrong with the field."""

#: Which field a service's refusal is about; any other is about the first.
_FIELDS: Final = {
    "request-too-long": names.DURATION,
    "request-too-short": names.DURATION,
    "reason-required": names.REASON,
    "text-invalid": names.REASON,
    "ticket-required": names.TICKET,
    "ticket-invalid": names.TICKET,
    "starts-at-invalid": names.START,
    "not-askable": names.ACCESS,
    "user-read-only": names.ACCESS,
    "database-role-invalid": names.ROLE,
    "break-glass-not-open": names.EMERGENCY,
}


@dataclass(frozen=True, slots=True)
class Filled:
    """`emergency`: to be given at once, by the requester."""

    place: str
    mode: AccessMode
    database_role: str | None
    duration_seconds: int
    reason: str
    ticket: str | None
    starts_at: datetime | None
    emergency: bool


def chosen(values: Values, places: Sequence[Place]) -> Chosen:
    """What the form is to offer next: for a place, what can be had there."""
    return settled(_chosen(values, places))


def read(values: Values, places: Sequence[Place], now: datetime) -> Filled | Wrong:
    """What a policy demands is asked again by the service: this is for what only the form can get wrong."""
    choice = _chosen(values, places)
    place, access, way = choice.place, choice.access, choice.way
    if place is None:
        return {names.PLACE: "This cannot be asked for any more."}
    if access is None or way is None:
        return {_block(values, names.ACCESS): "This cannot be asked for any more."}
    wrong: dict[str, str] = {}
    role = _option(values, names.ROLE) if access.kind is Kind.ROLE else None
    if access.kind is Kind.ROLE and role not in way.roles:
        wrong[_block(values, names.ROLE)] = "Choose one of these roles."
    emergency = bool(_checked(values, names.EMERGENCY))
    most = way.max_seconds if not emergency or way.emergency_seconds is None else way.emergency_seconds
    seconds = read_span(_text(values, names.DURATION))
    if seconds is None:
        wrong[_block(values, names.DURATION)] = "Write a length of time, such as 45m, 4h or 2d."
    elif seconds > most:
        wrong[_block(values, names.DURATION)] = f"At most {write_duration(most)}{' in an emergency' if emergency else ''}."
    reason = _text(values, names.REASON)
    if (way.reason_required or emergency) and not reason:
        wrong[_block(values, names.REASON)] = "Say what happened." if emergency else "Say what it is for."
    ticket = _text(values, names.TICKET)
    if way.ticket_required and not ticket:
        wrong[_block(values, names.TICKET)] = "Name the ticket."
    starts_at = _instant(values, names.START)
    if starts_at is not None and starts_at < now:
        wrong[_block(values, names.START)] = "This is over. Leave it empty to begin as soon as it is approved."
    if starts_at is not None and emergency:
        wrong[_block(values, names.START)] = "In an emergency, it begins now."
    if wrong or seconds is None:
        return wrong
    return Filled(place.name, access.mode, role, seconds, reason, ticket or None, starts_at, emergency)


def comment(values: Values) -> str:
    return _text(values, names.COMMENT)


def wrong_field(values: Values, rule: str, said: str) -> Wrong:
    """A service's refusal, at the field that it is about; where that is not in the form, at the first one."""
    block = _block(values, _FIELDS.get(rule, names.PLACE))
    return {block if block in values else next(iter(values), names.PLACE): said}


def _chosen(values: Values, places: Sequence[Place]) -> Chosen:
    name, access = _option(values, names.PLACE), read_access(_option(values, names.ACCESS) or "")
    return Chosen(next((each for each in places if each.name == name), None), access)


def _block(values: Values, action_id: str) -> str:
    return next((block for block, actions in values.items() if isinstance(actions, dict) and action_id in actions), action_id)


def _state(values: Values, action_id: str) -> Mapping[str, Json]:
    actions = values.get(_block(values, action_id))
    found = actions.get(action_id) if isinstance(actions, dict) else None
    return found if isinstance(found, dict) else {}


def _text(values: Values, action_id: str) -> str:
    value = _state(values, action_id).get("value")
    return text.one_line(value, MOST_TEXT) if isinstance(value, str) else ""


def _option(values: Values, action_id: str) -> str | None:
    option = _state(values, action_id).get("selected_option")
    value = option.get("value") if isinstance(option, dict) else None
    return value if isinstance(value, str) else None


def _checked(values: Values, action_id: str) -> list[Json]:
    options = _state(values, action_id).get("selected_options")
    return options if isinstance(options, list) else []


def _instant(values: Values, action_id: str) -> datetime | None:
    seconds = _state(values, action_id).get("selected_date_time")
    return datetime.fromtimestamp(seconds, UTC) if isinstance(seconds, int) and not isinstance(seconds, bool) else None
