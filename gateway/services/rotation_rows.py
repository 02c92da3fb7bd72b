"""Which rows of the store hold one upstream credential, and how a rotation changes them.

A login belongs to a server, not to one of its databases: several targets, both access modes of one, and the login by which a
target is administered may be the same role. All their rows get the new password in one transaction, else the others would be
locked out.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from gateway.access.model import DatabaseRole, Snapshot, Target
from gateway.access_mode import AccessMode
from gateway.ports import FormerLogin, SealedUse, Sealer, SecretBox, SecretUnavailable, TargetAdmin, Vault
from gateway.secret import Secret
from gateway.services.change import Change
from gateway.services.errors import ServiceError
from gateway.services.target_admins import no_admin


class Keys(Sealer, Vault, SecretBox, Protocol):
    """Seals and opens upstream secrets of both kinds."""


class Seen(Protocol):
    """The store as somebody looks at it, or is about to change it."""

    @property
    def whole(self) -> Snapshot: ...

    async def target_admin(self, target_id: str) -> TargetAdmin | None: ...


class Which(StrEnum):
    """A login of a target: of the sessions in one access mode, or the one by which it is administered."""

    READ_ONLY = "read_only"
    READ_WRITE = "read_write"
    ADMIN = "admin"

    @property
    def mode(self) -> AccessMode | None:
        """None: of no session's."""
        return None if self is Which.ADMIN else AccessMode(self.value)


@dataclass(frozen=True, slots=True)
class Slot:
    """One row that holds a credential, as it was read."""

    target: Target
    which: Which
    login: str
    sealed: bytes = field(repr=False)
    pending: bytes | None = field(default=None, repr=False)
    referenced: bool = False

    @property
    def key(self) -> tuple[str, Which]:
        return self.target.id, self.which

    @property
    def row_id(self) -> str:
        mode = self.which.mode
        return self.target.id if mode is None else self.target.roles[mode].id

    @property
    def server(self) -> tuple[str, int]:
        return self.target.host.lower().rstrip("."), self.target.port

    def seal(self, keys: Keys, secret: Secret) -> bytes:
        mode = self.which.mode
        if mode is None:
            return keys.seal_for(SealedUse.TARGET_ADMIN, self.target.id, secret)
        return keys.seal(self.target.roles[mode].id, secret)

    def open(self, keys: Keys) -> Secret:
        """The current password. Raises SecretUnavailable."""
        return self._open(keys, self.sealed)

    def open_pending(self, keys: Keys) -> Secret | None:
        """The one that is to take its place, if a rotation is under way. Raises SecretUnavailable."""
        return None if self.pending is None else self._open(keys, self.pending)

    async def now(self, change: Seen) -> "Slot | None":
        """The same row as it is now; None: it is gone."""
        target = next((each for each in change.whole.targets.values() if each.id == self.target.id), None)
        found = [] if target is None else [each for each in await _slots_of(change, target) if each.which is self.which]
        return found[0] if found else None

    def _open(self, keys: Keys, sealed: bytes) -> Secret:
        mode = self.which.mode
        if mode is None:
            return keys.open_for(SealedUse.TARGET_ADMIN, self.target.id, sealed)
        return keys.open(replace(self.target.roles[mode], sealed_secret=sealed))


@dataclass(frozen=True, slots=True)
class Shared:
    """The rows of one credential, first the one that was asked for: of the same login on the same server, and of the same login
    and password at other places, which may be that server by another name, a replica of it, or another one.

    `helper`: the admin login of the target, which may set the password if this login cannot itself.
    """

    all: tuple[Slot, ...]
    helper: Slot | None

    @property
    def main(self) -> Slot:
        return self.all[0]


async def find_slot(change: Seen, target: Target, which: Which) -> Slot:
    """Raises ServiceError when the target has no such login."""
    found = [slot for slot in await _slots_of(change, target) if slot.which is which]
    if found:
        return found[0]
    if which is Which.ADMIN:
        raise no_admin(target)
    how = f"pgbastion targets login {target.name} --mode {which.value} --login ROLE"
    raise ServiceError("login-missing", f'target "{target.name}" has no login for {which.value}', how)


