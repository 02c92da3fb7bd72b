"""How long a right outlives its end: from the commit of a change to the last byte that a client of it still gets.

    python -m tests.bench.revocation --trials 1000
    python -m tests.bench.revocation --each 200 --states idle active

Each round ends the right of five sessions at once, in as many states: idle, running a query, in a transaction, in a COPY that
streams, and pending (its proof of the password is sent in the moment of the commit); `--states` asks for some of these. The ways
in which it ends take turns, each at least once. A trial is one session; its farewell (FATAL 57P01) counts as a byte. `--each 200`:
two hundred trials of each way in each state, however many that makes. The table has a row for each way, for each way in each
state, and for each state.
"""

import argparse
import asyncio
import math
import selectors
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

from scramp import ScramClient

from gateway.bus.gateway import BusGateway
from gateway.secret import Secret
from gateway.services import allowlist, grants, groups, lockdown, targets, users
from gateway.store import open_store
from gateway.store.sql_store import SqlStore
from tests.support.gateway import WHY, Person, RunningGateway, running_gateway
from tests.support.upstream import Database, fresh_database, make_logins, running_upstream
from tests.support.wire import Place, RawClient, Refused, packet, query, read_or_refused, sasl_initial, startup

NETWORK: Final = "127.0.0.0/8"
ENDLESS: Final = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b"
STREAM: Final = (
    "COPY (SELECT g, (SELECT count(*) FROM generate_series(1, 3000)) FROM generate_series(1, 100000000) g) TO STDOUT"
)
LIVE_STATES: Final = ("idle", "active", "in transaction", "copy")
STATES: Final = (*LIVE_STATES, "pending")
PATIENCE_SECONDS: Final = 10.0
EXPIRY_SECONDS: Final = 1.5  # a change waits for its turn on a busy machine


@dataclass(frozen=True)
class Trial:
    change: str
    state: str
    seconds: float


@dataclass
class Stage:
    """A gateway, a person who has a right in two ways, and verbs that end each of them and give it back."""

    gateway: RunningGateway
    store: SqlStore
    person: Person
    target: str
    group: str
    committed_at: float = 0.0
    trials: list[Trial] = field(default_factory=list)

    @property
    def place(self) -> Place:
        return Place(self.gateway.host, self.gateway.port)

    def changes(self) -> dict[str, tuple[Callable[[], Awaitable[object]], Callable[[], Awaitable[object]]]]:
        """Name -> (ends the right, gives it back)."""
        store, name, target, group = self.store, self.person.name, self.target, self.group
        holder = grants.GroupHolder(group)
        grant = {"holder": holder, "target_name": target, **WHY}
        everywhere = {"level": allowlist.Everybody(), "network": NETWORK, **WHY}
        return {
            "grant revoked": (
                lambda: grants.revoke_grants(store, **grant),
                lambda: grants.create_grant(store, mode=grants.AccessMode.READ_ONLY, **grant),
            ),
            "out of the group": (
                lambda: groups.remove_member(store, group_name=group, user_name=name, **WHY),
                lambda: groups.add_member(store, group_name=group, user_name=name, **WHY),
            ),
            "user disabled": (
                lambda: users.disable_user(store, name=name, **WHY),
                lambda: users.enable_user(store, name=name, **WHY),
            ),
            "network unlisted": (
                lambda: allowlist.delete_network(store, **everywhere),
                lambda: allowlist.create_entry(store, **everywhere),
            ),
            "target disabled": (
                lambda: targets.disable_target(store, name=target, **WHY),
                lambda: targets.enable_target(store, name=target, **WHY),
            ),
            "lockdown": (lambda: lockdown.lock_down(store, **WHY), lambda: lockdown.lift_lockdown(store, **WHY)),
            "user deleted": (lambda: users.delete_user(store, name=name, **WHY), self._create_user),
            "password changed": (self._set_password, self._nothing),
            "grant expired": (
                self._expire_grant,
                lambda: grants.create_grant(store, mode=grants.AccessMode.READ_ONLY, **grant),
            ),
            "user expired": (self._expire, lambda: users.set_user_expiry(store, name=name, valid_until=None, **WHY)),
        }

    async def _create_user(self) -> None:
        password = Secret(self.person.password)
        await users.create_user(self.store, name=self.person.name, password=password, groups=[self.group], **WHY)

    async def _set_password(self) -> None:
        """The same again, which is another one to a session: the next ones find their way in."""
        await users.set_password(self.store, name=self.person.name, password=Secret(self.person.password), **WHY)

    async def _expire(self) -> None:
        """The clock ends it; that is the moment from which the time counts."""
        until = datetime.now(UTC) + timedelta(seconds=EXPIRY_SECONDS)
        await users.set_user_expiry(self.store, name=self.person.name, valid_until=until, **WHY)
        self.committed_at = time.monotonic() + (until - datetime.now(UTC)).total_seconds()

    async def _expire_grant(self) -> None:
        """The same of the grant."""
        snapshot = await self.store.read()
        (live,) = [each for each in snapshot.grants[snapshot.groups[self.group].id] if each.valid_until is None]
        until = datetime.now(UTC) + timedelta(seconds=EXPIRY_SECONDS)
        await grants.update_grant(self.store, grant_id=live.id, valid_until=until, **WHY)
        self.committed_at = time.monotonic() + (until - datetime.now(UTC)).total_seconds()

    async def _nothing(self) -> None:
        """The right is there again."""


