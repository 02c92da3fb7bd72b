"""The supervisor: workers come up, come back and go; an operator's mistakes are one line."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.serve import Part, run
from gateway.services.allowlist import Everybody, create_entry
from gateway.settings import Settings, load
from gateway.store import open_store
from gateway.supervision.preparation import prepare
from tests.support.gateway import processes

SUPERVISOR = Path(__file__).parents[1] / "support" / "stand_in_supervisor.py"
SERVE = """
import sys; from pathlib import Path; from gateway.ending import leave; from gateway.serve import run
leave(run(Path(sys.argv[1])))
"""
PGBASTION = (sys.executable, "-c", SERVE)
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def _start(workers: int = 1, behaviour: str = "good", drain: float = 0.3) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, SUPERVISOR, tmp_path, str(workers), behaviour, str(drain)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield _start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
    eventually(lambda: not any(alive(pid) for pid in workers_of(tmp_path)), 5)


def entries(state_dir: Path, what: str) -> list[list[str]]:
    with contextlib.suppress(FileNotFoundError):
        lines = [line.split() for line in (state_dir / "stand-in.log").read_text().splitlines()]
        return [line for line in lines if line[0] == what]
    return []


def workers_of(state_dir: Path) -> list[int]:
    return [int(line[2]) for line in entries(state_dir, "start")]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with contextlib.suppress(OSError):  # a zombie is dead
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return True


def eventually(true: Callable[[], object], seconds: float) -> float:
    start = time.monotonic()
    while not true():
        assert time.monotonic() - start < seconds, "did not happen in time"
        time.sleep(0.01)
    return time.monotonic() - start


def line_of(process: "subprocess.Popen[str]") -> str:
    """The one that says ready."""
    assert process.stdout is not None
    for line in process.stdout:
        if "is ready on" in line:
            return line
    raise AssertionError("it ended without being ready")


def test_it_says_ready_once_when_all_workers_are(start: Start, tmp_path: Path) -> None:
    process = start(workers=3)
    line = line_of(process)
    assert line.startswith("pgbastion is ready on 127.0.0.1:")
    assert "(3 workers)" in line
    assert {entry[1] for entry in entries(tmp_path, "start")} == {"0", "1", "2"}
    port = line.split(":")[1].split()[0]
    assert {entry[3] for entry in entries(tmp_path, "start")} == {port}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_ends_its_workers_and_exits_0(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    process = start(workers=2)
    line_of(process)
    process.send_signal(number)
    assert process.wait(10) == 0
    assert len(entries(tmp_path, "end")) == 2
    assert not any(alive(pid) for pid in workers_of(tmp_path))
    assert not (tmp_path / "bus.sock").exists()


def test_a_dead_worker_is_back_within_a_second_and_the_others_stay(start: Start, tmp_path: Path) -> None:
    process = start(workers=2)
    line_of(process)
    first = workers_of(tmp_path)
    os.kill(first[0], signal.SIGKILL)
    eventually(lambda: len(workers_of(tmp_path)) == 3, 3)
    assert alive(first[1])
    assert process.poll() is None


def test_workers_do_not_outlive_a_killed_supervisor(start: Start, tmp_path: Path) -> None:
    process = start(workers=2)
    line_of(process)
    process.kill()
    process.wait()
    eventually(lambda: not any(alive(pid) for pid in workers_of(tmp_path)), 3)
    again = start(workers=1)  # and the stale socket is no obstacle
    assert "ready" in line_of(again)


def test_a_worker_that_does_not_end_is_killed_after_the_drain(start: Start, tmp_path: Path) -> None:
    process = start(behaviour="stubborn")
    line_of(process)
    at = time.monotonic()
    process.terminate()
    assert process.wait(10) == 0
    assert 0.9 < time.monotonic() - at < 4
    assert entries(tmp_path, "ignored")
    assert not any(alive(pid) for pid in workers_of(tmp_path))


def test_asked_twice_it_does_not_wait(start: Start, tmp_path: Path) -> None:
    process = start(behaviour="stubborn", drain=60)
    line_of(process)
    process.terminate()
    eventually(lambda: entries(tmp_path, "ignored"), 5)
    process.terminate()
    assert process.wait(10) == 0


def test_workers_that_never_come_up_are_an_error_not_a_loop(start: Start) -> None:
    process = start(behaviour="dies")
    assert process.wait(90) == 1  # six starts, on a machine that may be busy
    _, errors = process.communicate()
    assert errors.splitlines()[-1] == "pgbastion: worker 0 does not start (exit status 3); the log says why"


def test_sighup_reaches_every_worker(start: Start, tmp_path: Path) -> None:
    process = start(workers=2)
    line_of(process)
    process.send_signal(signal.SIGHUP)
    eventually(lambda: len(entries(tmp_path, "reload")) == 2, 2)


def test_a_rolling_restart_replaces_every_worker_by_one_of_another_number(start: Start, tmp_path: Path) -> None:
    process = start(workers=2)
    line_of(process)
    first = workers_of(tmp_path)
    process.send_signal(signal.SIGUSR2)
    eventually(lambda: len(entries(tmp_path, "start")) == 4, 10)
    eventually(lambda: not any(alive(pid) for pid in first), 5)
    assert len(entries(tmp_path, "retire")) == 2
    places = [entry[4] for entry in entries(tmp_path, "start")]
    assert sorted(places) == ["0", "0", "1", "1"]
    numbers = [entry[1] for entry in entries(tmp_path, "start")]
    assert not {numbers[2]} & set(numbers[:2])
    assert process.poll() is None


def test_a_successor_that_does_not_start_changes_nothing(start: Start, tmp_path: Path) -> None:
    """As after an upgrade that went wrong."""
    process = start(workers=1, behaviour="dies-later")
    line_of(process)
    [worker] = workers_of(tmp_path)
    process.send_signal(signal.SIGUSR2)
    assert process.stdout is not None  # there the stand-in's log goes
    assert any("the former one stays" in line for line in process.stdout)
    time.sleep(0.2)
    assert alive(worker)
    assert not entries(tmp_path, "retire")
    process.terminate()
    assert process.wait(10) == 0


# --- mistakes of the operator


def config(tmp_path: Path, text: str = "") -> Path:
    path = tmp_path / "pgbastion.toml"
    path.write_text(f'state_dir = "state"\n{text}')
    return path


def error_of(path: Path | None, capsys: pytest.CaptureFixture[str]) -> str:
    mask = os.umask(0o077)  # run() sets it for the process
    try:
        assert run(path) == 1
    finally:
        os.umask(mask)
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("pgbastion: ")
    return line


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no/such.toml" in error_of(tmp_path / "no" / "such.toml", capsys)


def test_a_wrong_field_is_named_and_its_value_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = error_of(config(tmp_path, '[listen]\nport = "canary-value"\nprot = 1\n'), capsys)
    assert "listen.port" in line
    assert "listen.prot" in line
    assert "canary" not in line


def test_broken_toml_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "not valid TOML" in error_of(config(tmp_path, "[listen\n"), capsys)


def test_a_port_in_use_is_said_also_when_its_owner_would_share_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = error_of(config(tmp_path, f"[listen]\nport = {port}\n"), capsys)
    assert f"port {port}: the port is in use" in line


def test_a_second_gateway_with_the_same_state_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import fcntl

    (tmp_path / "state").mkdir()
    with (tmp_path / "state" / "supervisor.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another gateway is running" in error_of(config(tmp_path), capsys)


def test_a_damaged_key_stops_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    key = tmp_path / "state" / "master.key"
    key.write_text("pgbastion-master-key:v1:canary")
    key.chmod(0o600)
    line = error_of(config(tmp_path), capsys)
    assert "master key" in line
    assert "canary" not in line


def test_a_certificate_that_cannot_be_used_stops_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.pem").write_text("nothing")
    (tmp_path / "k.pem").write_text("nothing")
    assert "c.pem" in error_of(config(tmp_path, '[tls]\ncert_file = "c.pem"\nkey_file = "k.pem"\n'), capsys)
    assert "go together" in error_of(config(tmp_path, '[tls]\ncert_file = "c.pem"\n'), capsys)


# --- the real workers


async def admit_everybody_here(settings: Settings) -> None:
    settings.state_dir.mkdir(mode=0o700)
    await prepare(settings, frozenset({Part.GATEWAY}))
    store = open_store(settings)
    await create_entry(store, level=Everybody(), network="127.0.0.1/32", label="tests", actor="system", reason="a test")


@pytest.fixture
def serve(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    path = config(tmp_path, "[listen]\nport = 0\nworkers = 2\ndrain_seconds = 2\n[admin_api]\nport = 0\n")
    asyncio.run(admit_everybody_here(load(path)))
    process = subprocess.Popen([*PGBASTION, path], stdout=subprocess.PIPE, stderr=(tmp_path / "log").open("w"), text=True)
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


def audited(tmp_path: Path, event: str) -> list[int]:
    """The workers that wrote such a record."""
    lines = [line for path in (tmp_path / "state" / "audit").glob("*.jsonl") for line in path.read_text().splitlines()]
    return sorted(record["worker"] for record in map(json.loads, lines) if record["event"] == event)


def workers(tmp_path: Path) -> list[int]:
    return [pid for name, pid in processes(tmp_path / "state") if name.startswith("worker:")]


def answer(port: int) -> bytes:
    """To an SSLRequest."""
    with socket.create_connection(("127.0.0.1", port), 15) as client:
        client.sendall(bytes.fromhex("0000000804d2162f"))
        return client.recv(1)


def port_of(line: str) -> int:
    return int(line.split(":")[1].split()[0])


def test_the_gateway_serves_says_where_its_ca_is_and_ends(serve: "subprocess.Popen[str]", tmp_path: Path) -> None:
    line = line_of(serve)
    assert line.rstrip().endswith(f"CA file {tmp_path / 'state' / 'tls' / 'ca.pem'}")
    assert answer(port_of(line)) == b"S"
    eventually(lambda: audited(tmp_path, "gateway_start") == [0, 1], 10)
    serve.terminate()
    assert serve.wait(5) == 0
    assert audited(tmp_path, "gateway_stop") == [0, 1]
    with pytest.raises(OSError, match="refused"):
        answer(port_of(line))


def test_a_killed_worker_is_replaced_and_the_port_goes_on(serve: "subprocess.Popen[str]", tmp_path: Path) -> None:
    port = port_of(line_of(serve))
    eventually(lambda: audited(tmp_path, "gateway_start") == [0, 1], 10)
    killed = workers(tmp_path)[0]
    os.kill(killed, signal.SIGKILL)
    assert answer(port) == b"S"  # by the other one, or by the successor
    eventually(lambda: len(audited(tmp_path, "gateway_start")) == 3, 20)
    eventually(lambda: len(workers(tmp_path)) == 2 and killed not in workers(tmp_path), 10)


def test_nothing_is_left_of_a_killed_gateway_and_it_starts_again(serve: "subprocess.Popen[str]", tmp_path: Path) -> None:
    line_of(serve)
    children = [pid for _, pid in processes(tmp_path / "state")]
    assert len(children) == 3
    serve.kill()
    serve.wait()
    eventually(lambda: not any(alive(pid) for pid in children), 3)
    again = subprocess.Popen([*PGBASTION, tmp_path / "pgbastion.toml"], stdout=subprocess.PIPE, text=True)
    try:
        assert "ready" in line_of(again)
    finally:
        again.terminate()
        assert again.wait(5) == 0
