"""Audit records as bytes. Pure; the statement builders are on the hot path.

A record body is the inside of a JSON object, without braces: the sink puts `at`, `mono`, `worker` and `seq` in front of it.
All text is ASCII (other characters as \\uXXXX), so that a trail can be shown on any terminal without being obeyed by it.

Events and what they hold besides the session's own fields:

    statement        statement (number in the session), phase, parameters (how many; never their values), sql and the verdict.
                     A refusal has sqlstate and message. reported: the rule that a report-only grant did not enforce; its message
    cut              statement, rule (max-rows, max-bytes, max-bytes-per-day), rows that were sent of it, limit
    row_ceiling_reported  what a report-only grant let change more rows than its ceiling
    statement_end    statement, outcome, duration_us, rows (absent: none counted), sqlstate (absent: no error)
    session_start (grant: the id of that which it stands on; its options and limits, if it carries any; opened_ahead if its
    upstream session was there before its client), grant_changed (the same of the grant that carries the session on)
    end_announced (ends_at: what the client was told of its right's end)
    session_end (reason; its totals, unless the reason is "crash": then what its statements came to is unknown)
    login_failed (reason: for investigators, the client reads another one), session_refused (rule)
    cancel (outcome; reason "statement-timeout" when the gateway itself did it), upstream_security (what is weaker than the
    default), gateway_start, gateway_stop
    trail_repaired, trail_recovered, trail_dropped (the sink's own)
    admin (what an operator changed; in a trail of its own, see `admin_line`)
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC
from functools import lru_cache
from typing import Final

from gateway.audit.admin_event import RecordedAdminEvent
from gateway.audit.redaction import redact, redact_beginning, redact_quotation
from gateway.statements.verdict import Verdict

FieldValue = str | int | float | bool | None | Sequence[str]

SINK_FIELDS: Final = frozenset({"at", "mono", "worker", "seq"})

_MAX_NAMES: Final = 100  # of tables and functions in one record
_MAX_MESSAGE: Final = 1000  # characters
_MAX_APPLICATION: Final = 256

#: `statement_started` as formats, for the hottest path: session (in two parts), statement_id, parameters, statement.
STATEMENT_STARTED: Final = {
    phase: b'"event":"statement","phase":"%b",%%b%%b,"statement":%%d,"parameters":%%d,%%b' % phase.encode()
    for phase in ("query", "parse", "execute")
}
_OUTCOMES: Final = {
    outcome: f'"event":"statement_end","outcome":"{outcome}",'.encode()
    for outcome in ("ok", "error", "cancelled", "skipped", "unknown")
}

_encode: Final = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode


def session_fragment(session: str, user: str, address: str, target: str, mode: str, application: str) -> bytes:
    """Who, from where, to where: stands in every record of a session."""
    return session_fragment_short(session, user) + session_fragment_rest(address, target, mode, application[:_MAX_APPLICATION])


def session_fragment_short(session: str, user: str) -> bytes:
    """The beginning: all there is in records that follow one which holds the whole fragment."""
    return _inside({"session": session, "user": user})


@lru_cache(512)
def session_fragment_rest(address: str, target: str, mode: str, application: str) -> bytes:
    """What stands behind the short one. The same object for all that are alike: each session keeps it."""
    return b"," + _inside({"address": address, "target": target, "mode": mode, "application": application})


def beginning_of(sql: bytes, limit_bytes: int) -> str:
    """As much of a text as `statement_fragment` looks at; what is no UTF-8 is escaped."""
    return (sql if len(sql) <= limit_bytes else sql[: limit_bytes + 4]).decode("utf-8", "backslashreplace")


def statement_fragment(sql: str, verdict: Verdict, limit_bytes: int, sql_bytes: int | None = None) -> bytes:
    """The text and what was said of it: made once per verdict and remembered with it.

    Passwords are masked (`"redacted":true`); of a text longer than `limit_bytes` of UTF-8 the beginning is kept
    (`"truncated":true`); `sql_bytes` is the length of the text as it was sent, of which `sql` may be but the beginning.
    """
    raw = sql.encode("utf-8", "surrogatepass")
    truncated = len(raw) > limit_bytes
    whole = raw[:limit_bytes].decode("utf-8", "ignore") if truncated else sql
    # Cut first: what is not written need not be searched, and a huge text must not hold the event loop.
    shown = redact_beginning(whole) if truncated else redact(whole)
    redacted = shown != whole
    fields: dict[str, FieldValue] = {
        "sql": shown,
        "sql_bytes": len(raw) if sql_bytes is None else sql_bytes,
        "truncated": truncated,
        "redacted": redacted,
        "kind": verdict.facts.kind,
        "verdict": "allowed" if verdict.allowed else "denied",
        "rule": verdict.rule,
        "tables": verdict.facts.tables[:_MAX_NAMES],
        "functions": verdict.facts.functions[:_MAX_NAMES],
    }
    if (more := max(len(verdict.facts.tables), len(verdict.facts.functions)) - _MAX_NAMES) > 0:
        fields["names_left_out"] = more
    if not verdict.allowed:
        fields["sqlstate"] = verdict.sqlstate
    if verdict.reported:
        fields["reported"] = verdict.reported
    if not verdict.allowed or verdict.reported:
        fields["message"] = (redact_quotation(redact(verdict.message)) if redacted else verdict.message)[:_MAX_MESSAGE]
    return _inside(fields)


def statement_started(session: bytes, phase: str, statement: bytes, statement_id: int, parameters: int) -> bytes:
    """Before the statement's bytes leave, or are refused. `phase`: "query", "parse" or "execute"."""
    return STATEMENT_STARTED[phase] % (session, b"", statement_id, parameters, statement)


