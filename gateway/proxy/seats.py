"""A session's place among all that the gateway may have: asked of the hub, which counts for all workers.

When the hub does not answer, the answer is no: a limit that cannot be asked must not be a limit that is gone.

For whoever connects anew for each query, the hub is not asked each time: the place of a session that ends waits a moment for the
next one of the same user on the same target. It counts meanwhile, so that no ceiling is passed, and a yes is good for a
second at most. Who finds no place free asks again once, when such a moment is over.
"""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from gateway.access.model import Lease
from gateway.bus.lines import HUB, BusUnavailable, JsonValue, Payload
from gateway.bus.reservations import Limited, Reservation
from gateway.proxy.grid import GRID_SECONDS, call_about
from gateway.proxy.seat_counts import Whose, refused_by, whose_of
from gateway.proxy.upstream import Place
from gateway.session.effects import fatal
from gateway.wire import sqlstate
from gateway.wire.backend import ErrorFields

_ANSWER_SECONDS: Final = 1.0
_SPARE_SECONDS: Final = 0.05  # how long a place waits for its next session
_GRANTED_SECONDS: Final = 1.0  # how long a place may go from session to session: ceilings are lowered, too
_AT_ONCE: Final = 500  # places in one line to the hub
_TELL_SECONDS: Final = 0.02  # how long the hub may not know where a session is upstream, or a little longer
_log: Final = structlog.stdlib.get_logger("gateway.seats")


class Asked(Protocol):
    """The bus, as far as it is needed here."""

    def send(self, to: str, kind: str, payload: Payload) -> bool: ...

    async def ask(self, to: str, kind: str, payload: Payload, timeout_seconds: float) -> Payload: ...


@dataclass(frozen=True, slots=True)
class Backend:
    """The server process of one session, by which it can be cancelled."""

    place: Place
    process_id: int
    key: bytes = field(repr=False)

    def written(self) -> str:
        """For the hub, which hands it to another worker if this one dies: see `read_backend`."""
        return json.dumps([self.place.family, self.place.address, self.process_id, self.key.hex()])


def read_backend(written: str) -> tuple[int, tuple[str, int], int, bytes]:
    """Family and address of its server, process id and key."""
    family, address, process_id, key = json.loads(written)
    return family, tuple(address), process_id, bytes.fromhex(key)


class _Held:
    """A place that the hub counts for us under `name`: the id of the session for which it was asked.

    `upstream` is of the session that has it now; times are the event loop's, in seconds.
    """

    __slots__ = ("free_at", "granted_at", "name", "upstream", "whose")

    def __init__(self, name: str, whose: Whose) -> None:
        self.name = name
        self.whose = whose
        self.granted_at = self.free_at = 0.0
        self.upstream: Backend | None = None

    def as_payload(self) -> Payload:
        upstream = self.upstream.written() if self.upstream is not None else ""
        user_id, target_id, shares = self.whose
        return Reservation(self.name, user_id, target_id, upstream, shares=shares).as_payload()


class Seat:
    """Held from before upstream is dialled until its connection is closed."""

    __slots__ = ("_held", "_seats")

    def __init__(self, seats: "Seats", held: _Held) -> None:
        self._seats = seats
        self._held: _Held | None = held

    def opened(self, place: Place, process_id: int, key: bytes) -> None:
        """Upstream is there: who comes after this process, should it die, can cancel what runs there."""
        if self._held is not None:
            self._seats.opened(self._held, Backend(place, process_id, key))

    @property
    def backend(self) -> Backend:
        """Once it was opened, and until it is left."""
        if self._held is None or self._held.upstream is None:
            raise RuntimeError("a seat without a session upstream was asked for it")
        return self._held.upstream

    def move(self, lease: Lease) -> None:
        """The session stands on another grant now, or has none of its limits any more."""
        if self._held is not None:
            self._seats.moved(self._held, lease)

    def leave(self) -> None:
        """May be said twice."""
        held, self._held = self._held, None
        if held is not None:
            self._seats.left(held)


