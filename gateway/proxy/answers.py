"""Who comes again within a second is let in by the answer of a moment ago, while nothing can have changed it.

Pools and tools connect anew all the time, as the same person from the same address. What `authorize` looks at is then the same,
but for what an admin ends by name, and for the instant. Only a yes is remembered, of whoever proved it by their own password, and
as of one snapshot: with the next one (any change of a right, or a lockdown) all is asked anew.
"""

import time
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeAlias

from gateway.access.authorize import authorize
from gateway.access.model import Denial, Lease, Snapshot, User
from gateway.access_mode import AccessMode

_SECONDS: Final = 1.0
_MOST: Final = 300
_Key: TypeAlias = tuple[str, str, int, str, AccessMode, IPv4Address | IPv6Address]


class Answers:
    """`authorize` is the same function, for a login without another proof. Who gets a remembered yes gets that very lease."""

    def __init__(self) -> None:
        self._of: Snapshot | None = None
        self._over_at = 0.0  # by the monotonic clock: all that is known was asked within the second before
        self._known: dict[_Key, Lease] = {}

    def authorize(
        self,
        snapshot: Snapshot,
        *,
        user: User,
        target_name: str,
        mode: AccessMode,
        address: IPv4Address | IPv6Address,
        now: datetime,
        session_id: str,
    ) -> Lease | Denial:
        """`user`: as they logged in, perhaps of an earlier snapshot."""
        steady = time.monotonic()
        if snapshot is not self._of or steady >= self._over_at or len(self._known) >= _MOST:
            self._known.clear()
            self._of, self._over_at = snapshot, steady + _SECONDS
        key = user.name, user.id, user.credential_version, target_name, mode, address
        known = self._known.get(key)
        if known is not None and (known.changes_at is None or now < known.changes_at) and session_id not in snapshot.terminated:
            return known
        answer = authorize(
            snapshot,
            user_name=user.name,
            user_id=user.id,
            credential_version=user.credential_version,
            target_name=target_name,
            mode=mode,
            address=address,
            now=now,
            session_id=session_id,
        )
        if isinstance(answer, Lease):
            self._known[key] = answer
        return answer
