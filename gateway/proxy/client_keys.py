"""SCRAM client keys of upstream logins, so that PBKDF2 (a millisecond) runs once per password and salt, not once per session.

They are as secret as the passwords that they come from, and live no longer: a role's are found only under the very secret that
they were derived from, and are dropped when the directory has another one, or the role no more.
"""

import secrets
from hashlib import blake2b
from typing import Final

from gateway.access.model import DatabaseRole, Snapshot
from gateway.secret import Secret
from gateway.wire.scram import Challenge, ClientKeys

_ROLES: Final = 1000
_SALTS: Final = 4  # of one role: a server's own, and those of its replicas behind one name


class _OfRole:
    __slots__ = ("by_challenge", "sealed_secret")

    def __init__(self, sealed_secret: bytes) -> None:
        self.sealed_secret = sealed_secret
        self.by_challenge: dict[tuple[bytes, Challenge], ClientKeys] = {}


class ClientKeyMemory:
    """Bounded: the role and the challenge that came first go first."""

    __slots__ = ("_mark_key", "_roles")

    def __init__(self) -> None:
        self._roles: dict[str, _OfRole] = {}
        self._mark_key = secrets.token_bytes(32)

    def __len__(self) -> int:
        return sum(len(role.by_challenge) for role in self._roles.values())

    def find(self, role: DatabaseRole, secret: Secret, challenge: Challenge) -> ClientKeys | None:
        """For this password, salt and iteration count, and no other."""
        known = self._roles.get(role.id)
        if known is None:
            return None
        if known.sealed_secret != role.sealed_secret:
            del self._roles[role.id]
            return None
        return known.by_challenge.get((self._mark(secret), challenge))

    def keep(self, role: DatabaseRole, secret: Secret, challenge: Challenge, keys: ClientKeys) -> None:
        known = self._roles.get(role.id)
        if known is None or known.sealed_secret != role.sealed_secret:
            self._roles.pop(role.id, None)
            if len(self._roles) >= _ROLES:
                del self._roles[next(iter(self._roles))]
            known = self._roles[role.id] = _OfRole(role.sealed_secret)
        if len(known.by_challenge) >= _SALTS:
            del known.by_challenge[next(iter(known.by_challenge))]
        known.by_challenge[self._mark(secret), challenge] = keys

    def keep_only(self, snapshot: Snapshot) -> None:
        """Forget the keys of all passwords that are not in the directory (any more)."""
        if not self._roles:
            return
        sealed = {role.id: role.sealed_secret for target in snapshot.targets.values() for role in target.roles.values()}
        sealed |= {login.id: login.sealed_secret for login in snapshot.managed_logins}
        self._roles = {key: known for key, known in self._roles.items() if sealed.get(key) == known.sealed_secret}

    def _mark(self, secret: Secret) -> bytes:
        """Tells passwords apart: of one role, two may be in use, and one that is kept elsewhere changes without a word."""
        return blake2b(secret.reveal().encode(), key=self._mark_key, digest_size=16).digest()
