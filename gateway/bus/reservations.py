"""How many sessions there are, over all workers, waiting ones too. Pure; lives in the hub's process.

A worker reserves before it opens upstream and gives back when its upstream connection is closed. After its connection to the hub
broke, it declares what it holds. When its process is gone, so is what it held.

Places for sessions that are opened ahead count like those of sessions, so that no ceiling is passed; but they make way for those.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from sys import intern
from typing import TypeVar

from gateway.bus.lines import Payload

K = TypeVar("K")


class Limited(StrEnum):
    """What is full."""

    GATEWAY = "gateway"
    USER = "user"
    TARGET = "target"
    CREDENTIAL = "credential"
    GRANT = "grant"


@dataclass(frozen=True, slots=True)
class Reservation:
    """One session's place. `user` and `target` are ids.

    `upstream`, once it is open: what another worker needs to cancel what runs there, should this one die, as workers write it
    down (a text, since the hub keeps one for each session and never looks into it); "" before. `waiting`: the access
    mode of sessions that wait there, one after the other, for a client; they have no user. "" for a client's own place.
    `shares`: of what else it takes one, and how many there are of that at most (0: any number). A share's name begins with its
    kind, which is one of Limited's words, and a colon ("credential:1f3c...").
    """

    session: str
    user: str
    target: str
    upstream: str = field(default="", repr=False)
    waiting: str = ""
    shares: tuple[tuple[str, int], ...] = ()

    def as_payload(self) -> Payload:
        facts: Payload = {"session": self.session, "user": self.user, "target": self.target, "upstream": self.upstream}
        if self.waiting:
            facts["waiting"] = self.waiting
        if self.shares:
            facts["shares"] = dict(self.shares)
        return facts

    @classmethod
    def from_payload(cls, payload: object) -> "Reservation | None":
        match payload:
            case {"session": str(session), "user": str(user), "target": str(target), **more}:
                upstream, waiting, shares = more.get("upstream"), more.get("waiting"), more.get("shares")
                return cls(
                    session,
                    intern(user),  # of all that one person has
                    intern(target),
                    upstream if isinstance(upstream, str) else "",
                    waiting if isinstance(waiting, str) else "",
                    read_shares(shares),
                )
            case _:
                return None


@dataclass(frozen=True, slots=True)
class Ceilings:
    """At most so many at a time. `target` is that of the target asked for; None: none of its own.

    `waiting`: so many sessions may wait on this target in one access mode.
    """

    gateway: int
    user: int
    target: int | None
    waiting: int = 0


class Reservations:
    """`holder` is the name of a worker's process."""

    def __init__(self) -> None:
        self._held: dict[str, dict[str, Reservation]] = {}
        self._total = 0
        self._by_user: Counter[str] = Counter()
        self._by_target: Counter[str] = Counter()
        self._by_waiting: Counter[tuple[str, str]] = Counter()
        self._by_share: Counter[str] = Counter()

    @property
    def total(self) -> int:
        return self._total

    def take(self, holder: str, wanted: Reservation, ceilings: Ceilings) -> Limited | None:
        """None: it is taken. Else what is full."""
        if self._total >= ceilings.gateway:
            return Limited.GATEWAY
        if wanted.waiting and self._by_waiting[wanted.target, wanted.waiting] >= ceilings.waiting:
            return Limited.TARGET
        if not wanted.waiting and self._by_user[wanted.user] >= ceilings.user:
            return Limited.USER
        if ceilings.target is not None and self._by_target[wanted.target] >= ceilings.target:
            return Limited.TARGET
        for share, most in wanted.shares:
            if 0 < most <= self._by_share[share]:
                return Limited(share.partition(":")[0])
        self.put(holder, wanted)
        return None

    def taken_of(self, share: str) -> int:
        """How many sessions have a share of this."""
        return self._by_share[share]

    def move(self, holder: str, session: str, shares: tuple[tuple[str, int], ...]) -> None:
        """It stands on something else now, whatever the ceiling is there."""
        held = self._held.get(holder, {}).get(session)
        if held is not None:
            self.put(holder, replace(held, shares=shares))

    def make_way(self, target: str | None) -> tuple[str, Reservation] | None:
        """Take back a place where a session waits for a client (of this target, if one is named): its holder and itself."""
        for holder, held in self._held.items():
            for one in held.values():
                if one.waiting and target in (None, one.target):
                    self.give_back(holder, one.session)
                    return holder, one
        return None

    def opened(self, holder: str, session: str, upstream: str) -> None:
        held = self._held.get(holder, {})
        if session in held:
            held[session] = replace(held[session], upstream=upstream)

    def give_back(self, holder: str, session: str) -> None:
        held = self._held.get(holder, {}).pop(session, None)
        if held is not None:
            self._count(held, -1)

    def declare(self, holder: str, reservations: Iterable[Reservation]) -> None:
        """This, and nothing else, is what this worker holds: also beyond a ceiling, since these sessions are there."""
        self.forget(holder)
        for reservation in reservations:
            self.put(holder, reservation)

    def forget(self, holder: str) -> list[Reservation]:
        """Its process has ended. What it held until now."""
        held = list(self._held.pop(holder, {}).values())
        for one in held:
            self._count(one, -1)
        return held

    def put(self, holder: str, reservation: Reservation) -> None:
        """It is there, whatever the ceilings are."""
        self.give_back(holder, reservation.session)
        self._held.setdefault(holder, {})[reservation.session] = reservation
        self._count(reservation, 1)

    def _count(self, reservation: Reservation, change: int) -> None:
        self._total += change
        _add(self._by_target, reservation.target, change)
        for share, _ in reservation.shares:
            _add(self._by_share, share, change)
        if reservation.waiting:
            _add(self._by_waiting, (reservation.target, reservation.waiting), change)
        else:
            _add(self._by_user, reservation.user, change)


def read_shares(payload: object) -> tuple[tuple[str, int], ...]:
    """What is none is left out."""
    kinds, given = frozenset(Limited), payload if isinstance(payload, Mapping) else {}
    return _shares(
        tuple((name, most) for name, most in given.items() if isinstance(most, int) and name.partition(":")[0] in kinds)
    )


@lru_cache(1024)
def _shares(shares: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
    """The same object for all alike: there is one for each session."""
    return shares


def _add(counter: Counter[K], key: K, change: int) -> None:
    counter[key] += change
    if not counter[key]:
        del counter[key]