class Seats:
    """The places that this worker's sessions hold."""

    def __init__(self, bus: Asked) -> None:
        self._bus = bus
        self._held: dict[str, _Held] = {}  # by name; also those that are being asked for, but not the spare ones
        self._spare: dict[Whose, list[_Held]] = {}  # of each, the one that came last stands last
        self._untold: dict[str, _Held] = {}
        self._returned: list[str] = []  # names of places that are free again
        self._telling: asyncio.TimerHandle | None = None

    async def take(self, session_id: str, lease: Lease) -> Seat | ErrorFields:
        """Cancelling it gives back what may have been taken."""
        whose = whose_of(lease)
        if (spare := self._from_spares(whose)) is not None:
            return Seat(self, spare)
        wanted = self._held[session_id] = _Held(session_id, whose)
        try:
            answer = await self._reserve(wanted, lease.target.max_sessions)
            if answer.get("full") is not None and self._give_back_spares(0.0):
                answer = await self._reserve(wanted, lease.target.max_sessions)
            if answer.get("full") is not None:  # perhaps others have some, or a session opened ahead makes way
                await asyncio.sleep(_SPARE_SECONDS + 2 * GRID_SECONDS)
                answer = await self._reserve(wanted, lease.target.max_sessions)
        except BusUnavailable:
            self._give_back(wanted)  # an answer may be on its way
            _log.error("session refused: the supervisor does not answer, so that limits cannot be asked", session=session_id)
            return fatal(
                sqlstate.CANNOT_CONNECT_NOW, "the gateway cannot check its session limits now", "Try again in a moment."
            )
        except BaseException:
            self._give_back(wanted)
            raise
        if answer.get("full") is None:
            return Seat(self, wanted)
        del self._held[session_id]
        return refused_by(Limited(str(answer["full"])), answer.get("ceiling"), answer.get("open"), lease)

    async def _reserve(self, wanted: _Held, ceiling: int | None) -> Payload:
        wanted.granted_at = _now()  # or a moment later
        return await self._bus.ask(HUB, "reserve", {**wanted.as_payload(), "ceiling": ceiling}, _ANSWER_SECONDS)

    def _from_spares(self, whose: Whose) -> _Held | None:
        spares = self._spare.pop(whose, None)
        if spares is None:
            return None
        held = spares.pop()
        if spares:
            self._spare[whose] = spares
        self._held[held.name] = held
        if _now() - held.granted_at < _GRANTED_SECONDS:
            return held
        self._give_back(held)
        return None

    def processes(self) -> list[tuple[str, int]]:
        """Of each session: the target's id, and which process of its server it has."""
        held = list(self._held.values())
        return [(each.whose[1], each.upstream.process_id) for each in held if each.upstream is not None]

    def opened(self, held: _Held, upstream: Backend) -> None:
        held.upstream = upstream
        self._untold[held.name] = held
        self._tell_soon()

    def moved(self, held: _Held, lease: Lease) -> None:
        held.whose = whose_of(lease)
        self._bus.send(HUB, "move", {"session": held.name, "shares": dict(held.whose[2])})

    def left(self, held: _Held) -> None:
        held.upstream = None
        held.free_at = now = _now()
        if now - held.granted_at < _GRANTED_SECONDS and self._held.pop(held.name, None) is not None:
            self._untold.pop(held.name, None)
            self._spare.setdefault(held.whose, []).append(held)
            self._tell_soon()
        else:
            self._give_back(held)

    def _give_back(self, held: _Held) -> None:
        self._untold.pop(held.name, None)
        if self._held.pop(held.name, None) is not None:
            self._returned.append(held.name)
            self._tell_soon()

    def declare(self) -> None:
        """After a new connection to the hub: what was said over the former one may be lost."""
        self._spare.clear()
        self._untold.clear()
        self._returned.clear()
        held: list[JsonValue] = [held.as_payload() for held in self._held.values()]
        self._bus.send(HUB, "declare", {"held": held})

    # -- what the hub may hear a moment later --------------------------------------------------------------------------

    def _tell_soon(self) -> None:
        if self._telling is None:
            self._telling = call_about(asyncio.get_running_loop(), _TELL_SECONDS, self._tell)

    def _tell(self) -> None:
        self._telling = None
        untold, self._untold = self._untold, {}
        for held in untold.values():
            if held.upstream is not None:
                self._bus.send(HUB, "opened", {"session": held.name, "upstream": held.upstream.written()})
        self._give_back_spares(_SPARE_SECONDS)
        if self._spare:
            self._tell_soon()

    def _give_back_spares(self, waited_seconds: float) -> bool:
        """Those that have waited for so long, with what is free already. Whether there were any."""
        latest, returned = _now() - waited_seconds, self._returned
        for whose, spares in list(self._spare.items()):
            kept = [held for held in spares if held.free_at > latest]
            returned.extend(held.name for held in spares[: len(spares) - len(kept)])
            if kept:
                self._spare[whose] = kept
            else:
                del self._spare[whose]
        found = bool(returned)
        while returned:
            self._bus.send(HUB, "give-back", {"sessions": [*returned[:_AT_ONCE]]})
            del returned[:_AT_ONCE]
        return found


def _now() -> float:
    return asyncio.get_running_loop().time()
