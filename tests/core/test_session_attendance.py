"""Idleness, statements over their time, notices before the end: what is found at the looks of a given clock."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.model import SessionLimits
from gateway.session.attendance import Attendance, Overdue
from gateway.session.conversation import Conversation
from gateway.session.end_notices import EndNotices, duration_text
from gateway.session.ledger import EXECUTE, QUERY, SYNC_ENTRY, Entry
from tests.support.playbook import playbook

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LIMITS = SessionLimits(statement_timeout_ms=3000, idle_timeout_seconds=10, idle_in_transaction_timeout_seconds=5)


@pytest.fixture
def shared() -> Conversation:
    return playbook().shared


def looks(attendance: Attendance, limits: SessionLimits, seconds: range, moved: int = 0) -> list[tuple[int, Overdue]]:
    found = ((now, attendance.look(limits, moved, float(now), waits=False)) for now in seconds)
    return [(now, each) for now, each in found if each is not None]


def test_who_does_nothing_is_idle_and_in_a_transaction_sooner(shared: Conversation) -> None:
    assert looks(Attendance(shared, 0.0), LIMITS, range(1, 12)) == [(11, Overdue.IDLE)]
    shared.status = b"T"
    assert looks(Attendance(shared, 0.0), LIMITS, range(1, 7)) == [(6, Overdue.IDLE_IN_TRANSACTION)]
    only_at_all = SessionLimits(idle_timeout_seconds=10)
    assert looks(Attendance(shared, 0.0), only_at_all, range(1, 12)) == [(11, Overdue.IDLE)]


def test_bytes_either_way_and_what_waits_here_count_as_doing_something(shared: Conversation) -> None:
    attendance = Attendance(shared, 0.0)
    for now in range(100):
        assert attendance.look(LIMITS, now, float(now), waits=False) is None
    for now in range(100, 200):
        assert attendance.look(LIMITS, 99, float(now), waits=True) is None
    assert looks(attendance, LIMITS, range(200, 210), moved=99) == [(209, Overdue.IDLE)]


def test_what_runs_is_never_idle_but_has_its_time(shared: Conversation) -> None:
    shared.ledger.queue.append(Entry(QUERY, 1, 0.0))
    attendance = Attendance(shared, 0.0)
    idle_only = SessionLimits(idle_timeout_seconds=1, idle_in_transaction_timeout_seconds=1)
    assert looks(attendance, idle_only, range(1, 1000)) == []
    found = looks(Attendance(shared, 0.0), LIMITS, range(1, 20))
    assert found[0] == (5, Overdue.STATEMENT)  # seen first at 1; three seconds, and one for PostgreSQL's own timeout
    assert {overdue for _, overdue in found} == {Overdue.STATEMENT}


def test_the_time_is_each_statement_s_own(shared: Conversation) -> None:
    attendance, limits = Attendance(shared, 0.0), SessionLimits(statement_timeout_ms=3000)
    pipeline = [Entry(EXECUTE, number, 0.0) for number in range(5)]
    shared.ledger.queue.extend([*pipeline, SYNC_ENTRY])
    for now in range(15):  # each takes three
        assert attendance.look(limits, 0, float(now), waits=False) is None
        if now % 3 == 2:
            del shared.ledger.queue[0]
    shared.ledger.queue[:] = [Entry(QUERY, 9, 0.0, None, b"", None, 4)]  # a text of four
    assert looks(attendance, limits, range(20, 34))[0] == (33, Overdue.STATEMENT)


@given(st.lists(st.floats(0.1, 2.0), min_size=1, max_size=40), st.floats(0.0, 30.0))
def test_each_notice_is_given_once_in_order_and_in_time(pauses: list[float], ends_in: float) -> None:
    notices, before = EndNotices(), [20.0, 5.0]
    ends_at, at, told = NOW + timedelta(seconds=ends_in), 0.0, list[float]()
    for pause in pauses:
        if notices.is_due(ends_at, NOW + timedelta(seconds=at), before):
            told.append(ends_in - at)
        at += pause
    assert len(told) <= 2
    assert told == sorted(told, reverse=True)
    assert all(0 < left <= 20 for left in told)
    assert sum(left <= 5 for left in told) <= 1
    last = at - pauses[-1]
    if 0.001 < ends_in - last <= 4.999:
        assert told


def test_another_end_is_another_notice() -> None:
    notices, before = EndNotices(), [600.0, 60.0]
    assert notices.is_due(NOW + timedelta(seconds=30), NOW, before)
    assert not notices.is_due(NOW + timedelta(seconds=30), NOW, before)
    assert not notices.is_due(None, NOW, before)
    assert notices.is_due(NOW + timedelta(seconds=300), NOW, before)
    assert not notices.is_due(NOW + timedelta(seconds=3000), NOW, before)
    assert not EndNotices().is_due(NOW + timedelta(seconds=3), NOW, [])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (59.4, "59 s"), (59.8, "1 min"), (65, "1 min 5 s"), (599.7, "10 min"), (605, "10 min"), (3600, "1 h"),
     (5400, "1 h 30 min"), (7170, "2 h")],
)  # fmt: skip
def test_durations_for_people(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
