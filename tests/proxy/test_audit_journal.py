"""The journal: what was put into it is written, whatever happens before it is drained."""

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.audit.events import event
from gateway.proxy import audit_journal
from gateway.proxy.audit_file import AuditFileError
from gateway.proxy.audit_journal import left_in, open_journal
from gateway.proxy.audit_synced import SyncedAuditTrail
from gateway.proxy.audit_trail import AuditTrail
from tests.proxy.test_audit_trail import file_size_limit, open_trail, records, until

ROOT = Path(__file__).parents[2]


def numbers(directory: Path) -> list[object]:
    return [record["number"] for record in records(directory) if "number" in record]


def put(trail: AuditTrail, *those: int) -> None:
    for number in those:
        assert trail.write_now([event("x", {"number": number})])


def kill(trail: AuditTrail) -> None:
    """As far as files go: nothing is drained any more, and the lock is free."""
    trail._cancel_timers()
    trail._file.close()


async def test_what_is_written_now_is_in_the_journal_now_and_in_the_file_soon(tmp_path: Path) -> None:
    trail = open_trail(tmp_path, "journal")
    put(trail, 1, 2)
    assert [json.loads(line)["number"] for line in left_in(tmp_path / "audit-0.journal", 0)[0].splitlines()] == [1, 2]
    assert records(tmp_path) == []
    await until(lambda: numbers(tmp_path) == [1, 2], 1)
    assert left_in(tmp_path / "audit-0.journal", 0) == (b"", 0)
    trail.close()
    assert [record["seq"] for record in records(tmp_path)] == [1, 2]


