"""How sessions that wait are kept: never more than there are places, refilled, with pauses where upstream fails."""

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from gateway.access.model import DatabaseRole, ListMode, Target, TlsMode
from gateway.access_mode import AccessMode
from gateway.bus.reservations import Ceilings, Limited, Reservation, Reservations
from gateway.proxy import ahead_stock
from gateway.proxy.ahead_stock import Order, Stock
from gateway.proxy.ahead_tally import AheadTally, Discarded
from gateway.proxy.waiting import WaitingSession
from gateway.session.upstream_login import UpstreamRefused

ROLE = DatabaseRole("r", "app_ro", b"sealed")


def order(share: int) -> Order:
    target = Target("t", "sales", "db", 5432, "sales", TlsMode.DISABLE, None, False, True, ListMode.INHERIT, {})
    return Order(target, AccessMode.READ_ONLY, ROLE, share)


class Session:
    """Stands for a waiting one: nothing of it is looked at here but this."""

    def __init__(self, lost: Callable[[WaitingSession], None], now: float) -> None:
        self.lost = lost
        self.opened_at = now
        self.closing = False

    def drop(self) -> None:
        self.closing = True


class Supplier:
    def __init__(self, places: int) -> None:
        self.tally = AheadTally()
        self.places = places
        self.age_seconds = 60.0
        self.failing = False
        self.sessions: list[Session] = []
        self.attempts: list[float] = []
        self.pauses: list[float] = []
        self.at_once = self.most_at_once = 0

    async def reserve(self, stock: Stock) -> str | None:
        await asyncio.sleep(0)
        if not self.places:
            return None
        self.places -= 1
        return f"place {self.places}"

    def give_back(self, place: str) -> None:
        self.places += 1

    async def open(self, order: Order, lost: Callable[[WaitingSession], None]) -> WaitingSession:
        loop = asyncio.get_running_loop()
        self.attempts.append(loop.time())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0.001)
        finally:
            self.at_once -= 1
        if self.failing:
            raise UpstreamRefused("unreachable", "no")
        session = Session(lost, loop.time())
        self.sessions.append(session)
        return cast(WaitingSession, session)

    def note_failure(self, target: Target, mode: AccessMode, refused: UpstreamRefused, pause_seconds: float) -> None:
        self.pauses.append(pause_seconds)


async def settled(stock: Stock, count: int) -> None:
    async with asyncio.timeout(3):
        while stock.waiting != count:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
    await asyncio.sleep(0.01)
    assert stock.waiting == count


async def test_it_is_filled_a_few_at_a_time_and_refilled_and_gives_the_oldest() -> None:
    supplier = Supplier(10)
    stock = Stock(order(10), supplier)
    stock.fill()
    await settled(stock, 10)
    assert supplier.most_at_once <= 4
    taken = [stock.take() for _ in range(3)]
    assert taken == supplier.sessions[:3]
    await settled(stock, 10)
    assert len(supplier.sessions) == 13
    assert not any(session.closing for session in supplier.sessions)
    stock.close(Discarded.STOPPED)
    assert supplier.places == 10
    assert all(session.closing for session in supplier.sessions[3:])
    assert supplier.tally.discarded[Discarded.STOPPED] == 10


async def test_no_more_than_there_are_places() -> None:
    supplier = Supplier(2)
    stock = Stock(order(5), supplier)
    stock.fill()
    await settled(stock, 2)
    stock.lost_place("place 1")
    await settled(stock, 1)
    assert supplier.tally.discarded[Discarded.MADE_WAY] == 1
    stock.close(Discarded.STOPPED)


async def test_a_smaller_order_gives_places_back() -> None:
    supplier = Supplier(5)
    stock = Stock(order(5), supplier)
    stock.fill()
    await settled(stock, 5)
    stock.reorder(order(2))
    await settled(stock, 2)
    assert supplier.places == 3


async def test_failures_are_followed_by_longer_and_longer_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead_stock, "_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(ahead_stock, "_LONGEST_PAUSE_SECONDS", 0.1)
    supplier = Supplier(4)
    supplier.failing = True
    stock = Stock(order(4), supplier)
    stock.fill()
    await asyncio.sleep(0.5)
    assert stock.waiting == 0
    assert len(supplier.attempts) < 4 + 10
    assert max(supplier.pauses) == 0.1
    assert stock.take() is None
    supplier.failing = False
    await settled(stock, 4)


async def test_what_the_server_ends_at_once_is_a_failure_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead_stock, "_PAUSE_SECONDS", 0.05)
    supplier = Supplier(1)
    stock = Stock(order(1), supplier)
    stock.fill()
    await settled(stock, 1)
    session = supplier.sessions[0]
    session.lost(cast(WaitingSession, session))
    assert stock.waiting == 0
    await asyncio.sleep(0.02)
    assert len(supplier.sessions) == 1
    await settled(stock, 1)
    assert supplier.tally.discarded[Discarded.LOST] == 1


async def test_old_ones_are_replaced() -> None:
    supplier = Supplier(2)
    supplier.age_seconds = 0.05
    stock = Stock(order(2), supplier)
    stock.fill()
    await settled(stock, 2)
    async with asyncio.timeout(3):
        while len(supplier.sessions) < 4:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert supplier.sessions[0].closing
    stock.close(Discarded.STOPPED)


async def test_a_closed_one_does_nothing_any_more() -> None:
    supplier = Supplier(2)
    stock = Stock(order(2), supplier)
    stock.fill()
    await asyncio.sleep(0)
    stock.close(Discarded.STOPPED)
    stock.fill()
    await asyncio.sleep(0.02)
    assert (stock.waiting, supplier.at_once) == (0, 0)


# -- places, as the hub counts them ------------------------------------------------------------------------------------


def waiting(number: int, mode: str = "read_only", target: str = "t") -> Reservation:
    return Reservation(f"w{number}", "", target, waiting=mode)


def test_so_many_wait_in_each_mode_over_all_workers() -> None:
    counts, limits = Reservations(), Ceilings(100, 1, None, 2)
    assert counts.take("worker:0", waiting(1), limits) is None
    assert counts.take("worker:1", waiting(2), limits) is None
    assert counts.take("worker:1", waiting(3), limits) is Limited.TARGET
    assert counts.take("worker:1", waiting(4, "read_write"), limits) is None
    counts.forget("worker:1")
    assert counts.take("worker:0", waiting(5), limits) is None


def test_those_that_wait_count_and_make_way() -> None:
    counts, limits = Reservations(), Ceilings(100, 10, 2, 2)
    for number in range(2):
        assert counts.take("worker:0", waiting(number), limits) is None
    client = Reservation("s", "u", "t")
    assert counts.take("worker:1", client, limits) is Limited.TARGET
    assert counts.make_way("other") is None
    assert counts.make_way("t") == ("worker:0", waiting(0))
    assert counts.take("worker:1", client, limits) is None
    assert counts.take("worker:0", waiting(3), limits) is Limited.TARGET
    assert counts.total == 2
    assert counts.make_way(None) == ("worker:0", waiting(1))
    assert counts.make_way(None) is None
    assert counts.total == 1


def test_a_place_is_told_and_read_alike() -> None:
    assert Reservation.from_payload(waiting(1).as_payload()) == waiting(1)
    assert "waiting" not in Reservation("s", "u", "t").as_payload()
