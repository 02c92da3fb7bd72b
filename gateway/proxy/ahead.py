"""Upstream sessions opened ahead: per target and access mode some that are logged in and wait, each for one client.

They are an offer, never a condition: a login that finds none that suits is served by a session of its own, and nothing here is in
its way. How many may wait is counted for the whole gateway: each worker asks the hub for its share of places, and gives one up
when a client needs it.
"""

import asyncio
import math
import secrets
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from gateway.access.managed import ManagedMode
from gateway.access.model import Lease, Snapshot, Target
from gateway.access_mode import AccessMode
from gateway.bus.lines import HUB, BusUnavailable, JsonValue, Payload
from gateway.bus.reservations import Reservation
from gateway.ports import Directory
from gateway.proxy.ahead_stock import Order, Stock
from gateway.proxy.ahead_tally import AheadTally, Discarded
from gateway.proxy.target_health import TargetHealth
from gateway.proxy.upstream import UpstreamDialer
from gateway.proxy.upstream_plan import plan_of
from gateway.proxy.waiting import WaitingSession
from gateway.session.hand_over import WAITING_APPLICATION, WAITING_USER, suits
from gateway.session.startup_settings import Wishes, label_of
from gateway.session.upstream_login import UpstreamRefused
from gateway.settings import CurrentSettings, Settings

_ANSWER_SECONDS: Final = 1.0
_NO_WISHES: Final = Wishes((), WAITING_APPLICATION, "")
_log: Final = structlog.stdlib.get_logger("gateway.ahead")


class Asked(Protocol):
    """The bus, as far as it is needed here."""

    def send(self, to: str, kind: str, payload: Payload) -> bool: ...

    async def ask(self, to: str, kind: str, payload: Payload, timeout_seconds: float) -> Payload: ...


