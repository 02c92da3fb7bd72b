"""What `pgbastion request` prints for people: one request, what an approver looks at, and how to use what was given."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from gateway.cli.client import record
from gateway.cli.door import trust_in
from gateway.cli.instants import away, exactly, moment, roughly, utc_now
from gateway.cli.output import JsonValue, Record, say, say_styled, say_wrapped, show
from gateway.connection_strings import Door, connection_strings

STYLES: Final = {
    "pending": "yellow",
    "approved": "green",
    "active": "green",
    "denied": "red",
    "revoked": "red",
    "errored": "red",
}
GIVEN: Final = ("approved", "active")
_CLIENTS: Final = 3  # of the connection strings: the rest is for who keeps a password in a file
_HISTORY: Final = {"number": "no.", "what": "what", "state": "state", "asked": "asked", "reason": "reason"}
_WIDTH: Final = 12


def what_of(request: Record) -> str:
    """`read_only on "shop"`, `role reporting (read_only) on "shop"`, `2 statements (read_write, exact) on "shop"`."""
    place = f'{"environment " if request.get("kind") == "environment" else ""}"{request.get("place")}"'
    if isinstance(request.get("statements"), list):
        return f"{right_of(request)} ({request.get('mode')}, {request.get('scope')}) on {place}"
    mode = "" if request.get("database_role") is None else f" ({request.get('mode')})"
    return f"{right_of(request)}{mode} on {place}"


def right_of(request: Record) -> str:
    """`read_only`, `role reporting`, `2 statements`."""
    statements = request.get("statements")
    if isinstance(statements, list):
        return "1 statement" if len(statements) == 1 else f"{len(statements)} statements"
    role = request.get("database_role")
    return str(request.get("mode")) if role is None else f"role {role}"


def place_of(request: Record) -> str:
    return f"{request.get('place')}{' (all of it)' if request.get('kind') == 'environment' else ''}"


def who_of(request: Record) -> str:
    requester, holder = request.get("requester"), request.get("holder")
    return str(requester) if requester == holder else f"{requester}, for {holder}"


def names_of(value: JsonValue) -> str:
    return ", ".join(str(each) for each in value) if isinstance(value, list) and value else ""


def say_request(request: Record) -> None:
    """All that is known of it."""
    now = utc_now()
    state = str(request.get("state"))
    say_styled(f"Request {request.get('number')}: {state}{_because(request)}", STYLES.get(state, ""))
    for heading, text in (
        ("who", who_of(request)),
        ("what", f"{what_of(request)}, for {exactly(request.get('duration_seconds'))}{_from(request, now)}"),
        ("emergency", _emergency(request, now)),
        ("reason", str(request.get("reason") or "none given")),
        ("ticket", str(request.get("ticket") or "")),
        ("asked", moment(request.get("asked_at"), now)),
        ("decide by", moment(request.get("decide_by"), now) if state == "pending" else ""),
        ("policy", _progress(request)),
        ("approvers", (names_of(request.get("approvers")) or "nobody any more") if state == "pending" else ""),
        ("begins", moment(request.get("starts_at"), now) if state == "approved" else ""),
        ("ends", moment(request.get("ends_at"), now) if state in GIVEN else ""),
        ("ended", moment(request.get("ended_at"), now)),
        ("fingerprint", str(request.get("fingerprint")) if state == "pending" else ""),
    ):
        _line(heading, text)
    for decision in _records(request.get("decisions")):
        _line("decided", _decision(decision, now))


def say_statements(texts: Sequence[str]) -> None:
    for number, text in enumerate(texts, 1):
        say(f"  statement {number}:")
        for line in text.strip().splitlines():
            say(f"      {line}")


def say_review(review: Record) -> None:
    """What an approver looks at besides the request itself."""
    now, request = utc_now(), record(review.get("request"))
    holder = request.get("holder")
    if review.get("obstacle"):
        say_styled(f"  It cannot be carried out: {review.get('obstacle')}.", "red")
    say("")
    say(f"What {holder} has now, and would have:")
    for opened in _records(review.get("opened")):
        say_wrapped(f"  {_opened(opened)}", indent=4)
    without_gap = review.get("without_gap_seconds")
    if without_gap != request.get("duration_seconds"):
        say(f"  With what {holder} has of it already: {exactly(without_gap)} without a gap.")
    for number, statement in enumerate(_records(review.get("statements")), 1):
        _say_statement(number, statement)
    if operations := _texts(review.get("operations")):
        say("")
        say_wrapped(f"It allows, and nothing else: {', '.join(operations)}.", indent=2)
    history = [
        {**each, "what": what_of(each), "asked": away(each.get("asked_at"), now)} for each in _records(review.get("history"))
    ]
    say("")
    if not history:
        say(f"{holder} has asked for nothing else.")
        return
    approved, denied = review.get("approved_before"), review.get("denied_before")
    say(f"What else {holder} asked for ({approved} approved, {denied} denied):")
    show(history, as_json=False, columns=_HISTORY, empty="", styles={"state": STYLES})


def say_given(request: Record) -> None:
    """That it was approved, until when, and what to copy into a client."""
    now = utc_now()
    until = f"until {moment(request.get('ends_at'), now)}"
    begins = f"from {moment(request.get('starts_at'), now)} " if request.get("state") == "approved" else ""
    say_styled(f"Request {request.get('number')} is approved: {what_of(request)}, {begins}{until}.", "green")
    connection = request.get("connection")
    if not isinstance(connection, dict):
        return
    databases = _texts(connection.get("databases"))
    for database in databases:
        say("")
        say(f'Run psql on it: pgbastion connect {database}. Or with "{connection.get("user")}" and your own password:')
        for label, text in connection_strings(_door(connection, database), with_password=False)[:_CLIENTS]:
            say(f"  {label.split()[0]:<6}{text}")
    say("")
    say(f"Not needed any more? Give it back: pgbastion request relinquish {request.get('number')}")


def say_noted(request: Record) -> None:
    """After somebody's yes or no: what it has come to."""
    number, state = request.get("number"), request.get("state")
    if state in GIVEN:
        now = utc_now()
        begins = f"from {moment(request.get('starts_at'), now)} " if state == "approved" else ""
        until = moment(request.get("ends_at"), now)
        say(f"Request {number} is approved: {request.get('holder')} has {what_of(request)}, {begins}until {until}.")
    elif state == "pending":
        say(f"Noted. Request {number} waits for more: {_progress(request)}.")
    else:
        say(f"Request {number} is {state}{_because(request)}.")


