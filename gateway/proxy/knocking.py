"""Who is at the door: connections that have not logged in yet, by address, with what the other workers say of theirs.

Limits hold for the whole gateway: each worker tells the others what changed every 20 to 45 ms, and all of it to whoever is new.
A worker that has heard of no other tells nobody.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Protocol

from gateway.bus.lines import ALL, JsonValue, Payload
from gateway.proxy.grid import call_about
from gateway.settings import CurrentSettings, Settings

_TELL_SECONDS: Final = 0.02


class Told(Protocol):
    """The bus, as far as it is needed here."""

    def send(self, to: str, kind: str, payload: Payload) -> bool: ...


@dataclass(slots=True)
class _Crowd:
    """One worker's."""

    by_address: dict[str, int] = field(default_factory=dict)
    total: int = 0

    def set(self, address: str, count: int) -> None:
        self.total += count - self.by_address.pop(address, 0)
        if count > 0:
            self.by_address[address] = count


class Knocking:
    """Counts. `bus` tells the others; what they tell comes in through `heard`, `asked` and `gone`."""

    def __init__(self, current: CurrentSettings, bus: Told) -> None:
        self._current = current
        self._bus = bus
        self._own = _Crowd()
        self._others: dict[str, _Crowd] = {}
        self._told: dict[str, int] = {}  # as the others know it, of addresses that knock now or did a moment ago
        self._changed: set[str] = set()
        self._telling: asyncio.TimerHandle | None = None

    @property
    def total(self) -> int:
        """Of this worker."""
        return self._own.total

    def enter(self, address: IPv4Address | IPv6Address) -> str:
        """Count a connection. Returns why it may not stay, "" when it may."""
        limits, key = self._current.now.limits, str(address)
        if self._own.total + sum(other.total for other in self._others.values()) >= limits.max_pending:
            return "too-many-pending"
        here = self._own.by_address.get(key, 0)
        if here + sum(other.by_address.get(key, 0) for other in self._others.values()) >= limits.max_pending_per_address:
            return "too-many-pending-from-address"
        self._set(key, here + 1)
        return ""

    def leave(self, address: IPv4Address | IPv6Address) -> None:
        key = str(address)
        self._set(key, self._own.by_address[key] - 1)

    def _set(self, key: str, count: int) -> None:
        self._own.set(key, count)
        if self._others:
            self._changed.add(key)
            self._tell_soon()

    def _tell_soon(self) -> None:
        if self._telling is None:
            self._telling = call_about(asyncio.get_running_loop(), _TELL_SECONDS, self._tell)

    # -- the others ----------------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        self._telling = None
        changed: dict[str, JsonValue] = {}
        for key in self._changed:
            count = self._own.by_address.get(key, 0)
            if count != self._told.get(key, 0):
                changed[key] = count
            if count:
                self._told[key] = count
            else:
                self._told.pop(key, None)
        self._changed.clear()
        if changed:  # most come and go between two looks
            self._bus.send(ALL, "knocking", {"changed": changed})

    def connected(self) -> None:
        """To the bus, perhaps again: what was said in between is lost, both ways."""
        self._others.clear()
        self.tell_all(ALL)
        self._bus.send(ALL, "who-is-knocking", {})

    def tell_all(self, to: str) -> None:
        if to == ALL:
            self._told = dict(self._own.by_address)
        self._bus.send(to, "knocking", {"all": dict[str, JsonValue](self._own.by_address)})

    def heard(self, worker: str, payload: Payload) -> None:
        if not self._others:  # nobody knows anything yet
            self._told = {}
            self._changed.update(self._own.by_address)
            self._tell_soon()
        match payload:
            case {"all": dict(counts)}:
                self._others[worker] = _Crowd()
                self._hear(worker, counts)
            case {"changed": dict(counts)}:
                self._hear(worker, counts)

    def _hear(self, worker: str, counts: Mapping[str, JsonValue]) -> None:
        crowd = self._others.setdefault(worker, _Crowd())
        for address, count in counts.items():
            if isinstance(count, int):
                crowd.set(address, count)

    def gone(self, worker: str) -> None:
        """Its process has ended, and with it whoever stood at its door."""
        self._others.pop(worker, None)


def login_seconds(settings: Settings) -> float:
    """What somebody who has knocked may need to be let in, at most."""
    limits = settings.limits
    return limits.pre_auth_timeout_seconds + limits.upstream_connect_timeout_seconds + settings.policy.catalog_timeout_seconds
