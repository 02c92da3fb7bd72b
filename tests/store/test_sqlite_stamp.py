"""Equal stamps mean that nothing was written; and whoever goes by them does no more than look at the file."""

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.store.errors import StoreError
from gateway.store.sqlite_feed import SqliteFeed
from gateway.store.sqlite_stamp import Stamp, stamp


def settled(path: Path) -> Stamp:
    deadline = time.monotonic() + 5
    while (found := stamp(path)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "store.sqlite3"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE kept (number)")
    connection.commit()
    connection.close()
    return path


def insert(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO kept VALUES (1)")
    connection.commit()


def insert_into_a_log_begun_anew(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA wal_checkpoint(RESTART)")
    insert(connection)


@pytest.mark.parametrize("write", [insert, insert_into_a_log_begun_anew])
def test_no_commit_goes_unseen(file: Path, write: Callable[[sqlite3.Connection], None]) -> None:
    connection = sqlite3.connect(file)
    insert(connection)
    for _ in range(5):
        before = settled(file)
        write(connection)
        assert stamp(file) is None  # too soon to tell, at once and for a moment
        assert settled(file) != before
    connection.close()


def test_looking_changes_nothing(file: Path) -> None:
    open_meanwhile = sqlite3.connect(file)
    insert(open_meanwhile)
    before = settled(file)
    reader = sqlite3.connect(file, isolation_level=None)
    reader.execute("BEGIN IMMEDIATE")
    reader.execute("SELECT * FROM kept").fetchall()
    reader.execute("ROLLBACK")
    reader.close()
    assert stamp(file) == before
    open_meanwhile.close()


def test_another_file_of_the_same_age_is_another(file: Path) -> None:
    before = settled(file)
    copy = file.with_name("copy")
    copy.write_bytes(file.read_bytes())
    age = file.stat().st_mtime_ns
    os.utime(copy, ns=(age, age))
    copy.rename(file)
    assert settled(file) != before


def test_a_time_that_is_yet_to_come_says_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settled(file)
    an_hour_ago = time.time() - 3600
    monkeypatch.setattr(time, "time", lambda: an_hour_ago)
    assert stamp(file) is None


async def test_a_schema_that_was_broken_in_place_is_found(sqlite_place):
    """While nobody writes, the probe reads the header alone."""
    await sqlite_place.add_user("alice")
    sqlite_place.run("PRAGMA wal_checkpoint(TRUNCATE)")
    feed = SqliteFeed(sqlite_place.where, None)
    try:
        await feed.look(None)
        settled(sqlite_place.file)
        await feed.probe()
        await feed.probe()
        whole = sqlite_place.file.read_bytes()
        with sqlite_place.file.open("r+b") as broken:
            broken.seek(100)
            broken.write(os.urandom(len(whole) - 100))
        with pytest.raises(StoreError):
            await feed.probe()
        settled(sqlite_place.file)
        with pytest.raises(StoreError):
            await feed.probe()
    finally:
        await feed.close()
