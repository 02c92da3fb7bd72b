"""While a password is being changed there are two of it, and nobody knows for a moment which one the server takes: both are tried.

What this process knows may be a moment old, too: a password that the server refused, and that has no successor here, may have one
in the store by now.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from gateway.access.model import DatabaseRole, Target
from gateway.ports import Directory, SecretSource, Vault
from gateway.secret import Secret

_NEWS_SECONDS: Final = 0.3  # how long somebody who was refused waits for a newer state of the store
_LOOK_SECONDS: Final = 0.01


class SuccessiveSecrets:
    """Implements ports.SecretSource: what `kept` knows, or what is about to take its place, or took it just now.

    `directory`: None where there is none that follows the store.
    """

    def __init__(self, kept: SecretSource, vault: Vault, directory: Directory | None) -> None:
        self._kept = kept
        self._vault = vault
        self._directory = directory
        self._succeeded: dict[str, bytes] = {}  # by role id: the pending secret of which the current one was refused

    def at_hand(self, target: Target, role: DatabaseRole) -> Secret | None:
        """See ports.SecretSource. A rotation may stay half done for long: who was refused once is not refused at each login."""
        if role.pending_secret is not None and self._succeeded.get(role.id) == role.pending_secret:
            return self._vault.open(_with(role, role.pending_secret))
        return self._kept.at_hand(target, role)

    async def secret_of(self, target: Target, role: DatabaseRole) -> Secret:
        """See ports.SecretSource."""
        return await self._kept.secret_of(target, role)

    async def after_refusal(self, target: Target, role: DatabaseRole, refused: Secret) -> Secret | None:
        """See ports.SecretSource."""
        if role.reference is not None:
            return await self._kept.after_refusal(target, role, refused)
        found = self._other(target, role, refused)
        if found is None and self._directory is not None and await _newer(self._directory):
            found = self._other(target, role, refused)
        return found

    def _other(self, target: Target, role: DatabaseRole, refused: Secret) -> Secret | None:
        for sealed, is_pending in self._known(target, role):
            secret = self._vault.open(_with(role, sealed))
            if secret.reveal() == refused.reveal():
                continue
            if is_pending:
                self._succeeded[role.id] = sealed
            else:
                self._succeeded.pop(role.id, None)
            return secret
        return None

    def _known(self, target: Target, role: DatabaseRole) -> Iterator[tuple[bytes, bool]]:
        """Sealed, and whether it is one that is only to be: as of now, then as the caller knew it."""
        for each in (self._now(target, role), role):
            if each is not None and each.reference is None:
                yield each.sealed_secret, False
                if each.pending_secret is not None:
                    yield each.pending_secret, True

    def _now(self, target: Target, role: DatabaseRole) -> DatabaseRole | None:
        if self._directory is None:
            return None
        found = self._directory.snapshot.targets.get(target.name)
        roles = () if found is None else found.roles.values()
        return next((each for each in roles if each.id == role.id), None)


def _with(role: DatabaseRole, sealed: bytes) -> DatabaseRole:
    return replace(role, sealed_secret=sealed, pending_secret=None)


async def _newer(directory: Directory) -> bool:
    """Whether the store has changed since this process last heard of it."""
    loop = asyncio.get_running_loop()
    before, until = directory.snapshot.revision, loop.time() + _NEWS_SECONDS
    directory.wake()
    while directory.snapshot.revision == before:
        if loop.time() >= until:
            return False
        await asyncio.sleep(_LOOK_SECONDS)
    return True
