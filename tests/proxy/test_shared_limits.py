"""What workers tell each other over a real bus: who knocks, who failed, who cancels; and whom the hub counts."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_address
from pathlib import Path

import pytest

from gateway.access.model import DatabaseRole, Lease, ListMode, Target, TlsMode, User
from gateway.access_mode import AccessMode
from gateway.bus.hub import BusHub
from gateway.bus.lines import Payload
from gateway.bus.peer import CONNECTED, BusPeer
from gateway.proxy.knocking import Knocking
from gateway.proxy.seats import Seat, Seats
from gateway.proxy.throttle import CancelThrottle, LoginThrottle
from gateway.settings import CurrentSettings, Limits, Settings
from gateway.supervision.headcount import Headcount
from gateway.wire.backend import ErrorFields

A, B = ip_address("192.0.2.1"), ip_address("192.0.2.2")
LIMITS = Limits(max_pending=8, max_pending_per_address=4, max_sessions=3, max_sessions_per_user=3)


def settings(limits: Limits = LIMITS) -> CurrentSettings:
    return CurrentSettings(Settings(state_dir=Path("/nowhere"), limits=limits))


class One:
    """A worker's share of what is counted for all."""

    def __init__(self, path: Path, name: str, current: CurrentSettings) -> None:
        self.name = name
        self.peer = BusPeer(
            path,
            name,
            {
                CONNECTED: lambda _: self.connected(),
                "knocking": lambda message: self.knocking.heard(message.sender, message.payload),
                "who-is-knocking": lambda message: self.knocking.tell_all(message.sender),
                "worker-gone": lambda message: self.knocking.gone(str(message.payload["worker"])),
            },
        )
        self.knocking = Knocking(current, self.peer)
        self.seats = Seats(self.peer)

    def connected(self) -> None:
        self.seats.declare()
        self.knocking.connected()


class Gateway:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.current = settings()
        self.alive: set[str] = set()
        self.headcount = Headcount(self.current, lambda name: name in self.alive, self.tell)
        self.hub = BusHub(path, self.headcount.handlers)
        self.workers: list[One] = []

    def tell(self, worker: str, kind: str, payload: Payload) -> None:
        self.hub.send(worker, kind, payload)

    async def add(self, name: str) -> One:
        one = One(self.path, name, self.current)
        self.alive.add(name)
        await one.peer.start()
        self.workers.append(one)
        await asyncio.sleep(0.02)
        return one

    async def kill(self, one: One) -> None:
        await one.peer.close()
        self.alive.discard(one.name)
        self.headcount.gone(one.name)
        self.hub.send("all", "worker-gone", {"worker": one.name})


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    with tempfile.TemporaryDirectory() as made:
        found = Gateway(Path(made) / "bus.sock")
        await found.hub.start()
        yield found
        for one in found.workers:
            await one.peer.close()
        await found.hub.close()


async def until(true: Callable[[], object], seconds: float = 3) -> float:
    start = time.monotonic()
    while not true():
        assert time.monotonic() - start < seconds, "did not happen in time"
        await asyncio.sleep(0.002)
    return time.monotonic() - start


def lease(user: str = "ana", ceiling: int | None = None) -> Lease:
    role = DatabaseRole("r", "app_ro", b"")
    target = Target(
        "t", "sales", "db", 5432, "sales", TlsMode.DISABLE, None, False, True, ListMode.INHERIT, {}, max_sessions=ceiling
    )
    person = User(f"id-{user}", user, "", True, None, ListMode.INHERIT, 1)
    return Lease(person, target, AccessMode.READ_ONLY, role, "g", None, 1)


# --- who knocks


async def test_one_worker_refuses_what_another_has_let_in(gateway: Gateway) -> None:
    one, two = await gateway.add("worker:0"), await gateway.add("worker:1")
    for _ in range(4):
        assert one.knocking.enter(A) == ""
    await asyncio.sleep(0.05)  # that is what is promised
    assert two.knocking.enter(A) == "too-many-pending-from-address"
    for _ in range(4):
        assert two.knocking.enter(B) == ""
    await asyncio.sleep(0.05)
    assert one.knocking.enter(ip_address("192.0.2.3")) == "too-many-pending"
    two.knocking.leave(B)
    await until(lambda: one.knocking.enter(ip_address("192.0.2.3")) == "")


async def test_who_comes_new_knows_who_is_there(gateway: Gateway) -> None:
    one = await gateway.add("worker:0")
    for _ in range(4):
        one.knocking.enter(A)
    two = await gateway.add("worker:1")
    assert two.knocking.enter(A) == "too-many-pending-from-address"


async def test_who_stood_at_a_dead_workers_door_counts_no_more(gateway: Gateway) -> None:
    one, two = await gateway.add("worker:0"), await gateway.add("worker:1")
    for _ in range(4):
        one.knocking.enter(A)
    await until(lambda: two.knocking.enter(A) != "" or two.knocking.leave(A))
    await gateway.kill(one)
    await until(lambda: two.knocking.enter(A) == "")