@contextmanager
def measured_gateway() -> Iterator[RunningGateway]:
    """Two workers, and nothing that would slow down or refuse somebody who comes again and again."""
    with running_gateway(
        listen={"host": "127.0.0.1", "port": 0, "workers": 2, "drain_seconds": 1.0},
        tls={"mode": "allow"},
        throttle={"free_failures": 1_000_000, "user_delay_seconds": 0.0},
        networks=(NETWORK,),
        admin_api={"enabled": False},
    ) as gateway:
        yield gateway


@contextmanager
def stage(database: Database) -> Iterator[Stage]:
    with measured_gateway() as gateway:
        person, target, group = gateway.person(), gateway.target(database), "analysts"
        bus = BusGateway(gateway.state_dir / "bus.sock")

        def committed(_revision: int) -> None:
            made.committed_at = time.monotonic()
            bus.wake()

        made = Stage(gateway, open_store(gateway.admin.settings, on_commit=committed), person, target, group)
        asyncio.run(_give(made))
        yield made


async def _give(made: Stage) -> None:
    await groups.create_group(made.store, name=made.group, members=[made.person.name], **WHY)
    await made.changes()["grant revoked"][1]()


def run_round(made: Stage, change: str, states: Sequence[str] = STATES) -> None:
    """One change, and a session in each state that it ends."""
    end, give_back = made.changes()[change]
    sessions = {state: _session(made, state) for state in states if state in LIVE_STATES}
    proof = b""
    if "pending" in states:
        sessions["pending"], proof = _almost_logged_in(made)
    time.sleep(0.02)  # their queries run
    watch = Watch(sessions)

    async def commit() -> None:
        changing = asyncio.ensure_future(end())
        await asyncio.sleep(0)
        if "pending" in states:
            sessions["pending"].send(proof)
        await changing

    watching = asyncio.run(_with_watch(watch, commit))
    for state, last_at in watching.items():
        made.trials.append(Trial(change, state, max(last_at - made.committed_at, 0.0)))
    for client in sessions.values():
        client.close()
    asyncio.run(_awaited(give_back))


async def _with_watch(watch: "Watch", commit: Callable[[], Awaitable[None]]) -> dict[str, float]:
    watching = asyncio.create_task(asyncio.to_thread(watch.until_all_ended))
    await commit()
    return await watching


async def _awaited(verb: Callable[[], Awaitable[object]]) -> None:
    await verb()


