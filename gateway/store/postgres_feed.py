"""Watching a store on a PostgreSQL server.

NOTIFY makes it prompt, the poll makes it sure: both use one connection, so when that is cut the very next poll says so, and makes
a new one at once.
"""

import contextlib
from collections.abc import Callable
from typing import Final, cast

import asyncpg

from gateway.access.model import Snapshot
from gateway.store.engine import store_errors
from gateway.store.errors import StoreUnavailableError
from gateway.store.feed import check_new_link, no_full_collection
from gateway.store.keys_wanted import Keys
from gateway.store.places import CHANNEL, PostgresPlace
from gateway.store.postgres import Driver, connect
from gateway.store.queries import SELECT_META, SELECTS, not_set_up, raw_store, read_rows
from gateway.store.rows import RawStore, Rows

_PATIENCE_SECONDS: Final = 0.5
_POLL: Final = (
    "SELECT revision, key_id, pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean AS read_only"
    " FROM meta"
)


class PostgresFeed:
    """Implements feed.Feed. `wake` is called when the server says that something was committed, or hangs up."""

    def __init__(self, place: PostgresPlace, keys: Keys | None, wake: Callable[[], None]) -> None:
        self._place = place
        self._keys = keys
        self._wake = wake
        self._link: Driver | None = None
        self._trusted = False
        self._read_only = False

    async def look(self, known: Snapshot | None) -> Snapshot | None:
        with store_errors(self._place):
            if self._link is not None:
                # A link that was cut while nobody looked is no failure of the store: a new one tells.
                with contextlib.suppress(OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError):
                    return await self._ask(self._link, known)
            return await self._ask(await self._relink(), known)

    async def probe(self) -> None:
        """Nothing is written for this: what the server says of itself is as good."""
        if self._read_only:
            raise StoreUnavailableError(f"the store {self._place} is read-only: its server takes no changes")

    def forget(self) -> None:
        self._trusted = False

    async def close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.terminate()

    async def _ask(self, link: Driver, known: Snapshot | None) -> Snapshot | None:
        try:
            row = await link.fetchrow(_POLL)
            if row is None:
                raise not_set_up()
            self._read_only = bool(row["read_only"])
            if self._trusted and known is not None and row["revision"] == known.revision:
                return None
            check_new_link(cast(str | None, row["key_id"]), self._keys)
            with no_full_collection():
                snapshot = await read_rows(await _rows(link), str(self._place))
        except BaseException:
            await self.close()
            raise
        self._trusted = True
        return snapshot

    async def _relink(self) -> Driver:
        self._trusted = False
        link = await connect(self._place, _PATIENCE_SECONDS)
        self._link = link
        link.add_termination_listener(lambda _link: self._wake())
        await link.add_listener(CHANNEL, lambda *_said: self._wake())
        return link


async def _rows(link: Driver) -> RawStore:
    """Everything, as of one instant."""
    await link.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    meta = await link.fetchrow(SELECT_META)
    if meta is None:
        raise not_set_up()
    rows = {name: cast(Rows, await link.fetch(text)) for name, text in SELECTS.items()}
    await link.execute("COMMIT")
    return raw_store(cast(int, meta["revision"]), cast(str | None, meta["lockdown"]), rows)
