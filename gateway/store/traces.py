"""What is left of former contents in the files of a store, made as little as can be done from here."""

import asyncio
import sqlite3
from typing import Final

from gateway.store.engine import store_errors
from gateway.store.places import Place, PostgresPlace, SqlitePlace
from gateway.store.sqlite import sqlite_uri

_LARGEST_BYTES: Final = 64 * 1024 * 1024  # of a file that is written anew while others wait
_BUSY_SECONDS: Final = 2.0


async def wipe_traces(place: Place) -> list[str]:
    """Free pages and the log of an SQLite file hold nothing any more when this returns. What could not be done, as sentences.

    Copies that a file system or a disk keeps by itself are out of reach. Raises StoreError.
    """
    match place:
        case SqlitePlace():
            with store_errors(place):
                return await asyncio.to_thread(_wipe, place)
        case PostgresPlace():
            return [
                "The database server keeps former versions of rows until it vacuums them (VACUUM FULL target_roles, "
                "target_admins, former_logins, accounts, provider_checks does it now), and its archived WAL for as long as you do."
            ]


def _wipe(place: SqlitePlace) -> list[str]:
    notes = []
    connection = sqlite3.connect(sqlite_uri(place.path), uri=True, isolation_level=None, timeout=_BUSY_SECONDS)
    try:
        connection.execute("PRAGMA secure_delete = ON")
        if connection.execute("PRAGMA freelist_count").fetchone()[0]:
            if place.path.stat().st_size <= _LARGEST_BYTES:
                connection.execute("VACUUM")
            else:
                notes.append(f"Free pages of {place.path} may hold former contents: VACUUM it while the gateway is stopped.")
        busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if busy:
            notes.append(f"Somebody was reading {place.path}: its log (-wal) holds former contents until it is next emptied.")
    finally:
        connection.close()
    return notes
