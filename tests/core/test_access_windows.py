"""When grants may be used: windows by the clock on the wall, and the instants at which the answer changes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.access.authorize import authorize, renew
from gateway.access.explain import Part, explain
from gateway.access.model import Denial, Grant, Lease, SessionLimits, Snapshot
from gateway.access.validity import When, validity
from gateway.access.windows import Window, WindowError, opening, parse_window
from gateway.access_mode import AccessMode
from tests.support.snapshots import ALICE, GRANT, NOW, SALES, world

ZURICH = ZoneInfo("Europe/Zurich")
ZONES = (
    "UTC",
    "Europe/Zurich",
    "America/New_York",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "America/St_Johns",
    "Pacific/Apia",
)
MINUTE = timedelta(minutes=1)
ADDRESS = ip_address("10.1.2.3")

windows = st.builds(
    Window,
    days=st.sets(st.integers(0, 6), min_size=1).map(lambda days: tuple(sorted(days))),
    begins=st.integers(0, 1439),
    ends=st.integers(1, 1440),
    zone=st.sampled_from(ZONES),
).filter(lambda window: window.begins != window.ends)
#: Any instant, and many around the hours at which clocks are changed.
instants = st.one_of(
    st.datetimes(datetime(2024, 1, 1), datetime(2032, 12, 31)),
    st.builds(
        lambda day, seconds: day + timedelta(seconds=seconds),
        st.sampled_from([datetime(2026, 3, 29), datetime(2026, 10, 25), datetime(2026, 3, 8), datetime(2026, 11, 1)]),
        st.integers(-86_400, 2 * 86_400),
    ),
).map(lambda instant: instant.replace(tzinfo=UTC))


def on_the_wall(window: Window, now: datetime) -> bool:
    """The rule as people read it: what a clock there shows now."""
    local = now.astimezone(ZoneInfo(window.zone))
    minute, today = local.hour * 60 + local.minute, local.weekday()
    if window.begins < window.ends:
        return today in window.days and window.begins <= minute < window.ends
    begun = today in window.days and minute >= window.begins
    return begun or ((today - 1) % 7 in window.days and minute < window.ends)


@given(st.lists(windows, min_size=1, max_size=3).map(tuple), instants)
@settings(max_examples=100, deadline=None)
def test_a_window_is_open_when_a_clock_shows_a_time_in_it(found: tuple[Window, ...], now: datetime) -> None:
    assert opening(found, now).is_open == any(on_the_wall(window, now) for window in found)


@given(st.lists(windows, min_size=1, max_size=3).map(tuple), instants)
@example((Window((0, 1, 2, 3, 4, 5, 6), 0, 1440),), NOW)
@settings(max_examples=100, deadline=None)
def test_the_next_change_is_when_it_really_changes(found: tuple[Window, ...], now: datetime) -> None:
    answer = opening(found, now)
    last = now + timedelta(days=16) if answer.until is None else answer.until
    assert last > now
    before = [now + (last - now) * part / 60 for part in range(60)]
    assert all(any(on_the_wall(window, each) for window in found) == answer.is_open for each in before)
    if answer.until is not None:
        assert opening(found, answer.until - timedelta(microseconds=1)).is_open == answer.is_open
        assert opening(found, answer.until).is_open != answer.is_open


@pytest.mark.parametrize(
    ("text", "now", "is_open", "until"),
    [
        # In spring the clock goes from 2:00 to 3:00: what lies in between opens at no time, and what begins in it at 3:00.
        ("Sun 02:15-02:45 Europe/Zurich", datetime(2026, 3, 29, 0, 30), False, datetime(2026, 4, 5, 0, 15)),
        ("Sun 02:30-08:00 Europe/Zurich", datetime(2026, 3, 29, 0, 59), False, datetime(2026, 3, 29, 1, 0)),
        ("Sun 01:00-02:30 Europe/Zurich", datetime(2026, 3, 29, 0, 30), True, datetime(2026, 3, 29, 1, 0)),
        # In autumn it shows 2:00 to 3:00 twice.
        ("Sun 02:15-02:45 Europe/Zurich", datetime(2026, 10, 25, 0, 20), True, datetime(2026, 10, 25, 0, 45)),
        ("Sun 02:15-02:45 Europe/Zurich", datetime(2026, 10, 25, 0, 50), False, datetime(2026, 10, 25, 1, 15)),
        ("Sun 01:00-04:00 Europe/Zurich", datetime(2026, 10, 25, 0, 0), True, datetime(2026, 10, 25, 3, 0)),
        # Eight in the morning is not always the same instant.
        ("Mon-Fri 08:00-18:00 Europe/Zurich", datetime(2026, 3, 27, 18, 0), False, datetime(2026, 3, 30, 6, 0)),
        ("Mon-Fri 08:00-18:00 Europe/Zurich", datetime(2026, 10, 23, 18, 0), False, datetime(2026, 10, 26, 7, 0)),
        ("Sat 22:00-06:00 UTC", datetime(2026, 3, 1, 5, 59), True, datetime(2026, 3, 1, 6, 0)),
        ("Mon-Sun 00:00-24:00 Europe/Zurich", datetime(2026, 3, 29, 0, 30), True, None),
    ],
)
def test_changes_of_the_clock(text: str, now: datetime, is_open: bool, until: datetime | None) -> None:
    found = opening((parse_window(text),), now.replace(tzinfo=UTC))
    assert (found.is_open, found.until) == (is_open, until and until.replace(tzinfo=UTC))


@given(windows)
def test_a_window_reads_as_it_is_written(window: Window) -> None:
    assert parse_window(str(window)) == window


@pytest.mark.parametrize(
    "text",
    ["", "08:00-18:00", "Mon", "Mon 8-18", "Mon 08:00-08:00", "Mon 24:00-08:00", "Mon 08:60-09:00", "Monkey 08:00-09:00",
     "Mon 08:00-25:00", "Mon 08:00-18:00 Mars/Olympus", "Mon 08:00-18:00 ../../etc/passwd", "Mon- 08:00-18:00"],
)  # fmt: skip
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(WindowError):
        parse_window(text)


def test_a_zone_that_this_machine_does_not_know_never_opens() -> None:
    window = parse_window("Mon-Sun 00:00-24:00 Mars/Olympus", known_zones_only=False)
    assert opening((window,), NOW) == opening((), NOW).__class__(False, None)


# -- grants ------------------------------------------------------------------------------------------------------------

grants = st.builds(
    lambda number, mode, begins, lasts, found, limit: Grant(
        f"g-{number}",
        ALICE.id,
        SALES.id,
        mode,
        None if lasts is None else NOW + timedelta(minutes=begins or 0) + timedelta(minutes=lasts),
        valid_from=None if begins is None else NOW + timedelta(minutes=begins),
        windows=found,
        limits=SessionLimits(max_sessions=limit),
    ),
    st.integers(0, 10**6),
    st.sampled_from(AccessMode),
    st.none() | st.integers(-3000, 3000),
    st.none() | st.integers(1, 5000),
    st.lists(windows, max_size=2).map(tuple),
    st.none() | st.integers(1, 3),
)


def ask(snapshot: Snapshot, now: datetime, mode: AccessMode = AccessMode.READ_ONLY) -> Lease | Denial:
    return authorize(snapshot, user_name="alice", target_name="sales", mode=mode, address=ADDRESS, now=now, session_id="s")


@given(st.lists(grants, min_size=1, max_size=4, unique_by=lambda grant: grant.id), st.integers(0, 3000))
@settings(max_examples=80, deadline=None)
def test_a_lease_says_when_the_answer_changes(held: list[Grant], minutes: int) -> None:
    """Until `changes_at` every instant allows the same, so that a session that asks only then misses nothing."""
    snapshot = world(grants=tuple(held))
    now = NOW + timedelta(minutes=minutes)
    answer = ask(snapshot, now)
    if isinstance(answer, Denial):
        return
    last = answer.changes_at or now + timedelta(days=10)
    assert last > now
    for part in range(20):
        later = ask(snapshot, now + (last - now) * part / 20)
        assert isinstance(later, Lease)
        assert (later.mode, later.options, later.limits) == (answer.mode, answer.options, answer.limits)
    if answer.valid_until is not None:
        then = renew(snapshot, answer, address=ADDRESS, now=answer.valid_until, session_id="s")
        assert isinstance(then, Denial) or then.grant_id != answer.grant_id


@given(st.lists(grants, max_size=4, unique_by=lambda grant: grant.id), st.sampled_from(AccessMode), st.integers(0, 3000))
@settings(max_examples=80, deadline=None)
def test_the_explanation_tells_what_authorize_does(held: list[Grant], mode: AccessMode, minutes: int) -> None:
    snapshot, now = world(grants=tuple(held)), NOW + timedelta(minutes=minutes)
    answer, told = ask(snapshot, now, mode), explain(snapshot, ALICE, SALES, mode, now)
    assert told.admitted == isinstance(answer, Lease)
    assert sorted(each.grant.id for each in told.considered) == sorted(grant.id for grant in held)
    counting = [each.grant.id for each in told.considered if each.part is Part.COUNTS]
    assert counting == ([answer.grant_id] if isinstance(answer, Lease) else [])
    assert all(each.reason for each in told.considered)


def test_a_grant_that_has_not_begun_says_when_it_does() -> None:
    coming = replace(GRANT, valid_from=NOW + timedelta(days=1))
    answer = ask(world(grants=(coming,)), NOW)
    assert isinstance(answer, Denial)
    assert (answer.rule, answer.sqlstate) == ("grant-not-open", "28000")
    assert "Mon 2026-03-02 12:00 UTC" in answer.message
    assert validity(coming, NOW).when is When.NOT_YET


def test_outside_its_window_a_grant_says_when_it_opens_by_the_clock_of_the_window() -> None:
    closed = replace(GRANT, windows=(parse_window("Mon-Fri 08:00-18:00 Europe/Zurich"),))
    answer = ask(world(grants=(closed,)), NOW)  # a Sunday
    assert isinstance(answer, Denial)
    assert answer.message == (
        'your access to target "sales" is closed at this hour: it opens at Mon 2026-03-02 08:00 Europe/Zurich'
    )


def test_a_session_goes_on_under_the_grant_that_still_lives_and_its_limits() -> None:
    first = replace(GRANT, id="g-short", valid_until=NOW + MINUTE)
    then = replace(GRANT, id="g-narrow", limits=SessionLimits(idle_timeout_seconds=60))
    snapshot = world(grants=(first, then))
    lease = ask(snapshot, NOW)
    assert isinstance(lease, Lease)
    assert (lease.grant_id, lease.changes_at) == ("g-short", NOW + MINUTE)
    carried = renew(snapshot, lease, address=ADDRESS, now=NOW + MINUTE, session_id="s")
    assert isinstance(carried, Lease)
    assert (carried.grant_id, carried.limits.idle_timeout_seconds) == ("g-narrow", 60)


def test_a_wider_grant_that_begins_is_taken_when_it_does() -> None:
    narrow = replace(GRANT, id="g-narrow", limits=SessionLimits(max_sessions=1))
    wider = replace(GRANT, id="g-wide", valid_from=NOW + MINUTE)
    lease = ask(world(grants=(narrow, wider)), NOW)
    assert isinstance(lease, Lease)
    assert (lease.grant_id, lease.valid_until, lease.changes_at) == ("g-narrow", None, NOW + MINUTE)


def test_why_names_what_a_grant_lost_by() -> None:
    wide = replace(GRANT, id="g-wide")
    slow = replace(GRANT, id="g-slow", limits=SessionLimits(statement_timeout_ms=1000))
    short = replace(GRANT, id="g-short", valid_until=NOW + MINUTE)
    over = replace(GRANT, id="g-over", valid_until=NOW - MINUTE)
    never = replace(GRANT, id="g-never", valid_until=NOW + MINUTE, windows=(parse_window("Mon 08:00-09:00"),))
    told = explain(world(grants=(wide, slow, short, over, never)), ALICE, SALES, AccessMode.READ_ONLY, NOW)
    assert {each.grant.id: (each.part.value, each.reason) for each in told.considered} == {
        "g-wide": ("counts", "it counts"),
        "g-slow": ("loses", "g-wide is wider: statement-timeout"),
        "g-short": ("loses", "g-wide is as wide and lasts longer"),
        "g-over": ("ended", "it ended Sun 2026-03-01 11:59 UTC"),
        "g-never": ("closed", "outside its windows, and it ends before the next one"),
    }
