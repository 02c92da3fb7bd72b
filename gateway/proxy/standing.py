"""Who a live session is, and by what right it stays."""

import time
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, auto
from ipaddress import IPv4Address, IPv6Address

from gateway.access.authorize import renew
from gateway.access.model import Denial, Lease, Snapshot
from gateway.access.proof import ClientCertificate, Credential, Proof
from gateway.audit.events import FieldValue
from gateway.proxy import rights_clock


@dataclass(frozen=True, slots=True)
class Introduction:
    """Fixed when the session begins."""

    session_id: str
    address: IPv4Address | IPv6Address
    application: str
    tls: bool


class _Own(Enum):
    """What the session has done about its person's own password. CHANGED: the snapshot does not show it yet."""

    KEPT = auto()
    CHANGING = auto()
    CHANGED = auto()


class Standing:
    """The lease, and its end on the monotonic clock too, which nobody can set back."""

    __slots__ = ("_deadline", "_own_password", "_who", "lease")

    def __init__(self, who: Introduction, lease: Lease) -> None:
        self._own_password = _Own.KEPT
        self._who = who
        self.lease = lease
        self._deadline = _deadline(lease)

    def renew(self, snapshot: Snapshot) -> Denial | None:
        """Ask again, as of this snapshot and now. None: it may stay, under the lease that is now `lease`.

        Which may stand on another grant than before: one that came, or, when the one it stood on is over, the next.
        """
        who = self._who
        renewed = renew(snapshot, self.lease, address=who.address, now=self._now(), session_id=who.session_id)
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
        self.lease = renewed
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


def _next_password(lease: Lease) -> Lease:
    """As if the session had logged in with the password that it gave its person."""
    return replace(lease, user=replace(lease.user, credential_version=lease.user.credential_version + 1))


def carried(lease: Lease) -> dict[str, FieldValue]:
    """For the audit: what the grant adds to the access mode or takes from it; nothing, no fields."""
    fields: dict[str, FieldValue] = {}
    if lease.options:
        fields["options"] = sorted(lease.options)
    if lease.max_changed_rows is not None:
        fields["max_changed_rows"] = lease.max_changed_rows
    return fields | proved_by(lease.proof)


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
