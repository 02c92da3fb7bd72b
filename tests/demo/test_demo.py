"""The demo itself, as a person starts it: the tour keeps its promises, and nothing is left behind however it ends."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

import gateway
from tests.demo.test_postgres import EACH_KIND, is_running

_SECONDS = 120


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "gateway.demo", "--port", "0", *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(gateway.__file__).parent.parent), "PGSSLMODE": "disable", "PGPASSWORD": "x"}


def descendants(pid: int) -> set[int]:
    """The gateway's processes, the keepers and PostgreSQL's."""
    return {child.pid for child in psutil.Process(pid).children(recursive=True)}


def wait_until_gone(processes: set[int]) -> None:
    deadline = time.monotonic() + 20
    while left := [pid for pid in processes if is_running(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


@contextmanager
def demo(directory: Path, *arguments: str) -> Iterator[tuple["subprocess.Popen[str]", Sequence[str]]]:
    """A running demo and the lines it printed until it was up."""
    with subprocess.Popen(command(*arguments), cwd=directory, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(line.rstrip())
                if "Running until Ctrl-C" in line:
                    break
            yield process, lines
        finally:
            process.kill()


@EACH_KIND
def test_the_tour_keeps_every_promise(kind: str, tmp_path: Path) -> None:
    done = subprocess.run(
        command("--tour", "--postgres", kind),
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "all 10 promises were kept" in done.stdout
    assert "✗" not in done.stdout
    assert list((tmp_path / ".demo").iterdir()) == []


def test_it_stays_up_and_its_strings_work_until_ctrl_c(tmp_path: Path) -> None:
    """Also when the port that it was told to use is somebody else's."""
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        demo(tmp_path, "--port", str(other.getsockname()[1])) as (process, lines),
    ):
        uri = next(line.strip() for line in lines if line.strip().startswith("postgresql://"))
        with psycopg.connect(uri, autocommit=True) as connection:
            assert connection.info.port != other.getsockname()[1]
            assert connection.execute("SELECT count(*) FROM hr.departments").fetchone() == (8,)
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                connection.execute("DELETE FROM billing.payments")
        processes = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(_SECONDS) == 0
    assert list((tmp_path / ".demo").iterdir()) == []
    wait_until_gone(processes)


def test_killed_it_leaves_no_process(tmp_path: Path) -> None:
    with demo(tmp_path) as (process, lines):
        port = next(match[1] for line in lines if (match := re.search(r"ready on 127\.0\.0\.1:(\d+)", line)))
        processes = descendants(process.pid)
        assert len(processes) > 5
        process.kill()
        process.wait()
    wait_until_gone(processes)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(host="127.0.0.1", port=int(port), user="ana_diaz", dbname="shop", password="x", sslmode="require")
