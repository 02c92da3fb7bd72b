"""The end comes, whenever it is asked for and whatever hangs: no process outlives it, no wait is without a bound."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from gateway.proxy.leaving import _Seen
from gateway.serve import _give_up
from tests.support.faults import Measured, family, until
from tests.support.gateway import processes, start_serve, wait_until_ready, write_config

DRAIN = 1.0
BOUND = DRAIN + 0.7 + 2 * 5.0  # docs/operations.md: the drain, then the killing, then two times to close
BUSY_MACHINE = 5.0  # others test here, too
LONG = 60.0  # a drain that nobody should have to wait for

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")


@contextmanager
def served(**sections: dict[str, Any]) -> Iterator[tuple["subprocess.Popen[str]", list[str], Path]]:
    """`pgbastion serve`, not waited for. Whatever is left of it at the end is a failure."""
    with tempfile.TemporaryDirectory(prefix="pgbastion-") as made:
        process, log = start_serve(write_config(Path(made), **sections))
        seen: set[psutil.Process] = set()
        try:
            yield process, log, Path(made) / "state"
            seen.update(family(process.pid))
        finally:
            for each in family(process.pid):
                each.kill()


def ended(process: "subprocess.Popen[str]", log: list[str], seconds: float) -> float:
    """How long it took from now, SIGTERM sent; of its processes none is left a moment later."""
    children = family(process.pid)[1:]
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        raise AssertionError("".join(log)) from None
    took = time.monotonic() - began
    assert status == 0, "".join(log)
    until(lambda: not any(alive(child) for child in children), 5)
    return took


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def listening(workers: int = 1, drain: float = LONG) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": 0, "workers": workers, "drain_seconds": drain}


@pytest.mark.parametrize("after_seconds", [0.1, 0.6, 1.0, 1.4, 1.8])
def test_told_while_it_starts(after_seconds: float, measured: Measured) -> None:
    with served(listen=listening(), admin_api={"port": 0}) as (process, log, _):
        time.sleep(after_seconds)
        if after_seconds < 0.5:  # the interpreter itself may not have begun: then the signal ends it, as any program
            process.send_signal(signal.SIGTERM)
            assert process.wait(BOUND + BUSY_MACHINE) in (0, -signal.SIGTERM), "".join(log)
            return
        children = family(process.pid)[1:]
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(BOUND + BUSY_MACHINE) in (0, -signal.SIGTERM), "".join(log)
        measured(f"told to end {after_seconds} s after its start, it ended after", time.monotonic() - began)
        until(lambda: not any(alive(child) for child in children), 5)


@pytest.mark.parametrize("after_seconds", [0.0, 0.3, 0.8, 1.3])
def test_told_while_a_worker_is_being_replaced(after_seconds: float, measured: Measured) -> None:
    """A worker that has only begun to start has nobody to give a drain to."""
    with served(listen=listening()) as (process, log, state_dir):
        wait_until_ready(process, log)
        for name, pid in processes(state_dir):
            if name.startswith("worker:"):
                os.kill(pid, signal.SIGKILL)
        time.sleep(after_seconds)
        took = ended(process, log, BOUND + BUSY_MACHINE)
        measured(f"told to end {after_seconds} s after a worker was killed, with a drain of {LONG:g} s, it ended after", took)


@pytest.mark.parametrize("after_seconds", [0.0, 0.4, 0.9, 1.4, 2.5])
def test_told_in_a_rolling_restart(after_seconds: float, measured: Measured) -> None:
    with served(listen=listening(2), admin_api={"port": 0}) as (process, log, _):
        wait_until_ready(process, log)
        process.send_signal(signal.SIGUSR2)
        time.sleep(after_seconds)
        took = ended(process, log, BOUND + BUSY_MACHINE)
        measured(f"told to end {after_seconds} s into a rolling restart, it ended after", took)


@pytest.mark.parametrize("who", ["worker:0", "api", "judge"])
def test_a_process_that_is_stopped_does_not_keep_the_others(who: str, measured: Measured) -> None:
    """SIGSTOP: it hears nothing, closes nothing, and is killed."""
    with served(listen=listening(drain=DRAIN), admin_api={"port": 0}) as (process, log, state_dir):
        wait_until_ready(process, log)
        pids = dict(processes(state_dir))
        if who == "judge":
            (judge,) = psutil.Process(pids["worker:0"]).children()
            os.kill(judge.pid, signal.SIGSTOP)
        else:
            os.kill(pids[who], signal.SIGSTOP)
        took = ended(process, log, BOUND + BUSY_MACHINE)
        measured(f"{who} stopped: all ended after", took)


def test_a_worker_that_dies_in_its_drain_is_not_followed() -> None:
    with served(listen=listening(2, drain=DRAIN)) as (process, log, state_dir):
        wait_until_ready(process, log)
        pids = [pid for _, pid in processes(state_dir)]
        os.kill(pids[0], signal.SIGSTOP)
        process.send_signal(signal.SIGTERM)
        os.kill(pids[0], signal.SIGKILL)
        assert process.wait(BOUND + BUSY_MACHINE) == 0, "".join(log)


def hanging(what: str) -> "subprocess.CompletedProcess[str]":
    program = f"import threading, time\nfrom gateway.ending import end_within\nend_within(0.5)\n{what}"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False)


HANGS = {
    "a wait": "threading.Event().wait()",
    "a thread at the interpreter's end": "threading.Thread(target=time.sleep, args=(30,)).start()",
    "a computation that holds the interpreter": "import re; re.match('(a+)+$', 'a' * 60 + 'b')",
}


@pytest.mark.parametrize("what", HANGS.values(), ids=HANGS)
def test_the_last_resort_says_what_hung(what: str) -> None:
    began = time.monotonic()
    done = hanging(what)
    assert time.monotonic() - began < 10
    assert done.returncode == 1
    assert "Timeout" in done.stderr
    assert "File " in done.stderr


def test_the_last_resort_is_not_in_the_way_of_an_end_in_time() -> None:
    done = hanging("")
    assert (done.returncode, done.stderr) == (0, "")


async def test_a_task_that_takes_its_cancelling_for_something_else_is_told_again() -> None:
    """As drivers do that give up a dead connection at that moment."""
    told = 0

    async def deaf() -> None:
        nonlocal told
        while told < 3:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                told += 1

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    began = time.monotonic()
    await _give_up(task)
    assert task.done()
    assert told == 3
    assert time.monotonic() - began < 2


async def test_a_task_that_never_hears_is_left_alone_in_time() -> None:
    done = asyncio.Event()

    async def deaf() -> None:
        while not done.is_set():
            try:
                await done.wait()
            except asyncio.CancelledError:
                continue

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    began = time.monotonic()
    await _give_up(task)
    assert 1.5 < time.monotonic() - began < 5
    assert not task.done()
    done.set()
    await task


def looks(seen: _Seen, *heard: tuple[bool, int]) -> list[bool]:
    return [seen.is_idle(busy=busy, bytes_in=count) for busy, count in heard]


def test_a_retiring_worker_counts_its_looks() -> None:
    """One that got no CPU for ten seconds has looked once, and did not listen either."""
    talked = _Seen(since=0.0)
    assert looks(talked, (False, 10), *[(False, 10)] * 4) == [False] * 5
    assert looks(talked, (False, 10)) == [True]
    assert looks(talked, (False, 20), *[(True, 20)] * 50, *[(False, 20)] * 4) == [False] * 55
    silent = _Seen(since=0.0)
    answers = looks(silent, *[(False, 0)] * 16)
    assert answers == [False] * 15 + [True], "who has not asked anything yet is given longer"


def test_random_moments(measured: Measured) -> None:
    """Crashes, reloads and rolling restarts as they come, and then the end.

    PGBASTION_ENDINGS asks for more rounds, PGBASTION_SEED for others.
    """
    seed = int(os.environ.get("PGBASTION_SEED", "1"))
    rounds = int(os.environ.get("PGBASTION_ENDINGS", "3"))
    worst = 0.0
    for number in range(rounds):
        chance = random.Random(f"{seed}/{number}")
        with served(listen=listening(2), admin_api={"port": 0}) as (process, log, state_dir):
            wait_until_ready(process, log)
            for _ in range(chance.randint(1, 4)):
                disturb(process, state_dir, chance)()
                time.sleep(chance.choice([0.0, 0.1, 0.5, 1.0]))
            worst = max(worst, ended(process, log, BOUND + BUSY_MACHINE))
    measured(f"the slowest of {rounds} ends", worst)


def disturb(process: "subprocess.Popen[str]", state_dir: Path, chance: random.Random) -> Callable[[], None]:
    def kill_one() -> None:
        pids = [pid for _, pid in processes(state_dir)]
        if pids:
            os.kill(chance.choice(pids), signal.SIGKILL)

    number = chance.choice([signal.SIGHUP, signal.SIGUSR2, None])
    return kill_one if number is None else lambda: process.send_signal(number)


LEAVING = """
import asyncio
from gateway.ending import alone_at_the_end

async def deaf():
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.Event().wait()  # as a driver waits for a thread that has ended

@alone_at_the_end()
async def main():
    kept = [asyncio.create_task(deaf()) for _ in range(3)]
    await asyncio.sleep(0)

asyncio.run(main())
"""


def test_nothing_that_waits_for_good_keeps_a_program_from_ending() -> None:
    done = subprocess.run([sys.executable, "-c", LEAVING], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (0, "")