async def test_what_a_kill_left_in_the_journal_is_added_once(tmp_path: Path) -> None:
    trail = open_trail(tmp_path, "journal")
    put(trail, 1, 2)
    await until(lambda: len(records(tmp_path)) == 2)
    put(trail, 3, 4)
    kill(trail)
    journal = tmp_path / "audit-0.journal"
    shutil.copy(journal, tmp_path / "kept")
    open_trail(tmp_path, "journal").close()
    assert numbers(tmp_path) == [1, 2, 3, 4]
    shutil.copy(tmp_path / "kept", journal)  # a kill between the file's write and the journal's clearing
    trail = open_trail(tmp_path, "journal")
    put(trail, 5)
    trail.close()
    assert numbers(tmp_path) == [1, 2, 3, 4, 5]
    assert [record["seq"] for record in records(tmp_path)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("cut", [1, 30, 110, 150])
async def test_a_drain_that_was_torn_is_made_whole(tmp_path: Path, cut: int) -> None:
    trail = open_trail(tmp_path, "journal")
    put(trail, 1)
    await until(lambda: len(records(tmp_path)) == 1)
    put(trail, 2, 3, 4)
    pending, _ = left_in(tmp_path / "audit-0.journal", 1)
    with (tmp_path / "audit-0.jsonl").open("ab") as file:
        file.write(pending[:-cut])
    kill(trail)
    open_trail(tmp_path, "journal").close()
    found = records(tmp_path)
    assert [record["seq"] for record in found] == [1, 2, 3, 4]
    assert {record["event"] for record in found} == {"x"}


async def test_a_record_is_whole_or_not_there(tmp_path: Path) -> None:
    """The committed length is the last thing that is set."""
    trail = open_trail(tmp_path, "journal")
    put(trail, 1)
    with (tmp_path / "audit-0.journal").open("r+b") as file:  # what is mapped and what is written are the same pages
        file.seek(8)
        file.seek(int.from_bytes(file.read(8), sys.byteorder))
        file.write(b'{"at":"torn","seq":2')
    kill(trail)
    open_trail(tmp_path, "journal").close()
    assert numbers(tmp_path) == [1]


@pytest.mark.parametrize("old", [bytes(120), b"x" * 120, b'{"seq":1}\n' * 12])
async def test_a_journal_with_old_pages_gives_what_is_whole_and_says_so(tmp_path: Path, old: bytes) -> None:
    """A loss of power keeps some pages of a mapping and not others."""
    trail = open_trail(tmp_path, "journal")
    put(trail, 1, 2, 3, 4)
    journal = tmp_path / "audit-0.journal"
    begin = journal.read_bytes().index(b'"seq":3')
    with journal.open("r+b") as file:
        file.seek(begin)
        file.write(old)
    kill(trail)
    open_trail(tmp_path, "journal").close()
    found = records(tmp_path)
    assert [record["seq"] for record in found] == [1, 2, 3]
    assert found[2]["event"] == "trail_repaired"


async def test_another_durability_finds_what_the_journal_holds(tmp_path: Path) -> None:
    trail = open_trail(tmp_path, "journal")
    put(trail, 1, 2)
    kill(trail)
    synced = SyncedAuditTrail(tmp_path, 0, 1 << 20, asyncio.get_running_loop())
    assert not synced.write_now([event("x", {})])
    synced.close()
    assert numbers(tmp_path) == [1, 2]
    assert not (tmp_path / "audit-0.journal").exists()


async def test_a_full_journal_and_a_record_larger_than_it_go_into_the_file(tmp_path: Path) -> None:
    trail = open_trail(tmp_path, "journal", rotate_bytes=1 << 30)
    for number in range(30):
        assert trail.write_now([event("x", {"number": number, "text": "y" * 100_000})])
    assert trail.write_now([event("x", {"number": 30, "text": "y" * 3_000_000})])
    put(trail, 31)
    assert len(numbers(tmp_path)) >= 31
    trail.close()
    assert numbers(tmp_path) == list(range(32))
    assert [record["seq"] for record in records(tmp_path)] == list(range(1, 33))


async def test_a_drain_that_fails_closes_the_way_and_loses_nothing(tmp_path: Path) -> None:
    trail = open_trail(tmp_path, "journal")
    put(trail, 1)
    await until(lambda: len(records(tmp_path)) == 1)
    released: list[bool] = []
    with file_size_limit((tmp_path / "audit-0.jsonl").stat().st_size + 30):
        put(trail, 2)
        trail.submit([event("x", {"number": 3})], released.append)
        assert released == [True]
        await until(lambda: not trail.healthy, 1)
        assert not trail.write_now([event("x", {"number": -1})])
        trail.submit([event("x", {"number": 4})], released.append)
        await until(lambda: released == [True, False])
        assert numbers(tmp_path) == [1]
    await until(lambda: trail.healthy)
    put(trail, 5)
    trail.close()
    found = records(tmp_path)
    assert numbers(tmp_path) == [1, 2, 3, 4, 5]
    assert [record["seq"] for record in found] == list(range(1, 7))
    assert "trail_recovered" in {record["event"] for record in found}


async def test_a_kill_while_the_disk_is_full_loses_nothing_that_was_acted_on(tmp_path: Path) -> None:
    trail = open_trail(tmp_path, "journal")
    with file_size_limit(0):
        put(trail, 1, 2, 3)
        await until(lambda: not trail.healthy, 1)
        kill(trail)
        with pytest.raises(AuditFileError, match="journal"):
            open_trail(tmp_path, "journal")
    open_trail(tmp_path, "journal").close()
    assert numbers(tmp_path) == [1, 2, 3]


async def test_where_a_mapping_is_not_safe_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 1 0:1 / / rw - ext4 x rw\n2 1 0:2 / {tmp_path} rw - btrfs y rw\n")
    monkeypatch.setattr(audit_journal, "_MOUNTS", mounts)
    trail = open_trail(tmp_path / "audit", "journal")
    assert not trail.write_now([event("x", {"number": 1})])
    trail.append(event("x", {"number": 1}))
    trail.close()
    assert numbers(tmp_path / "audit") == [1]
    assert not (tmp_path / "audit" / "audit-0.journal").exists()


def test_a_journal_that_was_cut_off_while_it_was_made_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "audit-0.journal"
    for content in (b"", b"pgb", bytes(4096), b"x" * (1 << 20)):
        path.write_bytes(content)
        assert left_in(path, 0) == (b"", 0)
        journal = open_journal(path)
        assert journal.pending() == b""
        assert journal.put(b'{"seq":1}\n')
        assert left_in(path, 0) == (b'{"seq":1}\n', 0)
        journal.close()
    assert path.stat().st_blocks * 512 >= path.stat().st_size  # no store into it needs space


SCRIPT = """
import asyncio, os, sys
from pathlib import Path
from gateway.audit.events import event
from gateway.proxy.audit_trail import AuditTrail

async def main():
    trail = AuditTrail(Path(sys.argv[1]), 0, 20_000, asyncio.get_running_loop())
    number = int(sys.argv[2])
    while True:
        for _ in range(7):
            number += 1
            if trail.write_now([event("x", {"number": number, "text": "y" * (number * 37 % 900)})]):
                os.write(1, b"%d\\n" % number)
        await asyncio.sleep(0)

asyncio.run(main())
"""


@pytest.mark.parametrize("seed", range(2))
def test_killed_between_journal_and_drain_all_that_was_acted_on_is_there_once(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    acted: list[int] = []
    for life in range(8):
        first = str(life * 1_000_000)
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, tmp_path, first], stdout=subprocess.PIPE, cwd=ROOT)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        said = process.communicate()[0].splitlines(keepends=True)
        acted += range(int(first) + 1, int([line for line in said if line.endswith(b"\n")][-1]) + 1)
    asyncio.run(_settle(tmp_path))
    found = records(tmp_path)
    assert [record["seq"] for record in found] == list(range(1, len(found) + 1))
    there = [record["number"] for record in found]
    assert len(there) == len(set(there))
    assert set(acted) <= set(there)
    assert os.path.exists(tmp_path / "audit-0.journal")


async def _settle(directory: Path) -> None:
    open_trail(directory, "journal").close()
