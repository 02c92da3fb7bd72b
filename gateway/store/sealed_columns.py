"""Every column that holds something sealed with the master key. Whoever adds one names it here: keys are rotated by this list."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Column, Table

from gateway.ports import SealedUse
from gateway.store import tables


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """`bound_to`: the column of the same row whose text each value is sealed for. `use`: None for secrets of database roles.

    `kind` is what people call it.
    """

    kind: str
    column: Column[bytes]
    bound_to: Column[str]
    use: SealedUse | None

    @property
    def table(self) -> Table:
        return self.column.table


_ROLES: Final = tables.target_roles
_ADMINS: Final = tables.target_admins
_FORMER: Final = tables.former_logins
_WEBHOOKS: Final = tables.webhooks
SEALED_COLUMNS: Final = (
    SealedColumn("upstream password", _ROLES.c.sealed_secret, _ROLES.c.id, None),
    SealedColumn("upstream password (being rotated)", _ROLES.c.pending_secret, _ROLES.c.id, None),
    SealedColumn("former upstream password", _FORMER.c.sealed_secret, _FORMER.c.id, None),
    SealedColumn("admin password", _ADMINS.c.sealed_secret, _ADMINS.c.target_id, SealedUse.TARGET_ADMIN),
    SealedColumn("admin password (being rotated)", _ADMINS.c.pending_secret, _ADMINS.c.target_id, SealedUse.TARGET_ADMIN),
    SealedColumn("password of a managed login", tables.managed_logins.c.sealed_secret, tables.managed_logins.c.id, None),
    SealedColumn("authenticator", tables.accounts.c.sealed_secret, tables.accounts.c.id, SealedUse.AUTHENTICATOR),
    SealedColumn(
        "sign-in at the provider",
        tables.provider_checks.c.sealed_refresh,
        tables.provider_checks.c.account_id,
        SealedUse.REFRESH_TOKEN,
    ),
    SealedColumn("signing secret of a webhook", _WEBHOOKS.c.sealed_secret, _WEBHOOKS.c.id, SealedUse.WEBHOOK),
    SealedColumn("former signing secret of a webhook", _WEBHOOKS.c.former_secret, _WEBHOOKS.c.id, SealedUse.WEBHOOK),
    SealedColumn("secret in a webhook's URL", _WEBHOOKS.c.sealed_url_secret, _WEBHOOKS.c.id, SealedUse.WEBHOOK_URL),
)
