"""A session's place among all that the gateway may have: asked of the hub, which counts for all workers.

When the hub does not answer, the answer is no: a limit that cannot be asked must not be a limit that is gone.
"""

from dataclasses import replace
from typing import Final, Protocol

import structlog

from gateway.access.model import Lease
from gateway.bus.lines import HUB, BusUnavailable, JsonValue, Payload
from gateway.bus.reservations import Limited, Reservation
from gateway.proxy.upstream import Place
from gateway.session.effects import fatal
from gateway.wire import sqlstate
from gateway.wire.backend import ErrorFields

_ANSWER_SECONDS: Final = 1.0
_log: Final = structlog.stdlib.get_logger("gateway.seats")


class Asked(Protocol):
    """The bus, as far as it is needed here."""

    def send(self, to: str, kind: str, payload: Payload) -> bool: ...

    async def ask(self, to: str, kind: str, payload: Payload, timeout_seconds: float) -> Payload: ...


class Seat:
    """Held from before upstream is dialled until its connection is closed."""

    __slots__ = ("_reservation", "_seats")

    def __init__(self, seats: "Seats", reservation: Reservation) -> None:
        self._seats = seats
        self._reservation = reservation

    def opened(self, place: Place, process_id: int, key: bytes) -> None:
        """Upstream is there: who comes after this process, should it die, can cancel what runs there."""
        upstream: Payload = {
            "family": place.family,
            "address": list(place.address),
            "process_id": process_id,
            "key": key.hex(),
        }
        self._seats.opened(self._reservation.session, upstream)

    def leave(self) -> None:
        """May be said twice."""
        self._seats.left(self._reservation.session)


class Seats:
    """The places that this worker's sessions hold."""

    def __init__(self, bus: Asked) -> None:
        self._bus = bus
        self._held: dict[str, Reservation] = {}

    async def take(self, session_id: str, lease: Lease) -> Seat | ErrorFields:
        """Cancelling it gives back what may have been taken."""
        wanted = Reservation(session_id, lease.user.id, lease.target.id)
        self._held[session_id] = wanted
        try:
            answer = await self._bus.ask(
                HUB, "reserve", {**wanted.as_payload(), "ceiling": lease.target.max_sessions}, _ANSWER_SECONDS
            )
        except BusUnavailable:
            self.left(session_id)  # an answer may be on its way
            _log.error("session refused: the supervisor does not answer, so that limits cannot be asked", session=session_id)
            return fatal(
                sqlstate.CANNOT_CONNECT_NOW, "the gateway cannot check its session limits now", "Try again in a moment."
            )
        except BaseException:
            self.left(session_id)
            raise
        if answer.get("full") is None:
            return Seat(self, wanted)
        del self._held[session_id]
        return _full(Limited(str(answer["full"])), answer.get("ceiling"), lease)

    def opened(self, session_id: str, upstream: Payload) -> None:
        held = self._held.get(session_id)
        if held is not None:
            self._held[session_id] = replace(held, upstream=upstream)
            self._bus.send(HUB, "opened", {"session": session_id, "upstream": upstream})

    def left(self, session_id: str) -> None:
        if self._held.pop(session_id, None) is not None:
            self._bus.send(HUB, "give-back", {"session": session_id})

    def declare(self) -> None:
        """After a new connection to the hub: what was said over the former one may be lost."""
        held: list[JsonValue] = [reservation.as_payload() for reservation in self._held.values()]
        self._bus.send(HUB, "declare", {"held": held})


def _full(limited: Limited, ceiling: JsonValue, lease: Lease) -> ErrorFields:
    """Which limit it is, and who can raise it."""
    match limited:
        case Limited.GATEWAY:
            text = f"too many sessions: the gateway admits {ceiling} at a time"
            hint = "Try again later; whoever runs the gateway can raise limits.max_sessions."
        case Limited.USER:
            text = f'too many sessions of user "{lease.user.name}": {ceiling} at a time are admitted'
            hint = "Close one of them; whoever runs the gateway can raise limits.max_sessions_per_user."
        case Limited.TARGET:
            text = f'too many sessions on target "{lease.target.name}": {ceiling} at a time are admitted'
            hint = "Try again later; an administrator can raise this target's limit."
    return fatal(sqlstate.TOO_MANY_CONNECTIONS, text, hint, f"pgbastion rule: too-many-sessions-{limited.value}")
