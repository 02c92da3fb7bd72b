"""Large results and large loads: bytes per second, and the proxy's CPU per byte. Our end reads without looking."""

import time
from collections.abc import Callable
from typing import Final

from tests.bench.proxies.contestant import Contestant
from tests.bench.proxies.ground import WIDE_ROW_BYTES
from tests.bench.samples import Metric
from tests.bench.workloads.workload import Readings, Task
from tests.support.wire import COPY_DONE, RawClient, copy_data, packet, query

_READY: Final = b"Z\x00\x00\x00\x05I"
_BUFFER_BYTES: Final = 1 << 18
_PATIENCE_SECONDS: Final = 60.0
_LOAD_BYTES: Final = 32_000_000
_CHUNK_ROWS: Final = 60


def drain(client: RawClient, buffer: bytearray) -> int:
    """Bytes up to an idle ReadyForQuery at the end of what came. Raises RuntimeError for an error, or when the peer closes."""
    client.sock.settimeout(_PATIENCE_SECONDS)
    total, tail = 0, b""
    while tail != _READY:
        size = client.sock.recv_into(buffer)
        if size == 0:
            raise RuntimeError("the connection was closed in the middle of a result")
        if total == 0 and buffer[:1] == b"E":
            raise RuntimeError(f"refused: {bytes(buffer[:300])!r}")
        tail = (tail + bytes(buffer[max(size - len(_READY), 0) : size]))[-len(_READY) :]
        total += size
    return total


def receiving(sql: str) -> Callable[[Contestant, Task], Readings]:
    """Ask for the same large result until the time is over."""

    def once(client: RawClient, buffer: bytearray) -> int:
        client.send(query(sql))
        return drain(client, buffer)

    def measure(contestant: Contestant, task: Task) -> Readings:
        with contestant.reader.raw() as client:
            return _repeat(contestant, task, client, once)

    return measure


def sending() -> Callable[[Contestant, Task], Readings]:
    """COPY FROM into a table that keeps nothing."""
    row = b"1000001\t" + b"x" * (WIDE_ROW_BYTES - 14) + b"\n"
    chunk = copy_data(row * _CHUNK_ROWS)
    count = _LOAD_BYTES // len(chunk)

    def once(client: RawClient, buffer: bytearray) -> int:
        client.send(query("COPY sink FROM STDIN WHERE false"))
        answer = client.read()
        if answer.kind != "G":
            raise RuntimeError(f"refused: {answer}")
        client.sock.settimeout(_PATIENCE_SECONDS)
        for _ in range(count):
            client.sock.sendall(chunk)
        client.sock.sendall(COPY_DONE)
        drain(client, buffer)
        return count * len(chunk)

    def measure(contestant: Contestant, task: Task) -> Readings:
        with contestant.writer.raw() as client:
            return _repeat(contestant, task, client, once)

    return measure


def _repeat(contestant: Contestant, task: Task, client: RawClient, once: Callable[[RawClient, bytearray], int]) -> Readings:
    buffer = bytearray(_BUFFER_BYTES)
    before, started_at, total = contestant.cpu(), time.monotonic(), 0
    while (took := time.monotonic() - started_at) < task.seconds:
        total += once(client, buffer)
    used = contestant.cpu().seconds_since(before)
    client.send(packet("X"))
    found = {Metric.BYTES: total / took}
    if not contestant.is_direct:
        found[Metric.CPU_PER_BYTE] = used / total
    return found
