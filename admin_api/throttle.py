"""How often an address may present a token that is none. No clock of its own: `now` is monotonic seconds.

An address with too many failures in the window is refused, whatever it presents, so that guessing shows nothing; but a token that
was good from there before stays good: a neighbour behind the same address cannot lock an administrator out. Memory is bounded.
"""

from collections import OrderedDict, deque
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address

_MAX_ADDRESSES: Final = 10_000
_MAX_KNOWN: Final = 10_000


class TokenThrottle:
    def __init__(self, free_failures: int = 10, window_seconds: float = 60.0) -> None:
        self.bound(free_failures, window_seconds)
        self._failures: OrderedDict[int, deque[float]] = OrderedDict()
        self._known: OrderedDict[tuple[int, str], None] = OrderedDict()

    def bound(self, free_failures: int, window_seconds: float) -> None:
        self._free_failures = free_failures
        self._window_seconds = window_seconds

    def refused_for_seconds(self, address: Address, token_id: str | None, now: float) -> float:
        """0.0: go on. `token_id`: the token that was found; None: there was none, or no such one."""
        key = key_of(address)
        if token_id is not None and (key, token_id) in self._known:
            return 0.0
        times = self._failures.get(key, ())
        if len(times) < self._free_failures:
            return 0.0
        return max(times[-self._free_failures] + self._window_seconds - now, 0.0)

    def failed(self, address: Address, now: float) -> None:
        key = key_of(address)
        times = self._failures.setdefault(key, deque())
        self._failures.move_to_end(key)
        times.append(now)
        while len(times) > self._free_failures:
            times.popleft()
        if len(self._failures) > _MAX_ADDRESSES:
            self._failures.popitem(last=False)

    def succeeded(self, address: Address, token_id: str) -> None:
        key = (key_of(address), token_id)
        self._known[key] = None
        self._known.move_to_end(key)
        if len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)


def key_of(address: Address) -> int:
    """An IPv4 address, or the /64 around an IPv6 address, shifted out of IPv4's way."""
    return int(address) if isinstance(address, IPv4Address) else ((int(address) >> 64) + 1) << 64
