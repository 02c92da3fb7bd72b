"""A grant's limit for statements: what a session sets statement_timeout to, in a text or in its startup packet."""

import pytest

from gateway.access_mode import AccessMode
from gateway.judging.codec import LENGTH, Requests, encode_request
from gateway.session.startup_settings import Wishes, read_wishes
from gateway.statements.limits import Caps
from gateway.statements.policy import Policy, judge, relabel
from gateway.wire.startup import StartupMessage

MODES = pytest.mark.parametrize("mode", list(AccessMode))


def limited(mode: AccessMode, statement: int | None = 30_000) -> Policy:
    return Policy(mode, caps=Caps(statement_milliseconds=statement))


@MODES
@pytest.mark.parametrize(
    ("sql", "sent"),
    [
        ("SET statement_timeout = 0", "SET statement_timeout = 30000"),
        ("SET LOCAL statement_timeout TO '1h'", "SET LOCAL statement_timeout TO 30000"),
        ("SET SESSION STATEMENT_TIMEOUT = 30001", "SET SESSION STATEMENT_TIMEOUT = 30000"),
        ("SET \"statement_timeout\" = '0.1us'", 'SET "statement_timeout" = 30000'),
        ("SELECT 1; SET statement_timeout = 0; SELECT 2", "SELECT 1; SET statement_timeout = 30000; SELECT 2"),
        ("SET statement_timeout = '30s'", "SET statement_timeout = '30s'"),
        ("SET statement_timeout = 1", "SET statement_timeout = 1"),
        ("RESET statement_timeout", "RESET statement_timeout"),
        ("SET statement_timeout TO DEFAULT", "SET statement_timeout TO DEFAULT"),
        ("SELECT set_config('statement_timeout', '29s', true)", "SELECT set_config('statement_timeout', '29s', true)"),
    ],
)
def test_a_text_may_only_lower_it(mode: AccessMode, sql: str, sent: str) -> None:
    verdict = judge(sql.encode(), limited(mode))
    assert verdict.allowed
    assert relabel(sql.encode(), verdict, "ada/s1").decode() == sent
    assert bool(verdict.notice) == (sql != sent)


@MODES
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT set_config('statement_timeout', '0', false)",
        "SELECT pg_catalog.set_config('Statement_Timeout', '1d', true)",
        "SELECT set_config('statement_timeout', $1, false)",
        "SELECT set_config('statement_timeout', note, false) FROM accounts",
        "SET statement_timeout = 'soon'",
    ],
)
def test_what_cannot_be_lowered_is_refused(mode: AccessMode, sql: str) -> None:
    assert not judge(sql.encode(), limited(mode)).allowed


def test_without_a_limit_and_for_other_timeouts_a_writer_is_free() -> None:
    for sql, policy in (
        ("SET statement_timeout = 0", limited(AccessMode.READ_WRITE, None)),
        ("SET lock_timeout = 0", limited(AccessMode.READ_WRITE)),
        ("SELECT set_config('statement_timeout', $1, false)", limited(AccessMode.READ_WRITE, None)),
    ):
        verdict = judge(sql.encode(), policy)
        assert (verdict.allowed, verdict.edits) == (True, ())


def test_the_lower_of_two_caps_holds_for_a_reader() -> None:
    policy = Policy(AccessMode.READ_ONLY, caps=Caps(timeout_milliseconds=1000, statement_milliseconds=30_000))
    for name in (b"lock_timeout", b"statement_timeout"):
        text = b"SET %b = 0" % name
        assert relabel(text, judge(text, policy), "") == b"SET %b = 1000" % name


@MODES
@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ((), "30000"),
        ((("statement_timeout", "0"),), "30000"),
        ((("options", "-c statement_timeout=1h"),), "30000"),
        ((("statement_timeout", "5s"),), "5s"),
        ((("statement_timeout", "5s"), ("options", "-c STATEMENT_TIMEOUT=0")), "30000"),
    ],
)
def test_a_session_begins_with_it(mode: AccessMode, given: tuple[tuple[str, str], ...], sent: str) -> None:
    """And RESET goes back to it. Of several that are given the last counts."""
    wishes = read_wishes(StartupMessage(0, "ada", "sales", given, ()), limited(mode))
    assert isinstance(wishes, Wishes)
    assert [value for name, value in wishes.settings if name == "statement_timeout"][-1] == sent
    assert bool(wishes.notice) == any(value.endswith(("0", "1h")) for _, value in given)


def test_the_judging_child_knows_the_limit() -> None:
    policy = limited(AccessMode.READ_WRITE)
    frame = encode_request(b"SELECT 1", policy)
    assert Requests().decode(frame[LENGTH.size :]) == (b"SELECT 1", policy)
