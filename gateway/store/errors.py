"""Everything that this package raises."""

from typing import Final

from gateway.ports import SecretUnavailable

CONFLICT: Final = "somebody else made a change that does not go with this one; try again"


class StoreError(Exception):
    """The store cannot do what was asked. The text is written for an operator and holds no secret."""


class StoreUnavailableError(StoreError):
    """Missing, locked for too long, unreadable or corrupt: try again, or look at the file."""


class StoreConflictError(StoreError):
    """Somebody else changed the same rows in between: read again, decide again."""


class VaultError(StoreError, SecretUnavailable):
    """The key file does not fit, or a sealed secret was altered."""
