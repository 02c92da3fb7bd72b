"""How old the passwords of upstream logins are, and when they are to be changed. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from gateway.access.model import Snapshot

_EARLY: Final = 0.1  # of the time between two rotations: so much earlier, at most, so that not all of them come at once


@dataclass(frozen=True, slots=True)
class PasswordAge:
    """Of one login. `role`: an access mode's name, or "admin". `row_id`: of the row that holds it.

    `every_days`: how often it is to be changed; None: only by hand. `half_done`: a rotation has begun, and not ended yet.
    """

    target: str
    role: str
    row_id: str
    login: str
    changed_at: datetime
    every_days: int | None
    half_done: bool

    @property
    def due_at(self) -> datetime | None:
        """Never later than its schedule says."""
        if self.every_days is None:
            return None
        spread = int.from_bytes(sha256(self.row_id.encode()).digest()[:4], "big") / 2**32
        return self.changed_at + timedelta(days=self.every_days) * (1 - _EARLY * spread)

    def wants_rotation(self, now: datetime) -> bool:
        due = self.due_at
        return self.half_done or (due is not None and due <= now)

    def is_overdue(self, now: datetime, patience: timedelta) -> bool:
        return self.every_days is not None and self.changed_at + timedelta(days=self.every_days) + patience <= now


def password_ages(snapshot: Snapshot) -> Iterator[PasswordAge]:
    """Of the logins that sessions use, as far as their passwords are kept here."""
    for target in snapshot.targets.values():
        for mode, role in sorted(target.roles.items()):
            if role.reference is None and role.changed_at is not None:
                half_done = role.pending_secret is not None
                every = target.rotate_every_days
                yield PasswordAge(target.name, mode.value, role.id, role.login, role.changed_at, every, half_done)