def short_progress(request: Record) -> str:
    """For a line that changes while somebody waits."""
    approvers = names_of(request.get("approvers")) or "nobody who could decide"
    steps = request.get("steps")
    step = "" if steps == 1 else f"step {request.get('step')} of {steps}, "
    return f"Request {request.get('number')}: {step}waiting for {approvers}"


def waited(seconds: float) -> str:
    return roughly(round(seconds))


def _opened(opened: Record) -> str:
    has, mode, role = opened.get("now"), opened.get("mode"), opened.get("database_role")
    would = f"{mode} with the rights of the role {role}" if role is not None else str(mode)
    if not opened.get("is_new"):
        return f'on "{opened.get("target")}": {has} already; it would be nothing new'
    return f'on "{opened.get("target")}": {has or "nothing"} now; {would} if it is approved'


def _say_statement(number: int, statement: Record) -> None:
    say("")
    reads = "only reads" if not statement.get("refused_read_only") else f"not read-only: {statement.get('why')}"
    operations = f" ({', '.join(_texts(statement.get('operations')))})" if statement.get("operations") else ""
    say_wrapped(f"Statement {number}, {statement.get('kind')}{operations}, {reads}:", indent=2)
    for line in str(statement.get("sql")).strip().splitlines():
        say(f"    {line}")


def _door(connection: Record, database: str) -> Door:
    gateway = record(connection.get("gateway"))
    ca_pem = gateway.get("ca_pem")
    return Door(
        host=str(gateway.get("host")),
        port=int(str(gateway.get("port"))),
        user=str(connection.get("user")),
        password="",
        target=database,
        trust=trust_in(str(gateway.get("tls")), None if ca_pem is None else str(ca_pem)),
    )


def _from(request: Record, now: datetime) -> str:
    wanted = request.get("wanted_from")
    return f", from {moment(wanted, now)}" if wanted is not None else ""


def _emergency(request: Record, now: datetime) -> str:
    if not request.get("break_glass"):
        return ""
    review = request.get("review")
    if not isinstance(review, dict):
        return "they gave it to themselves; nobody has reviewed it yet"
    comment = f": {review.get('comment')}" if review.get("comment") else ""
    return f"they gave it to themselves; reviewed by {review.get('by')}, {moment(review.get('at'), now)}{comment}"


def _because(request: Record) -> str:
    because = request.get("ended_because")
    return f", {because}" if because else ""


def _progress(request: Record) -> str:
    step = f", step {request.get('step')} of {request.get('steps')}" if request.get("steps") != 1 else ""
    if request.get("state") != "pending":
        return str(request.get("policy"))
    return f"{request.get('policy')}{step}, {request.get('said_yes')} of {request.get('needed')} said yes"


def _decision(decision: Record, now: datetime) -> str:
    rule = decision.get("rule")
    by = f"by the rule {rule}" if rule is not None else f"by {decision.get('by')}"
    word = "approved" if decision.get("word") == "approve" else "denied"
    comment = f": {decision.get('comment')}" if decision.get("comment") else ""
    return f"{word} {by}, {moment(decision.get('at'), now)}{comment}"


def _line(heading: str, text: str) -> None:
    if text:
        say_wrapped(f"  {heading:<{_WIDTH}}{text}", indent=_WIDTH + 2)


def _records(value: JsonValue) -> list[Record]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _texts(value: JsonValue) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []
