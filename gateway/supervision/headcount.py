"""The hub's side of limits that hold for the whole gateway: workers ask it before they open a session upstream.

Where sessions that wait for a client stand in the way of one, a place of theirs is taken back and the answer is still no: whoever
asked asks once more after a moment (see `proxy/seats.py`), when that session is closed upstream, too.
"""

from collections.abc import Callable, Mapping

from gateway.bus.lines import Handler, Message, Payload
from gateway.bus.reservations import Ceilings, Limited, Reservation, Reservations, read_shares
from gateway.settings import CurrentSettings


class Headcount:
    """`alive` says whether a worker of this name runs: what a dead one still had in its pipe counts no more.

    `tell(worker, kind, payload)` sends it a line.
    """

    def __init__(
        self, current: CurrentSettings, alive: Callable[[str], bool], tell: Callable[[str, str, Payload], None]
    ) -> None:
        self._current = current
        self._alive = alive
        self._tell = tell
        self._reservations = Reservations()

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {
            "reserve": self._reserve,
            "opened": self._opened,
            "move": self._move,
            "give-back": self._give_back,
            "declare": self._declare,
            "declare-waiting": self._declare_waiting,
        }

    @property
    def sessions(self) -> int:
        return self._reservations.total

    def gone(self, worker: str) -> list[Payload]:
        """Its process has ended, and its connections with it. Answers whose queries may still run upstream, for `orphans`.

        A server that computes does not look whether its client is still there.
        """
        return [held.as_payload() for held in self._reservations.forget(worker) if held.upstream]

    def _reserve(self, message: Message) -> Payload | None:
        wanted = Reservation.from_payload(message.payload)
        if wanted is None or not self._alive(message.sender):
            return None
        ceiling = message.payload.get("ceiling")
        limits = self._current.now.limits
        may_wait = message.payload.get("may_wait")
        ceilings = Ceilings(
            limits.max_sessions,
            limits.max_sessions_per_user,
            ceiling if isinstance(ceiling, int) else None,
            may_wait if isinstance(may_wait, int) else 0,
        )
        full = self._reservations.take(message.sender, wanted, ceilings)
        if full is None:
            return {"full": None}
        if full in (Limited.GATEWAY, Limited.TARGET) and not wanted.waiting:
            self._make_way(wanted.target if full is Limited.TARGET else None)
        return {"full": full.value, "ceiling": _ceiling_of(full, ceilings, wanted), "open": self._open(full, wanted)}

    def _open(self, full: Limited, wanted: Reservation) -> int | None:
        """Of a share: how many there are, which may be more than may be."""
        share = next((name for name, _ in wanted.shares if name.startswith(f"{full.value}:")), None)
        return None if share is None else self._reservations.taken_of(share)

    def _make_way(self, target: str | None) -> None:
        if (found := self._reservations.make_way(target)) is not None:
            holder, place = found
            self._tell(holder, "make-way", {"place": place.session})

    def _opened(self, message: Message) -> None:
        upstream = message.payload.get("upstream")
        if isinstance(upstream, str):
            self._reservations.opened(message.sender, str(message.payload.get("session")), upstream)

    def _move(self, message: Message) -> None:
        self._reservations.move(message.sender, str(message.payload.get("session")), read_shares(message.payload.get("shares")))

    def _give_back(self, message: Message) -> None:
        sessions = message.payload.get("sessions")
        for session in sessions if isinstance(sessions, list) else []:
            self._reservations.give_back(message.sender, str(session))

    def _declare(self, message: Message) -> None:
        held = message.payload.get("held")
        if isinstance(held, list) and self._alive(message.sender):
            found = [Reservation.from_payload(item) for item in held]
            self._reservations.declare(message.sender, [one for one in found if one is not None])

    def _declare_waiting(self, message: Message) -> None:
        """Behind "declare": the places where sessions wait. What is too much will make way."""
        held = message.payload.get("held")
        if isinstance(held, list) and self._alive(message.sender):
            for item in held:
                if (one := Reservation.from_payload(item)) is not None and one.waiting:
                    self._reservations.put(message.sender, one)


def _ceiling_of(full: Limited, ceilings: Ceilings, wanted: Reservation) -> int | None:
    match full:
        case Limited.GATEWAY:
            return ceilings.gateway
        case Limited.USER:
            return ceilings.user
        case Limited.TARGET:
            return ceilings.target
        case Limited.CREDENTIAL | Limited.GRANT:
            return next((most for share, most in wanted.shares if share.startswith(f"{full.value}:")), None)
