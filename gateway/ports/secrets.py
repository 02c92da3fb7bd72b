"""What is sealed, and where the passwords of upstream logins come from."""

from enum import StrEnum
from typing import Protocol

from gateway.access.model import DatabaseRole, Target
from gateway.secret import Secret


class Vault(Protocol):
    """Opens sealed upstream secrets."""

    def open(self, role: DatabaseRole) -> Secret:
        """Raises VaultError (of the adapter's own tree) when the key does not fit or the row was tampered with."""
        ...


class SecretUnavailable(Exception):
    """A secret cannot be had now. The text is for operators, and holds no secret."""


class SecretSource(Protocol):
    """The upstream secrets of database roles, wherever they are kept. Everything that logs in upstream asks this.

    What raises, raises SecretUnavailable, within a bounded time. Used from one event loop, which nothing here blocks.
    """

    def at_hand(self, target: Target, role: DatabaseRole) -> Secret | None:
        """What is known without waiting: a stored secret, or one that was fetched a moment ago. None: await `secret_of`."""
        ...

    async def secret_of(self, target: Target, role: DatabaseRole) -> Secret: ...

    async def after_refusal(self, target: Target, role: DatabaseRole, refused: Secret) -> Secret | None:
        """The server did not take this one. Another to try once, when it was changed where it is kept; None: there is none."""
        ...


class Sealer(Protocol):
    """Seals upstream secrets for their row; what `Vault` opens."""

    def seal(self, row_id: str, secret: Secret) -> bytes: ...


class SealedUse(StrEnum):
    """What else than an upstream secret is sealed. A text that was sealed for one use opens for no other."""

    AUTHENTICATOR = "accounts.sealed_secret"
    ENROLMENT = "enrolment"
    PROVIDER_FLOW = "provider flow"
    REFRESH_TOKEN = "provider_checks.sealed_refresh"  # noqa: S105
    TARGET_ADMIN = "target_admins.sealed_secret"
    WEBHOOK = "webhooks.sealed_secret"
    WEBHOOK_URL = "webhooks.sealed_url_secret"


class SecretBox(Protocol):
    """Seals what is neither an upstream secret nor a row's own alone, and opens it again."""

    def seal_for(self, use: SealedUse, bound_to: str, secret: Secret) -> bytes:
        """`bound_to`: the row or the person that it is about; it opens for no other."""
        ...

    def open_for(self, use: SealedUse, bound_to: str, sealed: bytes) -> Secret:
        """Raises VaultError (of the adapter's own tree) for anything that `seal_for` has not made for the same."""
        ...
