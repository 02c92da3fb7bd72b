"""How long a statement waits that nobody has seen before, beyond one that is known.

Only Parse and Sync are sent: PostgreSQL reads the text and neither plans nor runs it, so that little else is in the figure.
"""

import time
from collections.abc import Callable

from tests.bench.proxies.contestant import Contestant
from tests.bench.samples import Metric, percentile
from tests.bench.workloads.statements import fresh_text
from tests.bench.workloads.workload import Readings, Task
from tests.support.wire import SYNC, RawClient, parse


def first_verdict(statement: str) -> Callable[[Contestant, Task], Readings]:
    """New and known texts take turns; the difference of the medians."""

    def measure(contestant: Contestant, task: Task) -> Readings:
        known, new = list[float](), list[float]()
        familiar = fresh_text(statement, "known")
        with contestant.reader.raw() as client:
            _timed(client, familiar)
            until = time.monotonic() + task.seconds
            while time.monotonic() < until:
                new.append(_timed(client, fresh_text(statement, f"{time.monotonic_ns()}")))
                known.append(_timed(client, familiar))
        return {Metric.VERDICT: percentile(new, 0.5) - percentile(known, 0.5)}

    return measure


def _timed(client: RawClient, sql: str) -> float:
    """Seconds. Raises RuntimeError if the text was refused."""
    message = parse(sql) + SYNC
    client.transcript.clear()
    started_at = time.perf_counter()
    answer = client.ask(message)
    took = time.perf_counter() - started_at
    if answer[0].kind != "1":
        raise RuntimeError(f"refused: {answer[0]}")
    return took
