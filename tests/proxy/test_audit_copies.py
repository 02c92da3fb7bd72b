"""Copies to stdout and syslog: whole, in time, never waited for, and what is lost is counted."""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gateway.audit.events import event
from gateway.proxy.audit_copies import Copies, CopyQueue, Syslog, open_copies, shortened, to_stdout
from gateway.proxy.audit_trail import AuditTrail
from gateway.proxy.counters import Counters
from gateway.settings import Audit

ROOT = Path(__file__).parents[2]
LINE = (
    b'{"at":"2026-01-02T03:04:05.678901Z","mono":1.000000,"worker":0,"seq":7,"event":"statement","sql":"SELECT","tables":[]}\n'
)
_SYSLOG = re.compile(
    rb"<86>1 2026-01-02T03:04:05\.678901Z (?P<host>[!-~]{1,255}) pgbastion \d{1,10} (?P<msgid>[!-~]{1,32}) - (?P<message>.*)"
)


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.005)


def sized(length: int, character: str = "x") -> bytes:
    record = json.loads(LINE)
    record["sql"] = character * length
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


# -- the queue ---------------------------------------------------------------------------------------------------------


def test_who_offers_never_waits_and_what_is_lost_is_counted_and_said_once() -> None:
    counters, stuck = Counters(), threading.Event()

    def deliver(_lines: bytes) -> int:
        stuck.wait()
        return 0

    queue = CopyQueue("stuck", deliver, counters, max_bytes=1000)
    begun = time.monotonic()
    with capture_logs() as logs:
        for _ in range(10_000):
            queue.offer(b"x" * 99 + b"\n")
    assert time.monotonic() - begun < 1
    assert 10_000 - 12 <= counters.audit_copies_dropped < 10_000
    assert [log["to"] for log in logs] == ["stuck"]
    stuck.set()
    queue.close()


def test_what_cannot_be_delivered_is_counted() -> None:
    counters = Counters()

    def deliver(_lines: bytes) -> int:
        raise OSError("nobody listens")

    queue = CopyQueue("broken", deliver, counters)

    def offered() -> int:
        queue.offer(b"1\n2\n")
        return counters.audit_copies_dropped

    with capture_logs() as logs:
        until(lambda: offered() >= 4)
    assert [log["reason"] for log in logs] == ["nobody listens"]
    queue.close()


def test_the_settings_name_the_ways_out(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector:
        collector.bind(("127.0.0.1", 0))
        collector.settimeout(5)
        audit = Audit(also=["syslog", "syslog"], syslog_address=f"127.0.0.1:{collector.getsockname()[1]}")
        copies = open_copies(tmp_path, audit, Counters())
        copies.offer(LINE)
        copies.offer(LINE.replace(b'"seq":7', b'"seq":8'))
        found = [_SYSLOG.fullmatch(collector.recv(9999)) for _ in range(2)]
        copies.close()
        assert [each and json.loads(each["message"])["seq"] for each in found] == [7, 8]  # each once, in order


def _more_than(there: list[bool], number: int) -> bool:
    return len(there) > number


async def test_records_are_copied_when_they_are_in_the_file(tmp_path: Path) -> None:
    there: list[bool] = []

    def deliver(lines: bytes) -> int:
        there.append(lines in (tmp_path / "audit-0.jsonl").read_bytes())
        return 0

    trail = AuditTrail(
        tmp_path, 0, 1 << 20, asyncio.get_running_loop(), copies=Copies((CopyQueue("look", deliver, Counters()),))
    )
    for number in range(5):
        trail.append(event("x", {}))
        await asyncio.to_thread(until, partial(_more_than, there, number))
    trail.close()
    assert there == [True] * 5


# -- stdout ------------------------------------------------------------------------------------------------------------


def test_lines_of_many_processes_are_not_torn(tmp_path: Path) -> None:
    """Far longer than what a pipe takes at once."""
    script = (
        "import sys; from pathlib import Path; from gateway.proxy.audit_copies import to_stdout\n"
        "deliver = to_stdout(Path(sys.argv[1]))\n"
        "for n in range(50): deliver((sys.argv[2] * (10_000 + 1000 * n) + '\\n').encode() * 3)\n"
    )
    read, write = os.pipe()
    writers = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "lock"), letter], stdout=write, cwd=ROOT)
        for letter in "abc"
    ]
    os.close(write)
    with os.fdopen(read, "rb") as out:
        lines = out.read().splitlines()
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert len(lines) == 3 * 150
    assert all(len(set(line)) == 1 for line in lines)


def test_a_closed_stdout_loses_copies_and_nothing_else(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    counters = Counters()
    queue = CopyQueue("stdout", to_stdout(tmp_path / "lock", write), counters)

    def offered() -> int:
        queue.offer(LINE)
        return counters.audit_copies_dropped

    until(offered)
    queue.close()
    os.close(write)


# -- syslog ------------------------------------------------------------------------------------------------------------


def test_a_local_socket_may_come_and_go(tmp_path: Path) -> None:
    place = tmp_path / "log"
    syslog = Syslog(str(place))
    assert syslog(LINE) == 1
    for _ in range(2):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as collector:
            collector.bind(str(place))
            collector.settimeout(5)
            assert syslog(LINE + LINE) == 0
            found = _SYSLOG.fullmatch(collector.recv(99_999))
            assert found is not None
            assert found["msgid"] == b"statement"
            assert found["message"] == LINE.strip()
            assert _SYSLOG.fullmatch(collector.recv(99_999))
        place.unlink()
    assert syslog(LINE) == 1


@pytest.mark.parametrize(("local", "limit"), [(True, 8192), (False, 2048)])
@pytest.mark.parametrize("length", [0, 1500, 1800, 1900, 2048, 7900, 8192, 400_000])
def test_a_long_record_is_shortened_and_stays_json(local: bool, limit: int, length: int) -> None:
    syslog = Syslog("/dev/log" if local else "localhost:514")
    message = syslog.message(sized(length))
    assert len(message) + len("<86>") <= limit
    record = json.loads(message[message.index("{") :])
    assert ("truncated" in record) == (len(record["sql"]) < length)
    if "truncated" in record:
        assert len(message) > limit - 40


@given(st.text(max_size=300), st.integers(120, 400))
def test_whatever_the_text_it_fits_and_is_json(sql: str, limit: int) -> None:
    record = {"at": "2026", "seq": 1, "event": "statement", "sql": sql, "tables": ["t"] * 9}
    line = json.dumps(record, separators=(",", ":")).encode()
    found = shortened(line, limit)
    assert len(found) <= limit
    short = json.loads(found)
    assert sql.startswith(short["sql"])
    assert found == line or short["truncated"]