class Ahead:
    """`start` when the directory has a snapshot; `close` before the worker stops taking clients: it opens none any more."""

    def __init__(
        self,
        current: CurrentSettings,
        directory: Directory,
        dialer: UpstreamDialer,
        bus: Asked,
        health: TargetHealth,
    ) -> None:
        self._current = current
        self._directory = directory
        self._dialer = dialer
        self._bus = bus
        self._health = health
        self._stocks: dict[tuple[str, AccessMode], Stock] = {}
        self._places: dict[str, tuple[Stock, Reservation]] = {}
        self._settings = current.now
        self._open = False
        self.tally = AheadTally()

    def start(self) -> None:
        self._open = True
        self._directory.subscribe(self._follow)
        self._current.subscribe(self._retune)
        self._follow(self._directory.snapshot)

    def close(self) -> None:
        """May be said twice."""
        self._open = False
        self._keep({}, Discarded.STOPPED)

    @property
    def waiting(self) -> int:
        return sum(stock.waiting for stock in self._stocks.values())

    def processes(self) -> list[tuple[str, int]]:
        """Of each session that waits: the target's id, and which process of its server it has."""
        return [(target_id, each) for (target_id, _), stock in self._stocks.items() for each in stock.processes]

    def take(self, lease: Lease, wishes: Wishes) -> WaitingSession | None:
        """One for this client alone: `begin` and `finish` its hand-over, or `drop` it. None: open a session for it."""
        stock = self._stocks.get((lease.target.id, lease.mode))
        if stock is None or lease.target.managed is not ManagedMode.OFF:
            return None
        found = stock.take() if suits(wishes) and stock.order.is_for(lease.target, lease.role) else None
        if found is None:
            self.tally.missed += 1
        else:
            self.tally.taken += 1
        return found

    def failed(self, lease: Lease, refused: UpstreamRefused) -> None:
        """One that was taken was none: those beside it are not trusted any more either."""
        _log.info("a session opened ahead was of no use", target=lease.target.name, kind=refused.kind, detail=refused.detail)
        self.tally.discarded[Discarded.UNFIT] += 1
        stock = self._stocks.get((lease.target.id, lease.mode))
        if stock is not None:
            stock.empty(Discarded.UNFIT)

    # -- what is wanted ------------------------------------------------------------------------------------------------

    def _follow(self, snapshot: Snapshot) -> None:
        """In the very step in which this worker learns of a change, what it makes wrong is gone."""
        orders: dict[tuple[str, AccessMode], Order] = {}
        if self._open and snapshot.lockdown is None:
            workers = self._current.now.listen.workers
            for target in snapshot.targets.values():
                share = math.ceil(target.open_ahead / workers)
                if share and target.enabled and target.managed is ManagedMode.OFF:  # else nobody could know for whom
                    orders |= {(target.id, mode): Order(target, mode, role, share) for mode, role in target.roles.items()}
        self._keep(orders, Discarded.CHANGED)

    def _retune(self, settings: Settings) -> None:
        before, self._settings = self._settings, settings
        if settings.limits != before.limits:
            self._keep({}, Discarded.CHANGED)
            self._follow(self._directory.snapshot)

    def _keep(self, orders: dict[tuple[str, AccessMode], Order], why: Discarded) -> None:
        for key, stock in list(self._stocks.items()):
            order = orders.get(key)
            if order is None or not stock.order.is_for(order.target, order.role):
                del self._stocks[key]
                stock.close(why)
        for key, order in orders.items():
            if key in self._stocks:
                self._stocks[key].reorder(order)
            else:
                self._stocks[key] = Stock(order, self)
                self._stocks[key].fill()

    # -- places, which the hub counts ----------------------------------------------------------------------------------

    def make_way(self, place: str) -> None:
        """The hub has given this place of ours to a client."""
        found = self._places.pop(place, None)
        if found is not None:
            found[0].lost_place(place)

    def declare(self) -> None:
        """After a new connection to the hub, behind what sessions hold."""
        if self._places:
            held: list[JsonValue] = [reservation.as_payload() for _, reservation in self._places.values()]
            self._bus.send(HUB, "declare-waiting", {"held": held})

    # -- for a stock ---------------------------------------------------------------------------------------------------

    @property
    def age_seconds(self) -> float:
        """How long one may wait."""
        return self._current.now.limits.open_ahead_seconds

    async def reserve(self, stock: Stock) -> str | None:
        """A place; None: not now."""
        order = stock.order
        wanted = Reservation(secrets.token_hex(8), "", order.target.id, waiting=order.mode.value)
        limits: Payload = {"ceiling": order.target.max_sessions, "may_wait": order.target.open_ahead}
        self._places[wanted.session] = stock, wanted
        try:
            answer = await self._bus.ask(HUB, "reserve", {**wanted.as_payload(), **limits}, _ANSWER_SECONDS)
        except BusUnavailable:
            answer = {"full": "unknown"}
        except BaseException:
            self.give_back(wanted.session)
            raise
        if answer.get("full") is None and wanted.session in self._places:
            return wanted.session
        self.give_back(wanted.session)  # an answer may be on its way
        return None

    def give_back(self, place: str) -> None:
        if self._places.pop(place, None) is not None:
            self._bus.send(HUB, "give-back", {"sessions": [place]})

    async def open(self, order: Order, lost: Callable[[WaitingSession], None]) -> WaitingSession:
        """Raises UpstreamRefused."""
        settings, target, role, mode = self._current.now, order.target, order.role, order.mode
        session_id = secrets.token_hex(8)
        label = label_of(WAITING_USER, session_id)
        plan = plan_of(target, role, mode, label, _NO_WISHES, settings.limits.scram_iterations_max)
        try:
            async with asyncio.timeout(settings.limits.upstream_connect_timeout_seconds):
                connection, welcome, place = await self._dialer.open(target, role, plan)
        except TimeoutError:
            raise UpstreamRefused("unreachable", "no answer in time") from None
        if welcome.rest:
            connection.transport.abort()
            raise UpstreamRefused("protocol", "the server had more to say than that it is ready")
        self.tally.opened += 1
        self._health.answered(target.id, mode)
        return WaitingSession(session_id, connection, welcome, place, lost)

    def note_failure(self, target: Target, mode: AccessMode, refused: UpstreamRefused, pause_seconds: float) -> None:
        self.tally.failures += 1
        self._health.failed(target.id, mode, refused.kind)
        facts = {"kind": refused.kind, "sqlstate": refused.sqlstate, "detail": refused.detail}
        _log.warning("no session could be opened ahead", target=target.name, mode=mode.value, pause=pause_seconds, **facts)
