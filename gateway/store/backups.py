"""Backup, restore and moving to another store. The master key is never among it: keep a copy of that elsewhere.

A file appears whole under its name or not at all; a database on a server gets everything in one transaction.
"""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.access import Access
from gateway.store.copying import CopyReport, End, Progress, clear, copy_rows, go_beyond, is_empty, no_progress, read_revision
from gateway.store.engine import connected, open_engine, store_errors
from gateway.store.errors import StoreError, StoreUnavailableError, VaultError
from gateway.store.files import sync_folder
from gateway.store.keys_wanted import said, sealed_with
from gateway.store.migrate import upgrade
from gateway.store.places import CHANNEL, Place, PostgresPlace, SqlitePlace, locate
from gateway.store.queries import read_key_id
from gateway.store.sqlite import create_file
from gateway.store.vault import SealedVault

if TYPE_CHECKING:
    from gateway.settings import Settings

_PATIENCE_SECONDS: Final = 60.0
_SIDE_FILES: Final = ("-wal", "-shm", "-journal")


async def backup(where: "Settings | str | Place", path: Path, progress: Progress = no_progress) -> CopyReport:
    """The store, as it is at one instant, as a new SQLite file (0600); the gateway may run. Raises StoreError.

    Upstream secrets in it are sealed with the master key, which is not in it.
    """
    _expect_nothing(path)
    return await copy_store(where, SqlitePlace(path), progress=progress)


async def restore(path: Path, settings: "Settings", *, replace: bool = False, progress: Progress = no_progress) -> CopyReport:
    """Put a backup in the place of the store that the settings name. No gateway may be running. Raises StoreError, VaultError.

    VaultError: secrets in it are sealed with a master key that is not in the settings' key file.
    """
    source = _expect_file(path)
    await check_backup(path, settings)
    report = await copy_store(source, settings, replace=replace, progress=progress)
    await upgrade(settings)  # an old backup; and a file gets its journal mode
    return report


async def check_backup(path: Path, settings: "Settings") -> None:
    """Can what is sealed in it be opened with our keys? Raises StoreError; VaultError says which key it takes."""
    source, vault = _expect_file(path), SealedVault.load(settings.key_file)
    async with _reading(source) as connection:
        with store_errors(source):
            wanted = {await read_key_id(connection), *await sealed_with(connection)}
    missing = sorted(each for each in wanted if each and not vault.knows(each))
    if missing:
        raise VaultError(
            f"the backup's secrets are sealed with master key {', '.join(missing)}, but {said(vault)}: add the line of that key, "
            f"from the key file that was kept with the backup, to the end of {settings.key_file}"
        )


async def migrate_to(
    settings: "Settings",
    url: str,
    password_file: Path | None = None,
    *,
    replace: bool = False,
    progress: Progress = no_progress,
) -> CopyReport:
    """Copy the store to another place; the settings still name the old one. No gateway may be running. Raises StoreError."""
    place = locate(url, password_file)
    report = await copy_store(settings, place, replace=replace, progress=progress)
    await upgrade(place)
    return report


async def copy_store(
    source: "Settings | str | Place",
    destination: "Settings | str | Place",
    *,
    replace: bool = False,
    progress: Progress = no_progress,
) -> CopyReport:
    """All of it, checked on arrival. Unless told to `replace`, it only fills a place that holds nothing yet. Raises StoreError."""
    origin, place = locate(source), locate(destination)
    if origin == place:
        raise StoreError(f"the store is in {place} already")
    async with _reading(origin) as reading:
        end = End(reading, origin)
        match place:
            case SqlitePlace():
                return await _into_file(end, place, replace=replace, progress=progress)
            case PostgresPlace():
                return await _into_database(end, place, replace=replace, progress=progress)


async def _into_file(source: End, place: SqlitePlace, *, replace: bool, progress: Progress) -> CopyReport:
    former = await _former_revision(place, replace=replace)
    draft = place.path.with_name(f".{place.path.name}.{secrets.token_hex(4)}")
    create_file(draft)
    try:
        async with _changing(SqlitePlace(draft)) as writing:
            with store_errors(place):
                report = await copy_rows(source, End(writing, place), progress)
                await go_beyond(writing, report, former)
                await writing.commit()
        try:
            for suffix in _SIDE_FILES:  # an old log must not be replayed into the new file
                place.path.with_name(place.path.name + suffix).unlink(missing_ok=True)
            os.replace(draft, place.path)
            sync_folder(place.path.parent)
        except OSError as error:
            raise StoreUnavailableError(f"{place} cannot be written: {error.strerror}") from None
    finally:
        for leftover in (draft, *(draft.with_name(draft.name + suffix) for suffix in _SIDE_FILES)):
            leftover.unlink(missing_ok=True)
    return report


async def _into_database(source: End, place: PostgresPlace, *, replace: bool, progress: Progress) -> CopyReport:
    async with _changing(place) as writing:
        with store_errors(place):
            if not replace and not await is_empty(writing):
                raise _not_empty(place)
            former = await read_revision(writing)
            await clear(writing)
            report = await copy_rows(source, End(writing, place), progress)
            revision = await go_beyond(writing, report, former)
            await writing.execute(select(func.pg_notify(CHANNEL, str(revision))))
            await writing.commit()
    return report


async def _former_revision(place: SqlitePlace, *, replace: bool) -> int:
    """Of what is in the way; 0 where there is nothing. What cannot be read may be replaced, too: that is what backups are for."""
    if not _exists(place.path):
        return 0
    try:
        async with _reading(place) as connection:
            with store_errors(place):
                if not replace and not await is_empty(connection):
                    raise _not_empty(place)
                return await read_revision(connection)
    except StoreUnavailableError:
        if not replace:
            raise
        return 0


def _exists(path: Path) -> bool:
    return path.exists()


def _expect_nothing(path: Path) -> None:
    if path.exists():
        raise StoreError(f"there is a file {path} already: a backup never replaces one")


def _expect_file(path: Path) -> SqlitePlace:
    if not path.is_file():
        raise StoreUnavailableError(f"there is no backup {path}")
    return SqlitePlace(path)


def _not_empty(place: Place) -> StoreError:
    return StoreError(f"there is a store in {place} already: say so if it is to be replaced")


@asynccontextmanager
async def _reading(place: Place) -> AsyncIterator[AsyncConnection]:
    async with connected(open_engine(place, Access.READ, _PATIENCE_SECONDS), place) as connection:
        yield connection


@asynccontextmanager
async def _changing(place: Place) -> AsyncIterator[AsyncConnection]:
    async with connected(open_engine(place, Access.WRITE, _PATIENCE_SECONDS), place) as connection:
        yield connection
