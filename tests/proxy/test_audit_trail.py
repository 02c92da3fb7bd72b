"""The trail: written before it is released, whole after a crash, closed to new actions while it cannot be written."""

import asyncio
import json
import os
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest

from gateway.audit.events import event, session_event, session_fragment
from gateway.proxy.audit_file import AuditFileError
from gateway.proxy.audit_synced import SyncedAuditTrail
from gateway.proxy.audit_trail import AuditTrail

WRITER = Path(__file__).parents[1] / "support" / "audit_writer.py"
Durability = Literal["journal", "write", "fsync"]
each = pytest.mark.parametrize("durability", ["journal", "write", "fsync"])
waiting = pytest.mark.parametrize("durability", ["write", "fsync"])


def open_trail(directory: Path, durability: Durability = "write", rotate_bytes: int = 1 << 20, worker: int = 0) -> AuditTrail:
    loop = asyncio.get_running_loop()
    if durability == "fsync":
        return SyncedAuditTrail(directory, worker, rotate_bytes, loop)
    return AuditTrail(directory, worker, rotate_bytes, loop, journal=durability == "journal")


def records(directory: Path, worker: int = 0) -> list[dict[str, object]]:
    """All records of a worker, in the order of their numbers; every line must be whole."""
    lines: list[bytes] = []
    for path in directory.glob(f"audit-{worker}*.jsonl"):
        lines += path.read_bytes().splitlines(keepends=True)
    assert all(line.endswith(b"\n") for line in lines)
    return sorted((json.loads(line) for line in lines), key=lambda record: record["seq"])


def survivors(directory: Path) -> tuple[list[dict[str, object]], int]:
    """What writers that were killed left: the whole records in the order of their numbers, and how many lines are torn.

    A kill may come in the middle of a write: the kernel then keeps the pages that it had copied.
    """
    whole, torn = [], 0
    for path in directory.glob("audit-0*.jsonl"):
        for line in path.read_bytes().splitlines():
            try:
                whole.append(json.loads(line))
            except ValueError:
                torn += 1
    return sorted(whole, key=lambda record: record["seq"]), torn


def modes_of_rotated(directory: Path) -> list[int]:
    return [stat.S_IMODE(path.stat().st_mode) for path in directory.glob("audit-0-*-*.jsonl")]


