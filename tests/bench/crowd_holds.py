"""How long thousands of live sessions hold their worker's event loop, in ms of the thread's own CPU time; one command.

    python -m tests.bench.crowd_holds [--sessions 1000 5000 9900]

Real sessions under the real reconciler, whose connections lead nowhere (`tests/support/crowd.py`): what the kernel and uvloop do
for a connection is not in it. A turn is what passes between two turns of a task that always wants the next one. Of some rounds the
least is printed: where the machine is not this program's alone, its time counts as the thread's. Nothing here asserts a time.
"""

import argparse
import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

import structlog
import uvloop

from gateway.bus.lines import Message
from gateway.proxy.collecting import collect_the_young
from gateway.proxy.errands import Errands
from tests.support.crowd import Crowd, crowd, writing

_IDLE_SECONDS: Final = 3.0
_WATCHED_SECONDS: Final = 1.5

#: What was done; the longest turn, and all turns with anything to do, in ms; None: not measured.
Row: TypeAlias = tuple[str, float | None, float | None]


@dataclass
class _Turns:
    """Of the loop, while they are watched: how long the longest was, and what all of them took, in seconds."""

    longest: float = 0.0
    total: float = 0.0
    empty: float = field(default=0.0)  # what a turn takes in which there is nothing to do

    async def watch(self, over: Callable[[], bool]) -> None:
        until = time.monotonic() + _WATCHED_SECONDS
        while not over() and time.monotonic() < until:
            before = time.thread_time()
            await asyncio.sleep(0)
            took = time.thread_time() - before
            self.longest = max(self.longest, took)
            if took > 0.0002:
                self.total += took


def _never() -> bool:
    return False


async def _row(name: str, work: Callable[[], Any], over: Callable[[], bool] = _never) -> Row:
    turns = _Turns()
    watching = asyncio.create_task(turns.watch(over))
    await asyncio.sleep(0.05)
    found = work()
    if isinstance(found, Awaitable):
        await found
    await watching
    return name, turns.longest * 1e3, turns.total * 1e3


async def _idle(name: str) -> Row:
    before = time.thread_time()
    await asyncio.sleep(_IDLE_SECONDS)
    return name, None, (time.thread_time() - before) / _IDLE_SECONDS * 1e3


def _full_collection() -> Row:
    before = time.thread_time()
    gc.collect()
    return "all objects looked through for cycles", (time.thread_time() - before) * 1e3, None


async def _list_all(found: Crowd) -> None:
    errands = Errands()
    errands.attach(found.worker, None)  # type: ignore[arg-type]  # which nobody asks here
    answer = errands.handlers["sessions"](Message("anonymous:1", "sessions", {}))
    if isinstance(answer, Awaitable):
        await answer


def _judged_by_another(found: Crowd) -> None:
    """As the entry of a catalog says who holds it."""
    found.worker.registry.suspect(dict(found.worker.registry.sessions))


def _other_settings(found: Crowd) -> None:
    """As a worker does that was given some."""
    found.worker.policies.forget()
    found.reconciler.ask_again()


async def _measure(sessions: int) -> list[Row]:
    pauses: list[float] = []
    began = 0.0

    def note(phase: str, _: object) -> None:
        nonlocal began
        if phase == "start":
            began = time.thread_time()
        else:
            pauses.append(time.thread_time() - began)

    tomorrow = datetime.now(UTC) + timedelta(days=1)
    with crowd() as found:
        gc.callbacks.append(note)
        await found.grow(sessions)
        rows: list[Row] = [("longest search for cycles while they came", max(pauses, default=0) * 1e3, None)]
        gc.callbacks.remove(note)
        rows.append(await _idle("they rest, without an end (ms in a second)"))
        rows.append(await _row("the store changed, all keep their right", lambda: found.store.publish(writing())))
        rows.append(await _row("the same, with an end", lambda: found.store.publish(writing(tomorrow))))
        rows.append(await _row("another catalog is in force", lambda: _judged_by_another(found)))
        rows.append(await _row("other settings are in force", lambda: _other_settings(found)))
        rows.append(await _idle("they rest, with an end (ms in a second)"))
        rows.append(await _row("all are listed", lambda: _list_all(found)))
        rows.append(_full_collection())
        locked = writing(lockdown="x")
        rows.append(await _row("a lockdown ends all", lambda: found.store.publish(locked), lambda: not found.live))
    soon = datetime.now(UTC) + timedelta(seconds=1)
    with crowd(writing(soon + timedelta(days=1))) as found:
        await found.grow(sessions)
        soon = datetime.now(UTC) + timedelta(seconds=1)
        found.store.publish(writing(soon))
        await asyncio.sleep(0.6)
        rows.append(await _row("the grant of all ends by the clock", lambda: None, lambda: not found.live))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, nargs="*", default=[1000, 5000, 9900])
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    collect_the_young()
    for sessions in given.sessions:
        print(f"\n| {sessions:,} sessions | longest turn, ms | all, ms |\n|---|---|---|")
        rounds = [uvloop.run(_measure(sessions)) for _ in range(given.rounds)]
        for same in zip(*rounds, strict=True):
            print(f"| {same[0][0]} | {_least(row[1] for row in same)} | {_least(row[2] for row in same)} |", flush=True)


def _least(values: Iterable[float | None]) -> str:
    found = [value for value in values if value is not None]
    return f"{min(found):.1f}" if found else ""


if __name__ == "__main__":
    main()
