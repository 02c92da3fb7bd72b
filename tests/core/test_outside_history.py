"""What follows from what was seen: who is there, since when, and may the admin password change."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway.ports import OutsideLook, OutsideUse
from gateway.services.outside_history import History, history_of, judge

END = datetime(2026, 3, 8, 12, tzinfo=UTC)
BEGIN = END - timedelta(days=7)
TUNNEL = OutsideUse("postgres", "shop", "10.0.0.5", "psql", 2)
APP = OutsideUse("webapp", "shop", "10.0.0.9", "gunicorn", 9)


def looks(every: timedelta, *uses_at: tuple[timedelta, OutsideUse]) -> list[OutsideLook]:
    """From BEGIN to END; in each look whoever was there in that moment or the one before it."""
    found = []
    at = BEGIN
    while at < END:
        seen = tuple(use for offset, use in uses_at if at <= BEGIN + offset < at + every)
        found.append(OutsideLook(at, seen))
        at += every
    return found


def verdict(history: History, **more: bool):
    return judge("shop", "postgres", history, END, **{"gateway_known": True, "rotated": False, **more})


def test_each_use_has_its_first_and_last_moment_and_a_line_over_time() -> None:
    seen = looks(timedelta(hours=1), (timedelta(hours=1), TUNNEL), (timedelta(days=3), TUNNEL), (timedelta(days=3), APP))
    history = history_of(seen, OutsideLook(END, (APP,)), BEGIN, END)
    assert [usage.use.role for usage in history.usages] == ["webapp", "postgres"]
    app, tunnel = history.usages
    assert (app.now, app.peak, app.last_seen) == (9, 9, END)
    assert (tunnel.now, tunnel.first_seen, tunnel.last_seen) == (0, BEGIN + timedelta(hours=1), BEGIN + timedelta(days=3))
    assert tunnel.counts[0] == 2
    assert sum(each or 0 for each in tunnel.counts) == 4
    assert None not in tunnel.counts


def test_where_nobody_looked_nothing_is_said() -> None:
    history = history_of([], OutsideLook(END, (TUNNEL,)), BEGIN, END)
    (usage,) = history.usages
    assert usage.counts[:-1] == (None,) * 23
    assert usage.counts[-1] == 2


def test_a_failed_look_is_no_quiet_one() -> None:
    failed = OutsideLook(END - timedelta(hours=1), (), "no answer in time")
    history = history_of([failed], None, BEGIN, END)
    assert (history.looks, history.since, history.last_failure) == (0, None, "no answer in time")
    assert not verdict(history).ready


def test_nobody_for_long_enough_is_ready_whoever_else_is_there_by_other_logins() -> None:
    seen = looks(timedelta(hours=1), (timedelta(hours=1), TUNNEL), (timedelta(days=6, hours=23), APP))
    found = verdict(history_of(seen, OutsideLook(END, (APP,)), BEGIN, END))
    assert found.ready
    assert "nobody by postgres for 6 days" in found.text
    assert found.command == "pgbastion targets rotate-credential shop --role admin"


@pytest.mark.parametrize(
    ("seen", "now", "words"),
    [
        (looks(timedelta(hours=1)), (TUNNEL,), "2 sessions by postgres at this moment"),
        (looks(timedelta(hours=1), (timedelta(days=6, hours=20), TUNNEL)), (), "somebody was there by postgres 4 hours ago"),
        ([], (), "nobody by postgres at this moment"),
        ([OutsideLook(END - timedelta(hours=2), ())], (), "the first look was 2 hours ago"),
    ],
)
def test_who_was_there_lately_has_to_move_first(seen, now, words) -> None:
    found = verdict(history_of(seen, OutsideLook(END, now), BEGIN, END))
    assert not found.ready
    assert words in found.text


def test_without_the_gateways_word_nothing_is_ready() -> None:
    history = history_of(looks(timedelta(hours=1)), OutsideLook(END, ()), BEGIN, END)
    assert not verdict(history, gateway_known=False).ready
    assert verdict(history, rotated=True).ready
