"""Thousands of live sessions in this process: the real ones, under a real reconciler, whose connections lead nowhere.

What the gateway does for them is all that there is, so that it can be counted: no sockets, no store, no hub.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, Final, cast

from gateway.access.authorize import authorize
from gateway.access.model import Lease, Snapshot
from gateway.access_mode import AccessMode
from gateway.bus.lines import Payload
from gateway.judging.judge import Judge
from gateway.proxy import rights_clock
from gateway.proxy.ahead import Ahead
from gateway.proxy.audit_trail import AuditTrail
from gateway.proxy.catalogs import Catalogs
from gateway.proxy.knocking import Knocking
from gateway.proxy.live import LiveSession
from gateway.proxy.opening import Opened
from gateway.proxy.own_logins import OwnLogins
from gateway.proxy.policies import Policies
from gateway.proxy.reconciler import Reconciler
from gateway.proxy.registry import Registry
from gateway.proxy.seats import Seat, Seats
from gateway.proxy.standing import Introduction
from gateway.proxy.target_health import TargetHealth
from gateway.proxy.throttle import CancelThrottle, LoginThrottle
from gateway.proxy.upstream import Place, UpstreamDialer
from gateway.proxy.worker import Worker
from gateway.session.startup_settings import Wishes
from gateway.session.upstream_login import Welcome
from gateway.settings import CurrentSettings, Settings
from tests.support.snapshots import ALICE, GRANT, SALES, world

ADDRESS: Final = IPv4Address("10.1.2.3")
WISHES: Final = Wishes((), "", "")
WELCOME: Final = Welcome({}, 7, b"key", b"", used_md5=False, used_channel_binding=False)
PLACE: Final = Place(2, ("192.0.2.7", 5432), None, "db")


@dataclass
class Store:
    """The directory, and a bus with room for everybody."""

    snapshot: Snapshot
    fresh: bool = True
    stale_for_seconds: float = 0.0
    subscribers: list[Callable[[Snapshot], None]] = field(default_factory=list)

    def wake(self) -> None: ...

    def subscribe(self, callback: Callable[[Snapshot], None]) -> None:
        self.subscribers.append(callback)

    def publish(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        for callback in self.subscribers:
            callback(snapshot)

    def send(self, to: str, kind: str, payload: Payload) -> bool:
        return False

    async def ask(self, to: str, kind: str, payload: Payload, timeout_seconds: float) -> Payload:
        return {"full": None}


class Nowhere(asyncio.Transport):
    """One end of a connection that takes all at once."""

    __slots__ = ("closed", "said")

    def __init__(self) -> None:
        self.said = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.said += data

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...


@dataclass(frozen=True, slots=True)
class Member:
    """A session, and what its client and its server see."""

    session: LiveSession
    client: Nowhere
    server: Nowhere


class Crowd:
    """alice's sessions, who may write on sales, in one worker. `members` are all that there ever were."""

    def __init__(self, directory: Path, snapshot: Snapshot) -> None:
        self.store = Store(snapshot)
        self.worker = _worker(self.store, directory)
        self.reconciler = Reconciler(self.worker.registry, self.store, self.worker.current)
        self.members: list[Member] = []
        self.failed = False

    def start(self) -> None:
        self.reconciler.start(self._fail)

    def _fail(self) -> None:
        self.failed = True

    async def grow(self, number: int, *, user: str = ALICE.name, mode: AccessMode = AccessMode.READ_WRITE) -> None:
        for _ in range(number):
            self.members.append(await self._join(f"s-{len(self.members)}", user, mode))

    def close(self) -> None:
        self.reconciler.stop()
        self.worker.trail.close()

    @property
    def live(self) -> int:
        return len(self.worker.registry.sessions)

    async def _join(self, name: str, user: str, mode: AccessMode) -> Member:
        worker = self.worker
        lease = authorize(
            self.store.snapshot,
            user_name=user,
            target_name=SALES.name,
            mode=mode,
            address=ADDRESS,
            now=rights_clock.now(),
            session_id=name,
        )
        assert isinstance(lease, Lease)
        client, server = Nowhere(), Nowhere()
        seat = await worker.seats.take(name, lease)
        assert isinstance(seat, Seat)
        seat.opened(PLACE, 7, b"key")
        connection = cast("Any", SimpleNamespace(transport=server))
        pinned = {"session_authorization": "app_rw"}
        opened = Opened(name, connection, WELCOME, PLACE, WISHES, pinned, 17, seat, None, ahead=False)
        session = LiveSession(worker, Introduction(name, ADDRESS, "", tls=False), lease, opened, client)
        worker.registry.add(session)
        session.begin(opened, 0)
        return Member(session, client, server)


@contextmanager
def crowd(snapshot: Snapshot | None = None) -> Iterator[Crowd]:
    """On the loop that runs."""
    with TemporaryDirectory(prefix="pgbastion-") as made:
        found = Crowd(Path(made), snapshot or writing())
        try:
            found.start()
            yield found
        finally:
            found.close()


def writing(until: datetime | None = None, **more: Any) -> Snapshot:
    """alice may write on sales, perhaps until then."""
    return world(grants=(replace(GRANT, mode=AccessMode.READ_WRITE, valid_until=until),), **more)


def _worker(store: Store, directory: Path) -> Worker:
    current = CurrentSettings(Settings(state_dir=directory))
    health = TargetHealth(lambda: datetime.now(UTC))
    dialer = UpstreamDialer(cast("Any", None))  # nothing is dialled
    policies = Policies(current)
    registry = Registry(0)
    return Worker(
        number=0,
        current=current,
        directory=store,
        trail=AuditTrail(directory, 0, 1 << 40, asyncio.get_running_loop()),
        judge=Judge(1 << 20, 1.0),
        registry=registry,
        logins=LoginThrottle(5, 60.0, 1.0),
        cancels=CancelThrottle(100),
        knocking=Knocking(current, cast("Any", store)),
        seats=Seats(store),
        tls=None,
        dialer=dialer,
        policies=policies,
        catalogs=Catalogs(current, store, dialer, policies.prepare, registry.suspect, policies.superseded),
        ahead=Ahead(current, store, dialer, store, health),
        own_logins=OwnLogins(store, store),
        peers=store,
        mock_secret=b"",
        health=health,
    )