async def test_counts_are_right_again_after_the_bus_was_away(gateway: Gateway) -> None:
    one, two = await gateway.add("worker:0"), await gateway.add("worker:1")
    one.knocking.enter(A)
    await gateway.hub.close()
    for _ in range(3):
        one.knocking.enter(A)
    two.knocking.enter(B)
    gateway.hub = BusHub(gateway.path, gateway.headcount.handlers)
    await gateway.hub.start()
    await until(lambda: one.peer.connected and two.peer.connected, 5)
    await asyncio.sleep(0.1)
    assert two.knocking.enter(A) == "too-many-pending-from-address"


# --- seats


async def test_a_seat_is_taken_once_and_given_back_once(gateway: Gateway) -> None:
    one, two = await gateway.add("worker:0"), await gateway.add("worker:1")
    seats = [await worker.seats.take(f"{worker.name}{n}", lease(f"u{n}")) for worker in (one, two) for n in range(2)]
    assert [isinstance(seat, Seat) for seat in seats] == [True, True, True, False]
    refused = seats[3]
    assert isinstance(refused, ErrorFields)
    assert refused.sqlstate == "53300"
    assert "3 at a time" in refused.message
    assert "limits.max_sessions" in refused.hint
    assert isinstance(seats[0], Seat)
    seats[0].leave()
    seats[0].leave()
    await until(lambda: gateway.headcount.sessions == 2)
    assert isinstance(await two.seats.take("again", lease()), Seat)


async def test_a_target_has_its_own_ceiling_and_a_reload_changes_the_others(gateway: Gateway) -> None:
    one = await gateway.add("worker:0")
    assert isinstance(await one.seats.take("1", lease(ceiling=1)), Seat)
    refused = await one.seats.take("2", lease("bob", ceiling=1))
    assert isinstance(refused, ErrorFields)
    assert 'on target "sales": 1 at a time' in refused.message
    gateway.current.replace(settings(LIMITS.model_copy(update={"max_sessions_per_user": 1})).now)
    refused = await one.seats.take("3", lease())
    assert isinstance(refused, ErrorFields)
    assert 'of user "ana": 1 at a time' in refused.message
    assert "limits.max_sessions_per_user" in refused.hint


async def test_a_hub_that_is_mute_or_away_lets_nobody_in(gateway: Gateway) -> None:
    one = await gateway.add("worker:0")
    gateway.alive.clear()  # the hub then takes us for dead, and says nothing
    refused = await one.seats.take("1", lease())
    assert isinstance(refused, ErrorFields)
    assert refused.sqlstate == "57P03"
    await gateway.hub.close()
    start = time.monotonic()
    assert isinstance(await one.seats.take("2", lease()), ErrorFields)
    assert time.monotonic() - start < 1.5


async def test_what_a_worker_holds_is_declared_after_the_bus_was_away(gateway: Gateway) -> None:
    one = await gateway.add("worker:0")
    first, second = await one.seats.take("1", lease("a")), await one.seats.take("2", lease("b"))
    assert isinstance(first, Seat)
    assert isinstance(second, Seat)
    await gateway.hub.close()
    await until(lambda: not one.peer.connected)
    second.leave()  # nobody hears it
    assert gateway.headcount.sessions == 2
    gateway.hub = BusHub(gateway.path, gateway.headcount.handlers)
    await gateway.hub.start()
    await until(lambda: gateway.headcount.sessions == 1, 5)


async def test_a_login_that_is_given_up_holds_no_seat(gateway: Gateway) -> None:
    one = await gateway.add("worker:0")
    taking = asyncio.create_task(one.seats.take("1", lease()))
    await asyncio.sleep(0)
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert isinstance(await one.seats.take("2", lease()), Seat)
    await until(lambda: gateway.headcount.sessions == 1)


# --- throttles


def test_a_new_worker_learns_who_failed() -> None:
    old, new = LoginThrottle(3, 60, 0.5), LoginThrottle(3, 60, 0.5)
    for _ in range(3):
        old.failed(A, "ann", 100.0)
    new.failed(B, "bob", 110.0)
    new.learn(old.state(110.0), 110.0)
    assert new.refused_for_seconds(A, 110.0) == pytest.approx(50.0)
    assert new.refused_for_seconds(B, 110.0) == 0.0
    assert new.delay_seconds("ann", 110.0) == 0.5
    assert old.state(161.0) == ([], [])


def test_other_limits_leave_what_was_counted() -> None:
    throttle = LoginThrottle(3, 60, 0.5)
    for _ in range(3):
        throttle.failed(A, "ann", 100.0)
    throttle.reconfigure(5, 60, 0.5)
    assert throttle.refused_for_seconds(A, 100.0) == 0.0
    for _ in range(2):
        throttle.failed(A, "ann", 101.0)
    assert throttle.refused_for_seconds(A, 101.0) > 0.0


def test_cancels_that_another_worker_admitted_count_here() -> None:
    one, two = CancelThrottle(4), CancelThrottle(4)
    for number in range(4):
        assert (one if number % 2 else two).admit_cancel(A, 10.0)
        (two if number % 2 else one).admitted_elsewhere(A, 10.0)
    assert not one.admit_cancel(A, 10.0)
    assert not two.admit_cancel(A, 10.0)
    assert one.admit_cancel(B, 10.0)
    one.reconfigure(8)
    assert one.admit_cancel(A, 10.5)
