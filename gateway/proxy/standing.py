"""Who a live session is, and by what right it stays."""

import time
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from gateway.access.authorize import renew
from gateway.access.model import NO_LIMITS, Denial, Lease, Reading, Snapshot
from gateway.access.proof import ClientCertificate, Credential, Proof
from gateway.access.relations import write_name, write_table
from gateway.audit.events import FieldValue
from gateway.proxy import rights_clock
from gateway.proxy.renewals import Renewals

_renewals: Final = Renewals()
_LONGEST_CHAIN: Final = 50  # of grants, each of which carries on where the one before it ends


@dataclass(frozen=True, slots=True)
class Introduction:
    """Fixed when the session begins."""

    session_id: str
    address: IPv4Address | IPv6Address
    application: str
    tls: bool


_MOST_NAMES: Final = 100  # of a grant's lists that the audit tells
_MOST_KNOWN: Final = 300


class _Own(Enum):
    """What the session has done about its person's own password. CHANGED: the snapshot does not show it yet."""

    KEPT = auto()
    CHANGING = auto()
    CHANGED = auto()


class _Alike:
    """One object for leases that say the same: of one person's sessions, of which tools and pools have many.

    Of one snapshot, and a few hundred people at most, so that it keeps little that nobody stands on.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Lease] = {}
        self._revision = 0

    def one_for(self, lease: Lease) -> Lease:
        """Itself, or an equal one that came before."""
        if lease.revision != self._revision or len(self._known) >= _MOST_KNOWN:
            self._known.clear()
            self._revision = lease.revision
        key = lease.user.id, lease.grant_id
        if (known := self._known.get(key)) is not None and (known is lease or known == lease):
            return known
        self._known[key] = lease
        return lease


_alike: Final = _Alike()


class Standing:
    """The lease, and its end on the monotonic clock too, which nobody can set back."""

    __slots__ = ("_deadline", "_own_password", "_who", "lease")

    def __init__(self, who: Introduction, lease: Lease) -> None:
        self._own_password = _Own.KEPT
        self._who = who
        self.lease = _alike.one_for(lease)
        self._deadline = _deadline(lease)

    def renew(self, snapshot: Snapshot) -> Denial | None:
        """Ask again, as of this snapshot and now. None: it may stay, under the lease that is now `lease`.

        Which may stand on another grant than before: one that came, or, when the one it stood on is over, the next.
        """
        who = self._who
        now = self._now()
        renewed = _renewals.renew(snapshot, self.lease, address=who.address, now=now, session_id=who.session_id)
        if isinstance(renewed, Denial) and renewed.rule == "password-changed" and self._own_password is not _Own.KEPT:
            if self._own_password is _Own.CHANGING:
                return None  # perhaps by this very session: it is held, and asks again when it knows
            renewed = renew(
                snapshot, _next_password(self.lease), address=who.address, now=self._now(), session_id=who.session_id
            )
        if isinstance(renewed, Denial):
            return renewed
        if renewed.user.credential_version != self.lease.user.credential_version:
            self._own_password = _Own.KEPT
        if renewed.valid_until != self.lease.valid_until:
            self._deadline = _deadline(renewed)
        self.lease = _alike.one_for(renewed)
        return None

    def ends_at(self, snapshot: Snapshot, within_seconds: float) -> datetime | None:
        """When the session will end because no other grant carries it on, if that is within so many seconds."""
        horizon = self._now() + timedelta(seconds=within_seconds)
        lease = self.lease
        for _ in range(_LONGEST_CHAIN):
            until = lease.valid_until
            if until is None or until > horizon:
                return None
            who = self._who
            carries_on = renew(snapshot, lease, address=who.address, now=until, session_id=who.session_id)
            if isinstance(carries_on, Denial):
                return until
            lease = carries_on
        return None

    def changing_password(self) -> None:
        """This session has its person's password changed: that is no reason for itself to end."""
        self._own_password = _Own.CHANGING

    def password_changed(self, *, done: bool) -> None:
        """It was, or it was not. Ask again then."""
        self._own_password = _Own.CHANGED if done else _Own.KEPT

    def _now(self) -> datetime:
        """By both clocks: when the deadline has passed, the lease is over, so that `authorize` finds what else there is."""
        now = rights_clock.now()
        ends = self.lease.valid_until
        if ends is None or self._deadline is None or time.monotonic() < self._deadline:
            return now
        return max(now, ends)


def still_holds(lease: Lease, asked_of: Snapshot, snapshot: Snapshot, session_id: str) -> bool:
    """Whether `authorize` could only say the same again: nothing was changed since, and by the clock nothing is due.

    `session_id`: as it is now; it may be another one than was asked of.
    """
    if asked_of is not snapshot or session_id in snapshot.terminated:
        return False
    return lease.changes_at is None or rights_clock.now() < lease.changes_at


def _next_password(lease: Lease) -> Lease:
    """As if the session had logged in with the password that it gave its person."""
    return replace(lease, user=replace(lease.user, credential_version=lease.user.credential_version + 1))


def carried(lease: Lease) -> dict[str, FieldValue]:
    """For the audit: the grant, and what it adds to the access mode or takes from it."""
    fields: dict[str, FieldValue] = {"grant": lease.grant_id}
    if lease.options:
        fields["options"] = sorted(lease.options)
    if lease.max_changed_rows is not None:
        fields["max_changed_rows"] = lease.max_changed_rows
    fields |= _asked_for(lease)
    if lease.limits != NO_LIMITS:
        fields |= {name: limit for name, limit in asdict(lease.limits).items() if limit is not None}
    return fields | _opened(lease.reading) | proved_by(lease.proof)


def _asked_for(lease: Lease) -> dict[str, FieldValue]:
    """What the access request behind the grant was for, where it was for less than the access mode."""
    fields: dict[str, FieldValue] = {} if lease.request is None else {"request": lease.request}
    if lease.database_role is not None:
        fields["member_of"] = lease.database_role
    if lease.only:
        fields["only_statements"] = len({digest for each in lease.only for digest in each.statements})
        operations = sorted({operation for each in lease.only for operation in each.operations})
        named = [f"{each.command} {write_table((each.schema, each.table))}" for each in operations]
        fields["only_operations"] = named[:_MOST_NAMES]
    return fields


def _opened(reading: Reading) -> dict[str, FieldValue]:
    fields: dict[str, FieldValue] = {
        name: limit
        for name in ("max_rows", "max_bytes", "max_bytes_per_day")
        if isinstance(limit := getattr(reading, name), int)
    }
    if reading.schemas:
        fields["schemas"] = sorted(map(write_name, reading.schemas))[:_MOST_NAMES]
    if reading.tables:
        fields["tables"] = sorted(map(write_table, reading.tables))[:_MOST_NAMES]
    return fields


def proved_by(proof: Proof | None) -> dict[str, FieldValue]:
    """For the audit: what stood for the person's own password."""
    match proof:
        case None:
            return {}
        case Credential():
            return {"credential": proof.id}
        case ClientCertificate():
            return {"certificate_serial": proof.serial, "certificate_sha256": proof.fingerprint}


def _deadline(lease: Lease) -> float | None:
    if lease.valid_until is None:
        return None
    return time.monotonic() + (lease.valid_until - rights_clock.now()).total_seconds()
