"""Audit record bodies are JSON, whole, on one line, in ASCII, whatever stands in them."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.events import (
    event,
    session_event,
    session_fragment,
    session_fragment_short,
    statement_ended,
    statement_fragment,
    statement_started,
)
from gateway.statements.verdict import Facts, Verdict

ALLOWED = Verdict(True, "allowed", Facts("select", ("shop.orders",), ("now",)))
DENIED = Verdict(False, "write-statement", Facts("insert", ("t",)), "25006", "INSERT is refused", "use :rw", 1)
SESSION = session_fragment("s1", "ann", "192.0.2.1", "shop", "read_only", "psql")

anything = st.text(st.characters())  # surrogates too


def decode(body: bytes) -> dict[str, object]:
    line = b"{" + body + b"}"
    assert b"\n" not in line
    assert line.isascii()
    assert all(byte >= 0x20 for byte in line)
    decoded = json.loads(line)
    assert isinstance(decoded, dict)
    return decoded


def test_a_statement_says_who_where_what_and_the_verdict() -> None:
    text = statement_fragment("select * from shop.orders", ALLOWED, 1000)
    assert decode(statement_started(SESSION, "query", text, 7, 0)) == {
        "event": "statement",
        "phase": "query",
        "session": "s1",
        "user": "ann",
        "address": "192.0.2.1",
        "target": "shop",
        "mode": "read_only",
        "application": "psql",
        "statement": 7,
        "parameters": 0,
        "sql": "select * from shop.orders",
        "sql_bytes": 25,
        "truncated": False,
        "redacted": False,
        "kind": "select",
        "verdict": "allowed",
        "rule": "allowed",
        "tables": ["shop.orders"],
        "functions": ["now"],
    }


def test_a_denial_has_its_sqlstate_and_message() -> None:
    record = decode(statement_started(SESSION, "parse", statement_fragment("insert into t", DENIED, 1000), 1, 2))
    assert (record["verdict"], record["rule"]) == ("denied", "write-statement")
    assert (record["sqlstate"], record["message"]) == ("25006", "INSERT is refused")


def test_an_end_has_what_there_is() -> None:
    short = session_fragment_short("s1", "ann")
    assert decode(statement_ended(short, 7, 1234, 3, "", "ok")) == {
        "event": "statement_end",
        "outcome": "ok",
        "session": "s1",
        "user": "ann",
        "statement": 7,
        "duration_us": 1234,
        "rows": 3,
    }
    assert decode(statement_ended(short, 7, 1234, None, "57014", "cancelled"))["sqlstate"] == "57014"


def test_an_unknown_phase_or_outcome_is_a_mistake_of_the_program() -> None:
    with pytest.raises(KeyError):
        statement_started(SESSION, "fetch", b"", 1, 0)
    with pytest.raises(KeyError):
        statement_ended(SESSION, 1, 1, None, "", "fine")


@given(anything, anything, anything)
def test_nothing_a_client_sends_breaks_out(user: str, application: str, sql: str) -> None:
    session = session_fragment("s1", user, "::1", "t", "read_only", application)
    record = decode(statement_started(session, "query", statement_fragment(sql, ALLOWED, 10_000), 1, 0))
    assert record["user"] == user
    assert record["application"] == application[:256]
    assert record["statement"] == 1
    if not record["redacted"]:
        assert record["sql"] == sql


@given(anything)
def test_nothing_upstream_sends_breaks_out(sqlstate: str) -> None:
    assert decode(statement_ended(SESSION, 1, 1, None, sqlstate, "error"))["statement"] == 1


@given(st.text(), st.integers(0, 40))
def test_a_long_text_is_cut_at_a_character_and_its_length_is_kept(sql: str, limit: int) -> None:
    record = decode(statement_fragment(sql, ALLOWED, limit))
    kept, raw = str(record["sql"]), sql.encode()
    assert record["sql_bytes"] == len(raw)
    assert record["truncated"] == (len(raw) > limit)
    if not record["redacted"]:
        assert len(kept.encode()) <= limit
        assert sql.startswith(kept)
        assert len(raw) <= limit or len(kept.encode()) > limit - 4


def test_a_statement_that_ran_although_a_rule_is_against_it_says_so() -> None:
    reported = replace(
        ALLOWED, reported="where-missing", message="DELETE without WHERE (rule where-missing)", node="DeleteStmt"
    )
    record = decode(statement_fragment("DELETE FROM t", reported, 100))
    assert (record["verdict"], record["rule"], record["reported"]) == ("allowed", ALLOWED.rule, "where-missing")
    assert record["message"] == "DELETE without WHERE (rule where-missing)"
    assert "sqlstate" not in record
    assert not {"reported", "message"} & decode(statement_fragment("DELETE FROM t", ALLOWED, 100)).keys()


def test_endless_lists_and_messages_are_bounded() -> None:
    tables = tuple(f"t{number}" for number in range(5000))
    fragment = statement_fragment("x", Verdict(False, "r", Facts("select", tables), "42601", "m" * 10**6), 10)
    record = decode(fragment)
    assert len(fragment) < 4000
    assert record["names_left_out"] == 4900


def test_other_events_take_plain_fields_but_not_the_sinks() -> None:
    assert decode(event("login_failed", {"user": 'a"\n', "reason": "no such user", "attempts": 2, "tls": None})) == {
        "event": "login_failed",
        "user": 'a"\n',
        "reason": "no such user",
        "attempts": 2,
        "tls": None,
    }
    assert decode(session_event("session_end", SESSION, {"statements": 3}))["user"] == "ann"
    assert decode(session_event("session_start", SESSION, {}))["session"] == "s1"
    for reserved in ("at", "mono", "worker", "seq", "event"):
        with pytest.raises(ValueError, match="reserved"):
            event("x", {reserved: 1})
    with pytest.raises(ValueError, match="JSON"):
        event("x", {"seconds": float("nan")})
