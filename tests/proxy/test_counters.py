"""Counters: bounded names, classes for every reason, and the event loop's lag."""

import asyncio
import contextlib
import re
import time

import pytest

from gateway.access_mode import AccessMode
from gateway.proxy.counters import REFUSALS, SESSION_ENDS, UPSTREAM_FAILURES, Counters, Gauges

_SAMPLE = re.compile(r'[a-z_]+(\{[a-z]+="[a-z0-9_-]+"(,[a-z]+="[a-z0-9_-]+")*\})?')


def test_every_name_is_a_sample_of_prometheus_and_is_there_from_the_start() -> None:
    names = set(Counters().as_mapping())
    assert all(_SAMPLE.fullmatch(name) for name in names)
    assert {f'sessions_ended_total{{reason="{reason}"}}' for reason in SESSION_ENDS} <= names
    assert {f'refusals_total{{rule="{rule}"}}' for rule in REFUSALS} <= names
    assert {f'upstream_failures_total{{kind="{kind}"}}' for kind in UPSTREAM_FAILURES} <= names


@pytest.mark.parametrize(
    ("reason", "counted"),
    [
        ("client quit", "client-quit"),
        ("client vanished", "client-vanished"),
        ("protocol violation: invalid frontend message type 0", "protocol-violation"),
        ("upstream lost", "upstream"),
        ("upstream ended the session (57P01)", "upstream"),
        ("upstream: unexpected ReadyForQuery", "upstream"),
        ("tripwire: session_authorization", "tripwire"),
        ("grant-ended", "right-ended"),
        ("password-changed", "right-ended"),
        ("address-not-admitted-for-user", "right-ended"),
        ("session-terminated", "terminated"),
        ("store-stale", "store-stale"),
        ("whatever a later rule is called", "other"),
    ],
)
def test_a_reason_has_a_class(reason: str, counted: str) -> None:
    counters = Counters()
    before = set(counters.as_mapping())
    counters.ended(reason)
    found = counters.as_mapping()
    assert set(found) == before
    assert found[f'sessions_ended_total{{reason="{counted}"}}'] == 1


@pytest.mark.parametrize(
    ("rule", "counted"),
    [
        ("address-not-admitted-for-target", "address-not-admitted"),
        ("too-many-pending", "too-many"),
        ("too-many-sessions", "too-many"),
        ("throttled", "throttled"),
        ("target-unknown", "right-missing"),
        ("mode-not-granted", "right-missing"),
        ("upstream-or-settings", "upstream"),
        ("no rule of ours", "other"),
    ],
)
def test_a_refusal_has_a_class(rule: str, counted: str) -> None:
    counters = Counters()
    counters.refused(rule)
    assert counters.as_mapping()[f'refusals_total{{rule="{counted}"}}'] == 1


def test_what_is_now_is_asked_for_when_somebody_looks() -> None:
    counters = Counters()
    counters.gauges = lambda: Gauges(3, 2, 1, audit_healthy=False, store_stale_seconds=1.5)
    tally = counters.tallies[AccessMode.READ_ONLY]
    tally.statements, tally.denied = 10, 4
    counters.upstream_failed("gone fishing")
    found = counters.as_mapping()
    assert (found["sessions_live"], found["sessions_pending"], found["judge_waiting"]) == (3, 2, 1)
    assert (found["audit_healthy"], found["store_stale_seconds"]) == (0, 1.5)
    assert found['statements_total{mode="read_only",verdict="allowed"}'] == 6
    assert found['upstream_failures_total{kind="other"}'] == 1


async def test_a_loop_that_was_held_up_shows() -> None:
    counters = Counters()
    task = asyncio.create_task(counters.watch_loop_lag())
    await asyncio.sleep(0.2)
    time.sleep(0.3)  # noqa: ASYNC251  (that is the point)
    await asyncio.sleep(0.1)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert counters.as_mapping()["event_loop_lag_max_seconds"] >= 0.2