def statement_ended(
    session: bytes, statement_id: int, duration_us: int, rows: int | None, sqlstate: str, outcome: str
) -> bytes:
    """After its reply. `outcome`: "ok", "error", "cancelled", "skipped" (an earlier error in its pipeline) or "unknown"."""
    head = _OUTCOMES[outcome]
    if rows is None:
        body = b'%b%b,"statement":%d,"duration_us":%d' % (head, session, statement_id, duration_us)
    else:
        body = b'%b%b,"statement":%d,"duration_us":%d,"rows":%d' % (head, session, statement_id, duration_us, rows)
    # The SQLSTATE is upstream's word: whatever it is, it must not break out of its string.
    return body if not sqlstate else b'%b,"sqlstate":%b' % (body, _encode(sqlstate[:5]).encode())


def event(name: str, fields: Mapping[str, FieldValue]) -> bytes:
    """Any other record. Raises ValueError for a field that only the sink may set."""
    if not SINK_FIELDS.isdisjoint(fields) or "event" in fields:
        raise ValueError(f"{name}: a field name is reserved: {sorted(fields)}")
    return _inside({"event": name, **fields})


def session_event(name: str, session: bytes, fields: Mapping[str, FieldValue]) -> bytes:
    """`event`, about a session whose fragment exists."""
    head = b'"event":%b,%b' % (_encode(name).encode(), session)
    return head if not fields else b"%b,%b" % (head, _inside(fields))


def admin_line(recorded: RecordedAdminEvent) -> bytes:
    """A whole line of the admin trail, the same whenever it is made. `seq` is the store's number of the event."""
    event = recorded.event
    at = recorded.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    fields = {
        "at": at,
        "seq": recorded.sequence,
        "event": "admin",
        "id": recorded.id,
        "revision": recorded.revision,
        "actor": event.actor,
        "action": event.action,
        "object": event.object_name,
        "object_id": event.object_id,
        "reason": event.reason,
        "detail": dict(event.detail),
    }
    return _encode(fields).encode() + b"\n"


def _inside(fields: Mapping[str, FieldValue]) -> bytes:
    return _encode(dict(fields))[1:-1].encode()
