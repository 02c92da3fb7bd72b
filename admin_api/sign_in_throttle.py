"""How often somebody may try to sign in: from one address, and for one name. No clock of its own: `now` is monotonic seconds.

An attempt counts as failed until it has succeeded, so that many at once gain nothing. Whoever signed in from an address before has
a count of their own there: strangers who guess at a name cannot lock its owner out. Memory is bounded. Of this process alone.
"""

from collections import OrderedDict, deque
from typing import Final

from admin_api.throttle import Address, key_of

_MAX_COUNTED: Final = 10_000
_MAX_KNOWN: Final = 10_000

_Key = tuple[str, int, str]


class SignInThrottle:
    def __init__(self, free_failures: int = 10, window_seconds: float = 60.0) -> None:
        self.bound(free_failures, window_seconds)
        self._failures: OrderedDict[_Key, deque[float]] = OrderedDict()
        self._known: OrderedDict[_Key, None] = OrderedDict()

    def bound(self, free_failures: int, window_seconds: float) -> None:
        self._free_failures = free_failures
        self._window_seconds = window_seconds

    def attempt(self, address: Address, name: str | None, now: float) -> float:
        """0.0: go on, and this counts. Else the seconds until another attempt may be made, and nothing was counted.

        `name` None: the address alone counts.
        """
        keys = self._counts(address, name)
        wait = max(self._wait_seconds(key, now) for key in keys)
        if wait > 0:
            return wait
        for key in keys:
            times = self._failures.setdefault(key, deque())
            self._failures.move_to_end(key)
            times.append(now)
            if len(times) > self._free_failures:
                times.popleft()
        while len(self._failures) > _MAX_COUNTED:
            self._failures.popitem(last=False)
        return 0.0

    def succeeded(self, address: Address, name: str | None, began: float) -> None:
        """The attempt of that instant does not count any more."""
        for key in self._counts(address, name):
            times = self._failures.get(key, deque())
            if began in times:
                times.remove(began)
        if name is None:
            return
        pair = _pair(address, name)
        self._known[pair] = None
        self._known.move_to_end(pair)
        if len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)

    def _counts(self, address: Address, name: str | None) -> tuple[_Key, ...]:
        here = ("address", key_of(address), "")
        if name is None:
            return (here,)
        pair = _pair(address, name)
        return (pair,) if pair in self._known else (here, ("name", 0, name.lower()))

    def _wait_seconds(self, key: _Key, now: float) -> float:
        times = self._failures.get(key, ())
        if len(times) < self._free_failures:
            return 0.0
        return max(times[-self._free_failures] + self._window_seconds - now, 0.0)


def _pair(address: Address, name: str) -> _Key:
    return "pair", key_of(address), name.lower()
