"""How long a right that was asked for outlives its end: from that instant to the last byte that a client of it still gets.

    python -m tests.bench.request_ends --expiries 200
    python -m tests.bench.request_ends --expiries 200 --clock-steps
    python -m tests.bench.request_ends --each 50

`--expiries`: so many access requests for a minute (the shortest there is), approved by somebody, each with a session that is
idle or runs a query when its time is over. Nobody does anything then. `--clock-steps`: meanwhile the clock of the gateway's
machine is set back, by an hour and by a day, and right again (libfaketime; Debian: faketime). `--each`: so many of each other
way in which such a right ends, in each state: given back, revoked, its approver disabled, its approver out of the group that
made them one.
"""

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from gateway.access.asking import ModeWanted
from gateway.access.request_record import AccessRequest, State, Word
from gateway.access_mode import AccessMode
from gateway.bus.gateway import BusGateway
from gateway.ports import RequestFilter
from gateway.services import access_requests, approval_policies, groups, users
from gateway.services.approval_terms import NamedStep
from gateway.store import open_store
from gateway.store.errors import StoreUnavailableError
from tests.bench.revocation import LIVE_STATES, PATIENCE_SECONDS, Stage, Trial, Watch, let_in, measure, measured_gateway, table
from tests.support.faketime import WallClock, settable_clock
from tests.support.gateway import WHY, Person
from tests.support.upstream import Database, fresh_database, make_logins, running_upstream
from tests.support.wire import RawClient, query

SECONDS: Final = 60  # the shortest that can be asked for
AT_ONCE: Final = 40
STORE_SECONDS: Final = 40.0
AT_ONCE_WITH_CLOCK: Final = 25  # libfaketime makes each look at the clock dear
WAITING: Final = "SELECT count(*) FROM hr.people"
"""While somebody else holds the table: a query that runs, and that costs nothing."""
STEPS: Final = (-3600, -86_400, 0)
APPROVERS: Final = "approvers"


async def insist(verb: Callable[[], Awaitable[AccessRequest]]) -> AccessRequest:
    """Again while the store has no time: under libfaketime all that the gateway does takes many times as long."""
    deadline = time.monotonic() + STORE_SECONDS
    while True:
        try:
            return await verb()
        except StoreUnavailableError:
            if time.monotonic() > deadline:
                raise


