"""Where the secrets of database roles come from: the store, or a place that a role refers to."""

from gateway.access.model import DatabaseRole, Target
from gateway.ports import SecretUnavailable, Vault
from gateway.secret import Secret


class KeptSecrets:
    """Implements ports.SecretSource."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def at_hand(self, _target: Target, role: DatabaseRole) -> Secret | None:
        """See ports.SecretSource."""
        return self._vault.open(role) if role.reference is None else None

    async def secret_of(self, _target: Target, role: DatabaseRole) -> Secret:
        """See ports.SecretSource."""
        if role.reference is not None:
            raise SecretUnavailable(f"this version cannot fetch {role.reference}")
        return self._vault.open(role)

    async def after_refusal(self, _target: Target, _role: DatabaseRole, _refused: Secret) -> Secret | None:
        """See ports.SecretSource."""
        return None
