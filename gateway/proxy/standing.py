"""Who a live session is, and by what right it stays."""

import time
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from gateway.access.authorize import renew
from gateway.access.model import Denial, Lease, Snapshot
from gateway.proxy import rights_clock
from gateway.wire.sqlstate import ADMIN_SHUTDOWN

_EXPIRED: Final = Denial("grant-expired", ADMIN_SHUTDOWN, "your access to this target has expired", "")


@dataclass(frozen=True, slots=True)
class Introduction:
    """Fixed when the session begins."""

    session_id: str
    address: IPv4Address | IPv6Address
    application: str
    tls: bool


class Standing:
    """The lease, and its end on the monotonic clock too, which nobody can set back."""

    __slots__ = ("_deadline", "_who", "lease")

    def __init__(self, who: Introduction, lease: Lease) -> None:
        self._who = who
        self.lease = lease
        self._deadline = _deadline(lease)

    def renew(self, snapshot: Snapshot) -> Denial | None:
        """Ask again, as of this snapshot and now. None: it may stay, under the lease that is now `lease`."""
        who = self._who
        renewed = renew(snapshot, self.lease, address=who.address, now=rights_clock.now(), session_id=who.session_id)
        if isinstance(renewed, Denial):
            return renewed
        if renewed.valid_until != self.lease.valid_until:
            self._deadline = _deadline(renewed)
        self.lease = renewed
        return _EXPIRED if self._deadline is not None and time.monotonic() >= self._deadline else None


def _deadline(lease: Lease) -> float | None:
    if lease.valid_until is None:
        return None
    return time.monotonic() + (lease.valid_until - rights_clock.now()).total_seconds()
