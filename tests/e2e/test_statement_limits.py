"""Caps and bounds are settings: a live session is judged by those that are in force, also after they were read anew."""

import signal
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.support.gateway import RunningGateway, running_gateway, write_config
from tests.support.upstream import Database

LISTEN = {"listen": {"host": "127.0.0.1", "port": 0, "drain_seconds": 1.0}}
BEFORE = {"statement_caps": {"timeout": "40s", "work_mem": "32MB", "max_parallel_workers_per_gather": 1}}
AFTER = {
    "statement_caps": {"timeout": "20s", "work_mem": "64MB", "hash_mem_multiplier": 1.5},
    "limits": {"max_statement_tokens": 1000, "max_statement_nesting": 10, "max_comment_depth": 2},
}
DEEP = "SELECT " + "(1 + " * 11 + "1" + ")" * 11
WIDE = "SELECT 1 IN (1" + ",1" * 600 + ")"
COMMENTED = "SELECT /* /* /* 1 */ */ */ 1"


@pytest.fixture(scope="module")
def tuned() -> Iterator[RunningGateway]:
    with running_gateway(**BEFORE) as running:
        yield running


def timeout_of(session: "psycopg.Connection[Any]", wish: str) -> str:
    session.execute(f"SET statement_timeout = '{wish}'")  # type: ignore[arg-type]
    (shown,) = session.execute("SHOW statement_timeout").fetchone() or ("",)
    return str(shown)


def rule_of(session: "psycopg.Connection[Any]", sql: str) -> str:
    """The rule that refuses it, "" when it runs."""
    try:
        session.execute(sql)  # type: ignore[arg-type]
    except psycopg.Error as error:
        return str(error).partition("(rule ")[2].partition(")")[0]
    return ""


def test_limits_are_the_configurations_and_change_for_live_sessions(tuned: RunningGateway, shared_database: Database) -> None:
    person, target = tuned.analyst(shared_database)
    session = tuned.client(person, target)
    notices: list[str] = []
    session.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    assert timeout_of(session, "1h") == "40s"
    assert timeout_of(session, "0") == "40s"
    assert timeout_of(session, "30s") == "30s"
    assert len(notices) == 2
    assert rule_of(session, "SET work_mem = '32MB'") == ""
    assert rule_of(session, "SET work_mem = '33MB'") == "setting-value"
    assert rule_of(session, "SET max_parallel_workers_per_gather = 2") == "setting-value"
    for text in (DEEP, WIDE, COMMENTED):
        assert rule_of(session, text) == ""

    write_config(tuned.directory, **LISTEN, **AFTER)
    tuned.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 10
    while timeout_of(session, "1h") != "20s":
        assert time.monotonic() < deadline, "".join(tuned.log)
        time.sleep(0.05)
    assert rule_of(session, "SET work_mem = '64MB'") == ""
    assert rule_of(session, "SET max_parallel_workers_per_gather = 2") == ""
    assert rule_of(session, "SET hash_mem_multiplier = 2") == "setting-value"
    for text in (DEEP, WIDE, COMMENTED):  # allowed before, and remembered as such
        assert rule_of(session, text) == "statement-too-complex"
    with pytest.raises(psycopg.OperationalError, match="statement_timeout"):
        tuned.client(person, target, options="-c statement_timeout=30s")
