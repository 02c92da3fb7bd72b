"""Where the secrets of database roles come from: the store, or a place that a role refers to."""

from gateway.access.model import DatabaseRole, Target
from gateway.custody.references.fetching import Fetching
from gateway.ports import SecretUnavailable, Vault
from gateway.secret import Secret


class KeptSecrets:
    """Implements ports.SecretSource. `fetching`: None where nothing is kept elsewhere."""

    def __init__(self, vault: Vault, fetching: Fetching | None = None) -> None:
        self._vault = vault
        self._fetching = fetching

    def at_hand(self, target: Target, role: DatabaseRole) -> Secret | None:
        """See ports.SecretSource."""
        if role.reference is None:
            return self._vault.open(role)
        return None if self._fetching is None else self._fetching.at_hand(target, role, role.reference)

    async def secret_of(self, target: Target, role: DatabaseRole) -> Secret:
        """See ports.SecretSource."""
        if role.reference is None:
            return self._vault.open(role)
        if self._fetching is None:
            raise SecretUnavailable(f"{role.reference}: nothing is fetched from here")
        return await self._fetching.fetch(target, role, role.reference)

    async def after_refusal(self, target: Target, role: DatabaseRole, refused: Secret) -> Secret | None:
        """See ports.SecretSource."""
        if role.reference is None or self._fetching is None:
            return None
        return await self._fetching.fetch_again(target, role, role.reference, refused)
