"""The hub's side of limits that hold for the whole gateway: workers ask it before they open a session upstream."""

from collections.abc import Callable, Mapping

from gateway.bus.lines import Handler, Message, Payload
from gateway.bus.reservations import Ceilings, Limited, Reservation, Reservations
from gateway.settings import CurrentSettings


class Headcount:
    """`alive` says whether a worker of this name runs: what a dead one still had in its pipe counts no more."""

    def __init__(self, current: CurrentSettings, alive: Callable[[str], bool]) -> None:
        self._current = current
        self._alive = alive
        self._reservations = Reservations()

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {"reserve": self._reserve, "opened": self._opened, "give-back": self._give_back, "declare": self._declare}

    @property
    def sessions(self) -> int:
        return self._reservations.total

    def gone(self, worker: str) -> list[Payload]:
        """Its process has ended, and its connections with it. Answers whose queries may still run upstream, for `orphans`.

        A server that computes does not look whether its client is still there.
        """
        return [held.as_payload() for held in self._reservations.forget(worker) if held.upstream is not None]

    def _reserve(self, message: Message) -> Payload | None:
        wanted = Reservation.from_payload(message.payload)
        if wanted is None or not self._alive(message.sender):
            return None
        ceiling = message.payload.get("ceiling")
        limits = self._current.now.limits
        ceilings = Ceilings(limits.max_sessions, limits.max_sessions_per_user, ceiling if isinstance(ceiling, int) else None)
        full = self._reservations.take(message.sender, wanted, ceilings)
        if full is None:
            return {"full": None}
        return {"full": full.value, "ceiling": _ceiling_of(full, ceilings)}

    def _opened(self, message: Message) -> None:
        upstream = message.payload.get("upstream")
        if isinstance(upstream, dict):
            self._reservations.opened(message.sender, str(message.payload.get("session")), upstream)

    def _give_back(self, message: Message) -> None:
        self._reservations.give_back(message.sender, str(message.payload.get("session")))

    def _declare(self, message: Message) -> None:
        held = message.payload.get("held")
        if isinstance(held, list) and self._alive(message.sender):
            found = [Reservation.from_payload(item) for item in held]
            self._reservations.declare(message.sender, [one for one in found if one is not None])


def _ceiling_of(full: Limited, ceilings: Ceilings) -> int | None:
    match full:
        case Limited.GATEWAY:
            return ceilings.gateway
        case Limited.USER:
            return ceilings.user
        case Limited.TARGET:
            return ceilings.target
