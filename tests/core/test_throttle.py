"""Properties of the login and cancel throttles."""

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy.throttle import CancelThrottle, LoginThrottle

A = ip_address("192.0.2.1")
B = ip_address("192.0.2.2")


def throttle(**changes: int) -> LoginThrottle:
    return LoginThrottle(changes.get("free", 3), 60.0, 0.5, changes.get("entries", 1000))


def test_an_address_is_refused_after_its_free_failures_and_until_they_are_old() -> None:
    t = throttle()
    for at in (0.0, 10.0):
        t.failed(A, "ann", at)
    assert t.refused_for_seconds(A, 20.0) == 0.0
    t.failed(A, "bob", 20.0)
    assert t.refused_for_seconds(A, 20.0) == 40.0
    assert t.refused_for_seconds(A, 59.9) > 0.0
    assert t.refused_for_seconds(A, 60.0) == 0.0
    assert t.refused_for_seconds(B, 20.0) == 0.0


def test_ipv6_counts_by_its_64_and_mapped_addresses_are_ipv4() -> None:
    t = throttle()
    for n in range(3):
        t.failed(ip_address(f"2001:db8:0:1::{n:x}"), "ann", 0.0)
    assert t.refused_for_seconds(ip_address("2001:db8:0:1:ffff::1"), 1.0) > 0.0
    assert t.refused_for_seconds(ip_address("2001:db8:0:2::1"), 1.0) == 0.0
    for _ in range(3):
        t.failed(ip_address("::ffff:192.0.2.1"), "ann", 0.0)
    assert t.refused_for_seconds(A, 1.0) > 0.0


def test_an_ipv6_network_is_never_mistaken_for_an_ipv4_address() -> None:
    t = throttle()
    for _ in range(3):
        t.failed(ip_address("0:0:c000:201::1"), "ann", 0.0)
        t.failed(ip_address("::c000:201"), "ann", 0.0)
    assert t.refused_for_seconds(A, 1.0) == 0.0


def test_a_person_is_delayed_and_never_locked_out_and_a_success_clears_it() -> None:
    t = throttle()
    for n in range(50):
        t.failed(ip_address(f"192.0.2.{n}"), "ann", float(n) / 10)
    assert t.delay_seconds("ann", 6.0) == 0.5
    assert t.delay_seconds("bob", 6.0) == 0.0
    assert t.succeeded("ann")
    assert t.delay_seconds("ann", 6.0) == 0.0


def test_a_success_does_not_clear_the_address() -> None:
    t = throttle()
    for _ in range(3):
        t.failed(A, "ann", 0.0)
    assert not t.succeeded("own")  # who was never wrong: nothing for the other workers to forget
    assert t.refused_for_seconds(A, 1.0) > 0.0


def test_memory_is_bounded_and_the_newest_offender_is_remembered() -> None:
    t = throttle(entries=10)
    for n in range(1000):
        for _ in range(3):
            t.failed(ip_address(n + 1), f"user{n}", 0.0)
    assert t.refused_for_seconds(ip_address(1000), 1.0) > 0.0
    assert t.refused_for_seconds(ip_address(1), 1.0) == 0.0


@given(st.lists(st.floats(0, 120), min_size=1, max_size=60).map(sorted), st.floats(0, 60))
def test_refused_exactly_while_the_window_is_full(times: list[float], later: float) -> None:
    t = throttle(free=5)
    for at in times:
        t.failed(A, "ann", at)
    now = times[-1] + later
    recent = [at for at in times[-5:] if at + 60.0 > now]
    assert (t.refused_for_seconds(A, now) > 0.0) == (len(recent) == 5)


def test_cancels_have_a_burst_and_a_rate() -> None:
    t = CancelThrottle(10)
    assert [t.admit_cancel(A, 0.0) for _ in range(12)] == [True] * 10 + [False] * 2
    assert t.admit_cancel(B, 0.0)
    assert [t.admit_cancel(A, 0.25) for _ in range(3)] == [True, True, False]


@given(st.lists(st.floats(0, 10), max_size=300).map(sorted))
def test_no_window_of_cancels_exceeds_burst_and_rate(times: list[float]) -> None:
    t = CancelThrottle(5)
    admitted = [at for at in times if t.admit_cancel(A, at)]
    for i, start in enumerate(admitted):
        within = [at for at in admitted[i:] if at <= start + 1.0]
        assert len(within) <= 10


def test_cancel_memory_is_bounded() -> None:
    t = CancelThrottle(1, max_entries=10)
    for n in range(1000):
        assert t.admit_cancel(ip_address(n), 0.0)
    assert not t.admit_cancel(ip_address(999), 0.0)