class Watch:
    """When the last byte came on each connection, before it was closed."""

    def __init__(self, clients: dict[str, RawClient], patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._patience_seconds = patience_seconds
        self._selector = selectors.DefaultSelector()
        self._last = dict.fromkeys(clients, 0.0)
        for state, client in clients.items():
            client.sock.setblocking(False)
            self._selector.register(client.sock, selectors.EVENT_READ, state)

    def until_all_ended(self) -> dict[str, float]:
        deadline = time.monotonic() + self._patience_seconds
        while self._selector.get_map():
            if time.monotonic() > deadline:
                left = [key.data for key in self._selector.get_map().values()]
                raise AssertionError(f"still there {self._patience_seconds} s after they were to end: {left}")
            for key, _ in self._selector.select(0.5):
                try:
                    data = key.fileobj.recv(1 << 20)  # type: ignore[union-attr]
                except BlockingIOError:
                    continue
                except OSError:
                    data = b""
                if data:
                    self._last[key.data] = time.monotonic()
                else:
                    self._selector.unregister(key.fileobj)
        self._selector.close()
        return self._last


def _session(made: Stage, state: str) -> RawClient:
    client = _logged_in(made)
    match state:
        case "active":
            client.send(query(ENDLESS))
        case "in transaction":
            client.ask(query("BEGIN"))
            client.ask(query("SELECT 1"))
        case "copy":
            client.send(query(STREAM))
    return client


T = TypeVar("T")


def let_in(attempt: Callable[[], T]) -> T:
    """Right after a right was given back, a worker may not know of it yet."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return attempt()
        except (Refused, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _logged_in(made: Stage) -> RawClient:
    return let_in(lambda: made.place.log_in(made.person.name, made.person.password, made.target))


def _almost_logged_in(made: Stage) -> tuple[RawClient, bytes]:
    """Everything but the proof, and the proof."""

    def attempt() -> tuple[RawClient, bytes]:
        client = made.place.open()
        client.send(startup(made.person.name, made.target))
        scram = ScramClient(["SCRAM-SHA-256"], "ignored", made.person.password)
        read_or_refused(client, "R")
        client.send(sasl_initial("SCRAM-SHA-256", scram.get_client_first().encode()))
        scram.set_server_first(read_or_refused(client, "R").body[4:].decode())
        return client, packet("p", scram.get_client_final().encode())

    return let_in(attempt)


# --- what came out


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def table(trials: Sequence[Trial]) -> str:
    """Milliseconds: p50, p95, p99 and the longest, by change, by change and state, and by state."""
    groups_of: dict[str, list[float]] = defaultdict(list)
    for trial in trials:
        for name in (trial.change, _both(trial), trial.state, "all"):
            groups_of[name].append(trial.seconds * 1000)
    changes, states = (dict.fromkeys(getattr(trial, kind) for trial in trials) for kind in ("change", "state"))
    both = [_both(Trial(change, state, 0.0)) for change in changes for state in states]
    rows = [f"{'ms':<36}{'trials':>8}{'p50':>9}{'p95':>9}{'p99':>9}{'max':>9}"]
    for name in (*changes, *both, *states, "all"):
        values = groups_of[name]
        figures = "".join(f"{percentile(values, share):>9.1f}" for share in (0.5, 0.95, 0.99, 1.0))
        rows.append(f"{name:<36}{len(values):>8}{figures}")
    return "\n".join(rows)


def _both(trial: Trial) -> str:
    return f"{trial.change}, {trial.state}"


def measure(made: Stage, trials: int, states: Sequence[str] = STATES, *, each: int = 1) -> list[Trial]:
    """At least `trials`, and at least `each` of each way in each state."""
    changes = list(made.changes())
    for number in range(max(math.ceil(trials / len(states)), each * len(changes))):
        run_round(made, changes[number % len(changes)], states)
    return made.trials


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests.bench.revocation", description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, help="at least so many in all (1000, without --each)")
    parser.add_argument("--each", type=int, default=1, help="at least so many of each way in each state")
    parser.add_argument("--states", nargs="+", choices=STATES, default=STATES, metavar="STATE", help=", ".join(STATES))
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as made, running_upstream(Path(made)) as upstream:
        logins = make_logins(upstream)
        with fresh_database(upstream, logins) as database, stage(database) as ready:
            trials = given.trials or (1000 if given.each == 1 else 0)
            print(table(measure(ready, trials, given.states, each=given.each)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
