"""How often an address or a person may be wrong. No clock of its own: `now` is monotonic seconds, given by the caller.

An address with too many failures within the window is refused until enough of them are old; IPv6 counts by /64. A person's
answers are only delayed, and by little: whoever knows a name must not be able to lock its owner out. Memory is bounded; under a
flood of addresses the ones heard of longest ago are forgotten first.
"""

from collections import OrderedDict, deque
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeAlias

_MAX_ENTRIES: Final = 20_000  # of addresses, of users and of cancel buckets each
_MAX_USER_KEY: Final = 64  # characters: longer names do not exist
_MAX_TOLD: Final = 1000  # to a worker that comes new

ThrottleState: TypeAlias = "tuple[list[tuple[int | str, list[float]]], list[tuple[int | str, list[float]]]]"
"""Failures by address and by user: keys with the ages of their failures in seconds, the key heard of last first."""


class LoginThrottle:
    """Failures of one gateway. Workers tell each other by calling `failed` and `succeeded` with what the bus brings."""

    def __init__(
        self, free_failures: int, window_seconds: float, user_delay_seconds: float, max_entries: int = _MAX_ENTRIES
    ) -> None:
        self._free_failures = free_failures
        self._window_seconds = window_seconds
        self._user_delay_seconds = user_delay_seconds
        self._by_address = _Failures(free_failures, window_seconds, max_entries)
        self._by_user = _Failures(free_failures, window_seconds, max_entries)

    def reconfigure(self, free_failures: int, window_seconds: float, user_delay_seconds: float) -> None:
        """Other limits from now on; what was counted stays counted."""
        self._free_failures, self._window_seconds, self._user_delay_seconds = free_failures, window_seconds, user_delay_seconds
        self._by_address.reconfigure(free_failures, window_seconds)
        self._by_user.reconfigure(free_failures, window_seconds)

    def refused_for_seconds(self, address: IPv4Address | IPv6Address, now: float) -> float:
        """0.0: may try. Else how long until it may."""
        return self._by_address.full_for_seconds(_key(address), now)

    def delay_seconds(self, user: str, now: float) -> float:
        """How long to hold the answer to a proof for this name, right or wrong, known or not."""
        return self._user_delay_seconds if self._by_user.full_for_seconds(user[:_MAX_USER_KEY], now) > 0 else 0.0

    def failed(self, address: IPv4Address | IPv6Address, user: str, now: float) -> None:
        self._by_address.add(_key(address), now)
        self._by_user.add(user[:_MAX_USER_KEY], now)

    def succeeded(self, user: str) -> bool:
        """Forgets the person's failures, not an address's: one good account must not pay for guesses at the others.

        Whether there were any: then the other workers have to forget them, too.
        """
        return self._by_user.forget(user[:_MAX_USER_KEY])

    def state(self, now: float, max_entries: int = _MAX_TOLD) -> "ThrottleState":
        """What a worker that comes new has to know: the addresses and users heard of last."""
        return self._by_address.state(now, max_entries), self._by_user.state(now, max_entries)

    def learn(self, state: "ThrottleState", now: float) -> None:
        """From another worker. What is known here already stays."""
        by_address, by_user = state
        self._by_address.learn(by_address, now)
        self._by_user.learn(by_user, now)


class CancelThrottle:
    """A token bucket per address: cancel requests come before any login, and each guess at a key costs one."""

    def __init__(self, per_second: int, max_entries: int = _MAX_ENTRIES) -> None:
        self._per_second = per_second
        self._max_entries = max_entries
        self._buckets: OrderedDict[int, tuple[float, float]] = OrderedDict()  # key -> (tokens, at)

    def reconfigure(self, per_second: int) -> None:
        self._per_second = per_second

    def admit_cancel(self, address: IPv4Address | IPv6Address, now: float) -> bool:
        """One that is admitted has to be told to the other workers, which call `admitted_elsewhere`."""
        return self._take(address, now)

    def admitted_elsewhere(self, address: IPv4Address | IPv6Address, now: float) -> None:
        self._take(address, now)

    def _take(self, address: IPv4Address | IPv6Address, now: float) -> bool:
        key = _key(address)
        tokens, at = self._buckets.pop(key, (float(self._per_second), now))
        tokens = min(float(self._per_second), tokens + (now - at) * self._per_second)
        admitted = tokens >= 1.0
        self._buckets[key] = (tokens - 1.0 if admitted else tokens, now)
        if len(self._buckets) > self._max_entries:
            self._buckets.popitem(last=False)
        return admitted


class _Failures:
    """The last `limit` failures of each key within a sliding window."""

    def __init__(self, limit: int, window_seconds: float, max_entries: int) -> None:
        self._limit = limit
        self._window_seconds = window_seconds
        self._max_entries = max_entries
        self._times: OrderedDict[int | str, deque[float]] = OrderedDict()

    def add(self, key: int | str, now: float) -> None:
        times = self._times.get(key)
        if times is None:
            times = self._times[key] = deque(maxlen=self._limit)
        self._times.move_to_end(key)
        times.append(now)
        if len(self._times) > self._max_entries:
            self._times.popitem(last=False)

    def full_for_seconds(self, key: int | str, now: float) -> float:
        times = self._times.get(key)
        if times is None or len(times) < self._limit:
            return 0.0
        return max(times[0] + self._window_seconds - now, 0.0)

    def forget(self, key: int | str) -> bool:
        return self._times.pop(key, None) is not None

    def reconfigure(self, limit: int, window_seconds: float) -> None:
        self._limit, self._window_seconds = limit, window_seconds
        for key, times in self._times.items():
            self._times[key] = deque(times, maxlen=limit)

    def state(self, now: float, max_entries: int) -> "list[tuple[int | str, list[float]]]":
        """Ages in seconds, of those that still count."""
        found: list[tuple[int | str, list[float]]] = []
        for key in reversed(self._times):
            if len(found) >= max_entries:
                break
            ages = [now - at for at in self._times[key] if now - at < self._window_seconds]
            if ages:
                found.append((key, ages))
        return found

    def learn(self, state: "list[tuple[int | str, list[float]]]", now: float) -> None:
        for key, ages in reversed(state):
            if key not in self._times:
                for age in ages:
                    self.add(key, now - age)


def _key(address: IPv4Address | IPv6Address) -> int:
    """An IPv4 address, or the /64 that an IPv6 address is in: one customer commonly owns at least that.

    An IPv4 address written as IPv6 is the IPv4 address. The two kinds cannot meet: a /64 is shifted out of IPv4's 32 bits.
    """
    if isinstance(address, IPv4Address):
        return int(address)
    if (mapped := address.ipv4_mapped) is not None:
        return int(mapped)
    return ((int(address) >> 64) + 1) << 64
