"""What all connections of one worker process share."""

import asyncio
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Protocol

from gateway.access.model import Lease
from gateway.bus.lines import ALL, JsonValue, Payload
from gateway.judging.judge import Judge
from gateway.ports import AuditSink, Directory
from gateway.proxy import rights_clock
from gateway.proxy.ahead import Ahead
from gateway.proxy.catalogs import Catalogs
from gateway.proxy.counters import Counters
from gateway.proxy.day_counts import DayCounts
from gateway.proxy.denied import DeniedStatements
from gateway.proxy.end_log import EndLog
from gateway.proxy.knocking import Knocking
from gateway.proxy.last_logins import LastLogins
from gateway.proxy.own_logins import OwnLogins
from gateway.proxy.policies import Policies
from gateway.proxy.registry import Registry
from gateway.proxy.seats import Seats
from gateway.proxy.target_health import TargetHealth
from gateway.proxy.throttle import CancelThrottle, LoginThrottle
from gateway.proxy.tls import ServerTls
from gateway.proxy.upstream import UpstreamDialer
from gateway.session.volume import Limits, Volume
from gateway.settings import CurrentSettings, Settings

if TYPE_CHECKING:
    from gateway.proxy.steady_c import Common


class Peers(Protocol):
    """How the other processes are told things: the bus."""

    def send(self, to: str, kind: str, payload: Payload) -> bool:
        """False: nobody heard it."""
        ...

    async def ask(self, to: str, kind: str, payload: Payload, timeout_seconds: float) -> Payload:
        """Raises BusUnavailable when no answer comes."""
        ...


@dataclass(slots=True)
class Worker:
    """`mock_secret` makes unknown users look like known ones, alike in all workers and after restarts."""

    number: int
    current: CurrentSettings
    directory: Directory
    trail: AuditSink
    judge: Judge
    registry: Registry
    logins: LoginThrottle
    cancels: CancelThrottle
    knocking: Knocking
    seats: Seats
    tls: ServerTls | None
    dialer: UpstreamDialer
    policies: Policies
    catalogs: Catalogs
    ahead: Ahead
    own_logins: OwnLogins
    peers: Peers
    mock_secret: bytes = field(repr=False)
    health: TargetHealth
    counters: Counters = field(default_factory=Counters)
    draining: bool = False
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    last_logins: LastLogins = field(init=False)
    day_counts: DayCounts = field(init=False)
    denied: DeniedStatements = field(default_factory=DeniedStatements)
    end_log: EndLog = field(default_factory=EndLog)
    common: "Common | None" = None  # of the short way, once somebody takes it

    def __post_init__(self) -> None:
        self.day_counts = DayCounts(self.peers, rights_clock.now)
        self.last_logins = LastLogins(self.peers)

    @property
    def settings(self) -> Settings:
        """Those in force now: do not keep them."""
        return self.current.now

    @property
    def knows_rights(self) -> bool:
        """The store answered not long ago: new sessions may be decided on."""
        return self.directory.stale_for_seconds <= self.current.now.store.stale_after_seconds

    def volume_of(self, lease: Lease) -> Volume | None:
        """What counts a session's rows; None: its grant does not limit them."""
        reading = lease.reading
        if not reading.is_metered:
            return None
        limits = Limits(lease.grant_id, reading.max_rows, reading.max_bytes, reading.max_bytes_per_day)
        day = None if reading.max_bytes_per_day is None else self.day_counts.of(lease.user.id, lease.grant_id)
        return Volume(limits, day)

    def audit(self, body: bytes) -> None:
        self.trail.append(body)

    def keep(self, task: asyncio.Task[None]) -> None:
        """Hold a reference until it is done: the event loop itself does not."""
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def login_failed(self, address: IPv4Address | IPv6Address, user: str, now: float) -> None:
        self.logins.failed(address, user, now)
        payload: dict[str, JsonValue] = {"address": str(address), "user": user}
        self.peers.send(ALL, "login-failed", payload)

    def login_succeeded(self, user: str) -> None:
        if self.logins.succeeded(user):
            self.peers.send(ALL, "login-succeeded", {"user": user})

    def admit_cancel(self, address: IPv4Address | IPv6Address, now: float) -> bool:
        admitted = self.cancels.admit_cancel(address, now)
        if admitted:
            self.peers.send(ALL, "cancel-admitted", {"address": str(address)})
        return admitted

    def catalog_touched(self, target_id: str) -> None:
        """DDL went through a session of this target."""
        self.catalogs.suspect(target_id)
        self.peers.send(ALL, "catalog-touched", {"target_id": target_id})
