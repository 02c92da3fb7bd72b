"""Sessions that are alike get one answer when all are asked again: after a change of the store, each of thousands is.

What `renew` looks at is the same for all sessions of one person, on one target, by one grant, from one address; but for what an
admin ends by name, and for the instant. An answer is given again for a moment only, and only while the clock cannot change it.
"""

import time
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeAlias

from gateway.access.authorize import renew
from gateway.access.model import Denial, Lease, Snapshot

_SECONDS: Final = 0.1
_Key: TypeAlias = tuple[object, ...]


class Renewals:
    """`renew` is the same function. Leases that it gives to sessions that are alike are one object."""

    def __init__(self) -> None:
        self._of: Snapshot | None = None
        self._over_at = 0.0
        self._known: dict[_Key, tuple[Lease, Denial | Lease]] = {}  # with the lease whose parts have the key's identities

    def renew(
        self, snapshot: Snapshot, lease: Lease, *, address: IPv4Address | IPv6Address, now: datetime, session_id: str
    ) -> Lease | Denial:
        if not _is_usual(lease) or session_id in snapshot.terminated:
            return renew(snapshot, lease, address=address, now=now, session_id=session_id)
        steady = time.monotonic()
        if snapshot is not self._of or steady >= self._over_at:
            self._known.clear()
            self._of, self._over_at = snapshot, steady + _SECONDS
        key = id(lease.user), id(lease.target), id(lease.role), lease.mode, lease.grant_id, address
        found = self._known.get(key)
        if found is None or _may_be_another(found[1], now):
            found = self._known[key] = lease, renew(snapshot, lease, address=address, now=now, session_id=session_id)
        return found[1]


def _is_usual(lease: Lease) -> bool:
    """Nothing but what is in the key says how it is renewed."""
    return lease.proof is None and not lease.only and lease.database_role is None and lease.request is None


def _may_be_another(answer: Lease | Denial, now: datetime) -> bool:
    return isinstance(answer, Lease) and answer.changes_at is not None and now >= answer.changes_at