@dataclass
class RequestStage(Stage):
    """`person` asks; `approver` says yes, as one of a group. The right ends with their being one."""

    approver: str = ""

    def changes(self) -> dict[str, tuple[Callable[[], Awaitable[object]], Callable[[], Awaitable[object]]]]:
        store, name, approver = self.store, self.person.name, self.approver

        async def given() -> None:
            await self.give(name)

        async def enabled_again() -> None:
            await self._written_down()
            await users.enable_user(store, name=approver, **WHY)
            await given()

        async def member_again() -> None:
            await self._written_down()
            await groups.add_member(store, group_name=APPROVERS, user_name=approver, **WHY)
            await given()

        return {
            "given back": (self._relinquish, given),
            "revoked": (self._revoke, given),
            "approver disabled": (lambda: users.disable_user(store, name=approver, **WHY), enabled_again),
            "approver out of the group": (
                lambda: groups.remove_member(store, group_name=APPROVERS, user_name=approver, **WHY),
                member_again,
            ),
        }

    async def give(self, name: str, seconds: int = 3600) -> AccessRequest:
        """Asked for and approved."""
        asked = access_requests.Asked(ModeWanted(AccessMode.READ_ONLY), self.target, duration_seconds=seconds)
        request = await insist(lambda: access_requests.create_request(self.store, asked=asked, actor=f"user:{name}"))
        found = await insist(
            lambda: access_requests.decide_request(
                self.store,
                request=request.id,
                word=Word.YES,
                fingerprint=request.wanted.fingerprint,
                actor=f"user:{self.approver}",
            )
        )
        assert found.state is State.ACTIVE
        return found

    async def _relinquish(self) -> None:
        await access_requests.relinquish_request(self.store, request=(await self._live()).id, actor=f"user:{self.person.name}")

    async def _revoke(self) -> None:
        await access_requests.revoke_request(self.store, request=(await self._live()).id, **WHY)

    async def _live(self) -> AccessRequest:
        (found,) = await self.store.access_requests(self._active())
        return found

    async def _written_down(self) -> None:
        """The gateway saw by itself that the request is over: until then, the approver's return would give it back."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while await self.store.access_requests(self._active()):
            assert time.monotonic() < deadline, "the request of an approver who is none any more is still active"
            await asyncio.sleep(0.05)

    def _active(self) -> RequestFilter:
        return RequestFilter(states=frozenset({State.ACTIVE}))


@contextmanager
def stage(database: Database) -> Iterator[RequestStage]:
    with measured_gateway() as gateway:
        person, approver, target = gateway.person(), gateway.person(), gateway.target(database)
        bus = BusGateway(gateway.state_dir / "bus.sock")

        def committed(_revision: int) -> None:
            made.committed_at = time.monotonic()
            bus.wake()

        store = open_store(gateway.admin.settings, on_commit=committed)
        made = RequestStage(gateway, store, person, target, "", approver=approver.name)
        asyncio.run(_open(made))
        yield made


async def _open(made: RequestStage) -> None:
    await groups.create_group(made.store, name=APPROVERS, members=[made.approver], **WHY)
    await approval_policies.create_policy(
        made.store,
        name="reading",
        environment="default",
        modes=frozenset({AccessMode.READ_ONLY}),
        steps=(NamedStep((f"group:{APPROVERS}",)),),
        bound_to_approvers=True,
        **WHY,
    )
    await made.give(made.person.name)


def measure_expiries(made: RequestStage, database: Database, wanted: int, clock: WallClock | None = None) -> list[Trial]:
    """Each trial: how long after the end of its minute (by the true time) the last byte came. Early is below nought."""
    with database.upstream.connect(database.name) as holder:
        holder.execute("BEGIN; LOCK TABLE hr.people")
        return _waves(made, wanted, clock)


def _waves(made: RequestStage, wanted: int, clock: WallClock | None) -> list[Trial]:
    people = [made.gateway.person() for _ in range(min(wanted, AT_ONCE if clock is None else AT_ONCE_WITH_CLOCK))]
    way = "expired" if clock is None else "expired, clock set back"
    while len(made.trials) < wanted:
        made.trials += _wave(made, people[: wanted - len(made.trials)], way, clock)
    return made.trials


def _wave(made: RequestStage, people: Sequence[Person], way: str, clock: WallClock | None) -> list[Trial]:
    ends, clients = {}, {}
    for number, person in enumerate(people):
        state = ("idle", "active")[number % 2]
        found = asyncio.run(_given(made, person))
        assert found.ends_at is not None
        name = f"{number} {state}"
        ends[name] = time.monotonic() + (found.ends_at - datetime.now(UTC)).total_seconds()
        clients[name] = _session(made, person, state)
    watch = Watch(clients, max(ends.values()) - time.monotonic() + 10)
    with _set_back(clock, min(ends.values())):
        last = watch.until_all_ended()
    for client in clients.values():
        client.close()
    return [Trial(way, name.partition(" ")[2], last[name] - ends[name]) for name in clients]


async def _given(made: RequestStage, person: Person) -> AccessRequest:
    return await made.give(person.name, SECONDS)


def _session(made: RequestStage, person: Person, state: str) -> RawClient:
    client = let_in(lambda: made.place.log_in(person.name, person.password, made.target))
    if state == "active":
        client.send(query(WAITING))
    return client


@contextlib.contextmanager
def _set_back(clock: WallClock | None, first_end: float) -> Iterator[None]:
    """Meanwhile the clock is set, at random instants before and while the rights end."""
    if clock is None:
        yield
        return
    over, chance = threading.Event(), random.Random()

    def keep_setting() -> None:
        while not over.wait(chance.uniform(0.5, 3) if time.monotonic() > first_end - 10 else 5):
            clock.step(chance.choice(STEPS))
        clock.step(0)

    setting = threading.Thread(target=keep_setting)
    setting.start()
    try:
        yield
    finally:
        over.set()
        setting.join()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests.bench.request_ends", description=__doc__.partition("\n")[0])
    parser.add_argument("--expiries", type=int, default=0, help="so many requests whose time is over")
    parser.add_argument("--clock-steps", action="store_true", help="and the clock is set meanwhile")
    parser.add_argument("--each", type=int, default=0, help="so many of each other way in each state")
    given = parser.parse_args(arguments)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        upstream = stack.enter_context(running_upstream(folder))
        database = stack.enter_context(fresh_database(upstream, make_logins(upstream)))
        clock = None
        if given.clock_steps:
            clock = stack.enter_context(settable_clock(folder, stack.enter_context(pytest.MonkeyPatch.context())))
        made = stack.enter_context(stage(database))
        if given.each:
            measure(made, 0, LIVE_STATES, each=given.each)
        if given.expiries:
            measure_expiries(made, database, len(made.trials) + given.expiries, clock)
        print(table(made.trials))
    return 0


if __name__ == "__main__":
    sys.exit(main())
