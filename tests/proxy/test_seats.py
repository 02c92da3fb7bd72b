"""Places go from session to session without a question, and no ceiling is passed for it: over a real bus, with several workers."""

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.access.model import Lease
from gateway.bus.hub import BusHub
from gateway.bus.lines import Message, Payload
from gateway.bus.peer import CONNECTED, BusPeer
from gateway.proxy.seats import Seat, Seats, read_backend
from gateway.proxy.upstream import Place
from gateway.settings import CurrentSettings, Limits, Settings
from gateway.supervision.headcount import Headcount
from gateway.wire.backend import ErrorFields
from tests.support.leases import lease_of

PLACE = Place(2, ("192.0.2.7", 5432), None, "db")
LIMITS = Limits(max_sessions=6, max_sessions_per_user=3)


def settings(limits: Limits = LIMITS) -> CurrentSettings:
    return CurrentSettings(Settings(state_dir=Path("/nowhere"), limits=limits))


class Gateway:
    """A hub that counts, notes what it was told, and is the only judge of how many there are."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.current = settings()
        self.headcount = Headcount(self.current, lambda _: True, lambda *_: None)
        self.told: list[Message] = []
        self.hub = BusHub(path, {kind: self._noting(handler) for kind, handler in self.headcount.handlers.items()})
        self.peers: list[BusPeer] = []

    def _noting(self, handler):  # type: ignore[no-untyped-def]
        def note(message: Message) -> Payload | None:
            self.told.append(message)
            return handler(message)

        return note

    def told_kinds(self) -> Counter[str]:
        return Counter(message.kind for message in self.told if message.kind != "declare")

    async def worker(self, name: str) -> Seats:
        peer = BusPeer(self.path, name, {CONNECTED: lambda _: seats.declare()})
        seats = Seats(peer)
        self.peers.append(peer)
        await peer.start()
        return seats

    async def until_empty(self) -> None:
        async with asyncio.timeout(3):
            while self.headcount.sessions:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    with tempfile.TemporaryDirectory() as made:
        found = Gateway(Path(made) / "bus.sock")
        await found.hub.start()
        yield found
        for peer in found.peers:
            await peer.close()
        await found.hub.close()


async def taken(seats: Seats, session: str, lease: Lease) -> Seat:
    seat = await seats.take(session, lease)
    assert isinstance(seat, Seat)
    return seat


async def test_who_connects_again_and_again_is_not_asked_for_each_time(gateway: Gateway) -> None:
    seats = await gateway.worker("worker:0")
    for number in range(50):
        seat = await taken(seats, f"s{number}", lease_of("ana"))
        seat.opened(PLACE, number, b"key")
        seat.leave()
        await asyncio.sleep(0.002)
    assert gateway.headcount.sessions == 1
    assert gateway.told_kinds()["reserve"] <= 2
    await gateway.until_empty()
    given_back = [session for message in gateway.told for session in message.payload.get("sessions", [])]
    assert gateway.told_kinds()["reserve"] == len(given_back) == len(set(given_back))


async def test_a_place_is_nobody_elses(gateway: Gateway) -> None:
    """Neither another user's nor another target's session sits down on it: their ceilings are others."""
    seats = await gateway.worker("worker:0")
    for lease in (lease_of("ana", "sales"), lease_of("bob", "sales"), lease_of("ana", "staff")):
        (await taken(seats, f"{lease.user.id} {lease.target.id}", lease)).leave()
    assert gateway.told_kinds()["reserve"] == 3


async def test_a_lowered_ceiling_holds_within_a_second_for_those_who_never_pause(gateway: Gateway) -> None:
    seats = await gateway.worker("worker:0")
    others = [await taken(seats, f"o{number}", lease_of("ana")) for number in range(2)]
    (await taken(seats, "first", lease_of("ana"))).leave()
    gateway.current.replace(settings(LIMITS.model_copy(update={"max_sessions_per_user": 1})).now)
    refused: Seat | ErrorFields | None = None
    async with asyncio.timeout(1.3):
        number = 0
        while not isinstance(refused := await seats.take(f"s{number}", lease_of("ana")), ErrorFields):
            refused.leave()
            number += 1
            await asyncio.sleep(0.005)
    assert "1 at a time" in refused.message
    for other in others:
        other.leave()


async def test_a_place_that_waits_in_another_worker_is_had_a_moment_later(gateway: Gateway) -> None:
    one, two = await gateway.worker("worker:0"), await gateway.worker("worker:1")
    seats = [await taken(one, f"s{number}", lease_of("ana")) for number in range(3)]
    assert isinstance(await two.take("no", lease_of("ana")), ErrorFields)
    seats[0].leave()
    assert isinstance(await two.take("yes", lease_of("ana")), Seat)


async def test_a_place_that_waits_here_for_another_target_is_had_at_once(gateway: Gateway) -> None:
    seats = await gateway.worker("worker:0")
    for number in range(3):
        (await taken(seats, f"s{number}", lease_of("ana", f"t{number}"))).leave()
    async with asyncio.timeout(0.04):
        await taken(seats, "other", lease_of("ana", "other"))


async def test_the_hub_knows_what_is_open_upstream(gateway: Gateway) -> None:
    """Of each place the session that has it now, soon after it was opened, and never that of a former one for long."""
    seats = await gateway.worker("worker:0")
    first = await taken(seats, "first", lease_of("ana"))
    first.opened(PLACE, 1, b"one")
    await asyncio.sleep(0.05)
    first.leave()
    second = await taken(seats, "second", lease_of("ana"))
    second.opened(PLACE, 2, b"two")
    await asyncio.sleep(0.05)
    second.leave()
    third = await taken(seats, "third", lease_of("bob"))
    third.opened(PLACE, 3, b"three")
    await asyncio.sleep(0.1)
    left = gateway.headcount.gone("worker:0")
    assert [read_backend(str(held["upstream"])) for held in left] == [(2, ("192.0.2.7", 5432), 3, b"three")]
    opened = [read_backend(str(message.payload["upstream"])) for message in gateway.told if message.kind == "opened"]
    assert [process_id for _, _, process_id, _ in opened] == [1, 2, 3]


async def test_leaving_twice_gives_back_once(gateway: Gateway) -> None:
    """Also when the place has gone on to somebody else in between."""
    seats = await gateway.worker("worker:0")
    first = await taken(seats, "first", lease_of("ana"))
    first.leave()
    second = await taken(seats, "second", lease_of("ana"))
    first.leave()
    third = await taken(seats, "third", lease_of("ana"))
    assert gateway.headcount.sessions == 2
    for seat in (second, third):
        seat.leave()
    await gateway.until_empty()


@pytest.mark.parametrize("seed", range(4))
async def test_never_more_sessions_than_places(gateway: Gateway, seed: int) -> None:
    """Whatever comes and goes, in whatever order: what lives is at most what the hub counts, and that at most the ceilings."""
    dice = random.Random(seed)
    workers = [await gateway.worker(f"worker:{number}") for number in range(2)]
    living: Counter[str] = Counter()

    async def client(number: int) -> None:
        for visit in range(12):
            user = dice.choice(("ana", "bob", "cid"))
            taking = asyncio.create_task(dice.choice(workers).take(f"{number} {visit}", lease_of(user, dice.choice("xy"))))
            if dice.random() < 0.2:
                await asyncio.sleep(0)
                taking.cancel()
            await asyncio.wait([taking])
            if taking.cancelled() or not isinstance(seat := taking.result(), Seat):
                continue
            living[user] += 1
            assert living.total() <= gateway.headcount.sessions <= LIMITS.max_sessions
            assert living[user] <= LIMITS.max_sessions_per_user
            await asyncio.sleep(dice.random() * 0.02)
            living[user] -= 1
            seat.leave()
            await asyncio.sleep(dice.random() * 0.02)

    await asyncio.gather(*(client(number) for number in range(8)))
    await gateway.until_empty()
