"""Adapters to the store: one schema, on SQLite or on PostgreSQL. The only package that imports a database driver.

`open_store` changes and reads (control plane), `open_directory` watches (gateway workers), `upgrade` and `bind_key` prepare (the
supervisor), `vault` seals upstream secrets, `backups` copies, backs up and restores. The store's URL alone chooses the database.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.settings import Settings
    from gateway.store.directory import StoreDirectory
    from gateway.store.keys_wanted import Keys
    from gateway.store.sql_store import SqlStore

# Imports are inside: a command that asks for its --help need not load a database's driver.


def open_store(settings: "Settings", *, on_commit: Callable[[int], None] | None = None) -> "SqlStore":
    """Opens nothing yet. `on_commit` is called with the new revision after each commit. Raises StoreError for a wrong URL."""
    from gateway.store.sql_store import SqlStore

    return SqlStore(settings, on_commit=on_commit)


def open_directory(settings: "Settings", keys: "Keys | None") -> "StoreDirectory":
    """To be started and closed. `keys`: it refuses to start on a store that was made with a master key not among them."""
    from gateway.store.directory import StoreDirectory

    return StoreDirectory(
        settings,
        poll_seconds=settings.store.poll_seconds,
        stale_after_seconds=settings.store.stale_after_seconds,
        keys=keys,
    )


async def upgrade(settings: "Settings") -> None:
    """Make the store, or bring it to this program's schema. Raises StoreError."""
    from gateway.store import migrate

    await migrate.upgrade(settings)


async def bind_key(settings: "Settings", keys: "Keys") -> None:
    """Tie the store to its master key. Raises VaultError when it is tied to another one."""
    from gateway.store import migrate

    await migrate.bind_key(settings, keys)