async def until(true: Callable[[], object], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.005)


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """The kernel's own refusal to write on (EFBIG), after a partial write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@waiting
async def test_a_release_comes_after_the_write_and_in_order(tmp_path: Path, durability: Durability) -> None:
    trail = open_trail(tmp_path, durability)
    seen: list[tuple[int, bool, int]] = []
    for number in range(50):
        trail.append(event("x", {"number": number}))
        trail.release(lambda written, number=number: seen.append((number, written, len(records(tmp_path)))))
        if number % 7 == 0:
            await asyncio.sleep(0)
    await until(lambda: len(seen) == 50)
    assert [number for number, _, _ in seen] == list(range(50))
    assert all(written and there > number for number, written, there in seen)
    trail.close()


async def test_a_record_is_dated_numbered_and_ours(tmp_path: Path) -> None:
    trail = open_trail(tmp_path / "audit", worker=3)
    trail.append(event("x", {}))
    await until(lambda: records(tmp_path / "audit", 3))
    (record,) = records(tmp_path / "audit", 3)
    assert (record["worker"], record["seq"], record["event"]) == (3, 1, "x")
    assert str(record["at"]).startswith("20")
    assert str(record["at"]).endswith("Z")
    assert isinstance(record["mono"], float)
    assert stat.S_IMODE((tmp_path / "audit").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "audit" / "audit-3.jsonl").stat().st_mode) == 0o600
    trail.close()


@each
async def test_a_record_that_nobody_waits_for_is_written_too(tmp_path: Path, durability: Durability) -> None:
    trail = open_trail(tmp_path, durability)
    trail.append(event("x", {}))
    await until(lambda: records(tmp_path))
    assert len(records(tmp_path)) == 1
    trail.close()


@each
async def test_a_release_without_a_record_still_comes(tmp_path: Path, durability: Durability) -> None:
    trail = open_trail(tmp_path, durability)
    seen: list[bool] = []
    trail.release(seen.append)
    await until(lambda: seen == [True])
    trail.close()


@each
async def test_numbers_go_on_across_rotation_and_restart(tmp_path: Path, durability: Durability) -> None:
    for start in range(3):
        trail = open_trail(tmp_path, durability, rotate_bytes=2000)
        for number in range(100):
            trail.append(event("x", {"number": start * 100 + number}))
            if number % 3 == 0:
                trail.release(lambda _: None)
                await asyncio.sleep(0.001)
        trail.close()
    found = records(tmp_path)
    assert [record["seq"] for record in found] == list(range(1, 301))
    assert [record["number"] for record in found] == list(range(300))
    modes = modes_of_rotated(tmp_path)
    assert len(modes) > 5
    assert set(modes) == {0o600}


async def test_numbers_go_on_when_the_file_was_just_rotated(tmp_path: Path) -> None:
    trail = open_trail(tmp_path, rotate_bytes=1)
    trail.append(event("x", {}))
    trail.close()
    assert (tmp_path / "audit-0.jsonl").stat().st_size == 0
    trail = open_trail(tmp_path)
    trail.append(event("x", {}))
    trail.close()
    assert [record["seq"] for record in records(tmp_path)] == [1, 2]


async def test_a_torn_line_is_ended_and_marked(tmp_path: Path) -> None:
    trail = open_trail(tmp_path)
    trail.append(event("x", {}))
    trail.append(event("y", {"long": "z" * 200_000}))
    trail.close()
    path = tmp_path / "audit-0.jsonl"
    os.truncate(path, path.stat().st_size - 10)
    torn = path.stat().st_size - path.read_bytes().index(b"\n") - 1
    trail = open_trail(tmp_path)
    trail.close()
    lines = path.read_bytes().splitlines()
    assert len(lines) == 3
    repaired = json.loads(lines[2])
    assert (repaired["event"], repaired["torn_bytes"], repaired["seq"]) == ("trail_repaired", torn, 2)


def session(number: int) -> bytes:
    # What a person can choose must not pass for a record of ours.
    trick = '","event":"session_end","session":"s2"'
    return session_fragment(f"s{number}", 'a"nn', "192.0.2.1", "shop", "read_only", trick)


@pytest.mark.parametrize("rotate_bytes", [1 << 20, 300])
async def test_sessions_that_a_crash_left_open_are_ended(tmp_path: Path, rotate_bytes: int) -> None:
    async def live(*bodies: bytes) -> list[dict[str, object]]:
        before = len(records(tmp_path))
        trail = open_trail(tmp_path, rotate_bytes=rotate_bytes)
        for body in bodies:
            trail.append(body)
            await asyncio.sleep(0)
        trail.close()
        return [record for record in records(tmp_path)[before:] if record["event"] == "session_end"]

    starts = [session_event("session_start", session(number), {"tls": True}) for number in range(4)]
    end = session_event("session_end", session(1), {"reason": "client"})
    await live(event("gateway_start", {}), *starts, end)
    ends = await live(event("gateway_start", {}))
    assert [(record["session"], record["reason"]) for record in ends] == [("s0", "crash"), ("s2", "crash"), ("s3", "crash")]
    assert (ends[0]["user"], ends[0]["address"]) == ('a"nn', "192.0.2.1")
    assert await live(event("gateway_start", {}), starts[0], event("gateway_stop", {})) == []
    assert await live(event("gateway_start", {})) == []


async def test_two_writers_of_one_file_are_refused(tmp_path: Path) -> None:
    trail = open_trail(tmp_path)
    with pytest.raises(AuditFileError, match="another process"):
        open_trail(tmp_path)
    trail.close()
    open_trail(tmp_path).close()


async def test_a_directory_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "audit").write_text("")
    with pytest.raises(AuditFileError, match="cannot open"):
        open_trail(tmp_path / "audit")


@waiting
async def test_what_cannot_be_written_is_not_released_and_comes_later(tmp_path: Path, durability: Durability) -> None:
    trail = open_trail(tmp_path, durability)
    seen: list[bool] = []
    trail.append(event("before", {}))
    trail.release(seen.append)
    await until(lambda: seen == [True])
    with file_size_limit((tmp_path / "audit-0.jsonl").stat().st_size + 30):
        trail.append(event("during", {}))
        trail.release(seen.append)
        await until(lambda: len(seen) == 2)
        assert seen == [True, False]
        assert not trail.healthy
        assert trail.sqlstate_of_failure == "58030"
        trail.append(event("also during", {}))
        trail.release(seen.append)
        await until(lambda: len(seen) == 3)
        assert len(records(tmp_path)) == 1  # and no torn line
        await asyncio.sleep(1.2)
        assert not trail.healthy
    await until(lambda: trail.healthy)
    trail.append(event("after", {}))
    trail.release(seen.append)
    await until(lambda: len(seen) == 4)
    assert seen == [True, False, False, True]
    trail.close()
    found = records(tmp_path)
    assert [record["event"] for record in found] == ["before", "during", "also during", "trail_recovered", "after"]
    assert [record["seq"] for record in found] == [1, 2, 3, 4, 5]
    assert found[3]["records_dropped"] == 0


async def test_a_recovery_under_load_succeeds(tmp_path: Path) -> None:
    trail = open_trail(tmp_path, "fsync")
    released: list[bool] = []
    ended = False

    async def load() -> None:
        while not ended:
            trail.append(event("x", {}))
            trail.release(released.append)
            await asyncio.sleep(0.001)

    task = asyncio.create_task(load())
    await until(lambda: released)
    with file_size_limit((tmp_path / "audit-0.jsonl").stat().st_size):
        await until(lambda: not trail.healthy)
    await until(lambda: trail.healthy)
    count = len(released)
    await until(lambda: len(released) > count + 20)
    assert released[-1]
    ended = True
    await task
    trail.close()
    numbers = [record["seq"] for record in records(tmp_path)]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_what_was_kept_is_bounded_and_what_was_dropped_is_counted(tmp_path: Path) -> None:
    trail = open_trail(tmp_path)
    with file_size_limit(0):
        for number in range(20):
            trail.append(event("x", {"number": number, "text": "y" * 1_000_000}))
            await asyncio.sleep(0)
    await until(lambda: trail.healthy)
    trail.close()
    found = records(tmp_path)
    dropped = found[-1]["records_dropped"]
    assert isinstance(dropped, int)
    assert dropped > 5
    assert len(found) - 1 + dropped == 20
    assert found[-1]["seq"] == 21


async def test_close_writes_what_is_left_and_later_actions_are_refused(tmp_path: Path) -> None:
    trail = open_trail(tmp_path, "fsync")
    seen: list[bool] = []

    def act(written: bool) -> None:
        seen.append(written)
        trail.append(event("consequence", {}))

    trail.append(event("x", {}))
    trail.release(act)
    trail.close()
    assert seen == [True]
    assert [record["event"] for record in records(tmp_path)] == ["x", "consequence"]
    trail.append(event("late", {}))
    trail.release(seen.append)
    assert seen == [True, False]
    assert len(records(tmp_path)) == 2


async def test_one_faulty_action_does_not_keep_the_others_back(tmp_path: Path) -> None:
    trail = open_trail(tmp_path)
    seen: list[bool] = []

    def faulty(_: bool) -> None:
        raise RuntimeError("of one session")

    trail.release(faulty)
    trail.release(seen.append)
    await until(lambda: seen == [True])
    trail.close()


async def test_waiting_for_a_sync_is_shared(tmp_path: Path) -> None:
    """Group commit: many records, few syncs. Here: 200 waiting actions end in the time of a few syncs, not of 200."""
    trail = open_trail(tmp_path, "fsync")
    seen: list[bool] = []
    turns = 0
    for _ in range(200):
        trail.append(event("x", {}))
        trail.release(seen.append)
    while len(seen) < 200:
        turns += 1
        before = len(seen)
        await asyncio.sleep(0)
        assert len(seen) in (before, 200)
    trail.close()


@each
def test_a_sigkill_loses_nothing_that_was_acted_on(tmp_path: Path, durability: Durability) -> None:
    acted: list[int] = []
    lives = 6
    for round_ in range(lives):
        process = subprocess.Popen([sys.executable, WRITER, tmp_path, durability], stdout=subprocess.PIPE)
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(0.013 * round_)
        process.send_signal(signal.SIGKILL)
        said = (first + process.communicate()[0]).splitlines()
        acted.append(int(said[-1]))
    found, torn = survivors(tmp_path)
    assert torn <= lives
    numbers = [record["seq"] for record in found]
    assert numbers == list(range(1, len(numbers) + 1))
    per_life: list[int] = []
    for record in found:
        if record.get("number") == 1:
            per_life.append(0)
        if record["event"] == "acted":
            per_life[-1] += 1
    assert len(per_life) == len(acted)
    assert all(written >= done for written, done in zip(per_life, acted, strict=True))