async def find_shared(change: Seen, keys: Keys, main: Slot) -> Shared:
    here, elsewhere = [main], []
    for target in change.whole.targets.values():
        for slot in await _slots_of(change, target):
            if slot.key == main.key or slot.login != main.login:
                continue
            if slot.server == main.server:
                here.append(slot)
            elif not slot.referenced and _same_password(keys, main, slot):
                elsewhere.append(slot)
    admin = None if main.which is Which.ADMIN else await change.target_admin(main.target.id)
    helper = await find_slot(change, main.target, Which.ADMIN) if admin is not None and admin.login != main.login else None
    return Shared((*here, *elsewhere), helper)


def _same_password(keys: Keys, one: Slot, other: Slot) -> bool:
    try:
        return one.open(keys).reveal() == other.open(keys).reveal()
    except SecretUnavailable:
        return False


async def _slots_of(change: Seen, target: Target) -> list[Slot]:
    slots = [
        Slot(target, Which(mode.value), role.login, role.sealed_secret, role.pending_secret, role.reference is not None)
        for mode, role in sorted(target.roles.items())
    ]
    admin = await change.target_admin(target.id)
    if admin is not None:
        slots.append(Slot(target, Which.ADMIN, admin.login, admin.sealed_secret, admin.pending_secret))
    return slots


# -- changes -----------------------------------------------------------------------------------------------------------


async def stage(change: Change, keys: Keys, slots: Sequence[Slot], secret: Secret) -> list[Slot]:
    """Stage it in each of these rows; returns them as they will be."""
    staged = [replace(slot, pending=slot.seal(keys, secret)) for slot in slots]
    await _put(change, staged)
    return staged


async def unstage(change: Change, slots: Sequence[Slot]) -> None:
    await _put(change, [replace(slot, pending=None) for slot in slots])


async def promote(change: Change, keys: Keys, slots: Sequence[Slot]) -> None:
    """The pending passwords become the current ones. What a target's logins were before its adoption follows."""
    former = [each for slot in slots for each in await _former_of(change, keys, slot)]
    await _put(change, [replace(slot, sealed=slot.pending or slot.sealed, pending=None) for slot in slots], change.now)
    for each in former:
        change.also_put(each)


async def as_read(change: Seen, keys: Keys, slots: Iterable[Slot]) -> list[Slot] | None:
    """The same rows as they are now; without those that are gone. None: one holds something else than was read."""
    found = [(slot, now) for slot in slots if (now := await slot.now(change)) is not None]
    if all(now.login == slot.login and _what(now, keys) == _what(slot, keys) for slot, now in found):
        return [now for _, now in found]
    return None


def _what(slot: Slot, keys: Keys) -> tuple[str | None, str | None]:
    """Not the sealed bytes: those change with the master key, too."""
    if slot.referenced:
        return None, None
    pending = slot.open_pending(keys)
    return slot.open(keys).reveal(), None if pending is None else pending.reveal()


async def _put(change: Change, slots: Sequence[Slot], rotated_at: datetime | None = None) -> None:
    """Several rows of one target are one row more of the same change."""
    for target in {slot.target.id: slot.target for slot in slots}.values():
        mine = [slot for slot in slots if slot.target.id == target.id]
        roles = {**target.roles, **dict(_roles(mine, anew=rotated_at is not None))}
        if roles != target.roles:
            change.also_put(replace(target, roles=roles))
        for slot in mine:
            admin = await change.target_admin(target.id) if slot.which is Which.ADMIN else None
            if admin is not None:
                change.also_put(_admin(admin, slot, rotated_at))


def _roles(slots: Iterable[Slot], *, anew: bool) -> Iterator[tuple[AccessMode, DatabaseRole]]:
    for slot in slots:
        if (mode := slot.which.mode) is not None:
            role = replace(slot.target.roles[mode], sealed_secret=slot.sealed, pending_secret=slot.pending)
            yield mode, replace(role, changed_at=None) if anew else role


def _admin(admin: TargetAdmin, slot: Slot, rotated_at: datetime | None) -> TargetAdmin:
    return replace(admin, sealed_secret=slot.sealed, pending_secret=slot.pending, rotated_at=rotated_at or admin.rotated_at)


async def _former_of(change: Change, keys: Keys, slot: Slot) -> list[FormerLogin]:
    """What would be put back by undoing the adoption must not be a password that is dead by then."""
    pending = slot.open_pending(keys)
    if pending is None:
        return []
    return [
        replace(each, role=replace(each.role, sealed_secret=keys.seal(each.role.id, pending)))
        for each in await change.former_logins(slot.target.id)
        if each.role.login == slot.login and each.role.reference is None
    ]
