"""Many statements judged: lines in, lines out, in order. No input ends it, not even one that would kill the parser."""

import asyncio
import json
import os
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO, Final

from gateway.services.policy import Judging
from gateway.statements.policy import Policy
from gateway.statements.verdict import Facts, Verdict

_CHUNK_BYTES: Final = 256 * 1024
_MAX_LINE_BYTES: Final = 64 * 1024 * 1024
_IN_CHILDREN: Final = 4


async def check_lines(source: int, sink: BinaryIO, policy: Policy) -> None:
    """Answer every line read from the file descriptor `source`. What has been answered is flushed before the next read."""
    judging = Judging(max_statement_bytes=policy.max_statement_bytes)
    waiting: deque[tuple[object, Verdict | asyncio.Future[Verdict]]] = deque()
    in_children = 0
    try:
        for lines in _chunks(source):
            for line in lines:
                identity, sql = _read(line)
                answer = await judging.submit(sql, policy) if isinstance(sql, bytes) else sql
                waiting.append((identity, answer))
                in_children += not isinstance(answer, Verdict)
                if in_children == 0 or in_children > _IN_CHILDREN:
                    await _write(sink, waiting)
                    in_children = 0
            await _write(sink, waiting)
            in_children = 0
            sink.flush()
    finally:
        await judging.close()


async def _write(sink: BinaryIO, waiting: "deque[tuple[object, Verdict | asyncio.Future[Verdict]]]") -> None:
    while waiting:
        identity, answer = waiting.popleft()
        sink.write(_line(identity, answer if isinstance(answer, Verdict) else await answer))


def _line(identity: object, verdict: Verdict) -> bytes:
    fields = {
        "id": identity,
        "allowed": verdict.allowed,
        "rule": verdict.rule,
        "sqlstate": verdict.sqlstate,
        "message": verdict.message,
    }
    try:
        return json.dumps(fields, allow_nan=False).encode() + b"\n"
    except (ValueError, RecursionError):  # an id that JSON can read but not write: 1e999, or too deep
        return json.dumps({**fields, "id": None}).encode() + b"\n"


def _read(line: bytes | None) -> tuple[object, bytes | Verdict]:
    """The id (None when it cannot be read) and the text, or why there is none. `line` is None when it was too long."""
    if line is None:
        return None, _invalid(f"line is longer than {_MAX_LINE_BYTES} bytes")
    try:
        fields = json.loads(line.decode("utf-8"))
    except RecursionError:
        return None, _invalid("line is JSON nested too deeply")
    except ValueError as error:
        return None, _invalid(f"line is not JSON: {str(error)[:200]}")
    if not isinstance(fields, dict):
        return None, _invalid("line is no JSON object")
    identity, sql = fields.get("id"), fields.get("sql")
    if not isinstance(sql, str):
        return identity, _invalid('line has no text under "sql"')
    # A lone surrogate becomes bytes that are no UTF-8, which the policy refuses by name.
    return identity, sql.encode("utf-8", "surrogatepass")


def _invalid(why: str) -> Verdict:
    return Verdict(False, "invalid-line", Facts(""), "22023", f"{why} (rule invalid-line)")


def _chunks(source: int) -> Iterator[list[bytes | None]]:
    """The whole lines of each read, so that a program on the other side gets its answers as soon as it has asked.

    None stands for a line that was too long to keep.
    """
    parts: list[bytes] = []
    size = 0
    first = True
    while chunk := os.read(source, _CHUNK_BYTES):
        if first:
            chunk, first = chunk.removeprefix(b"\xef\xbb\xbf"), False
        *whole, rest = chunk.split(b"\n")
        ended: list[bytes | None] = [*whole]
        if whole:
            ended[0] = None if size > _MAX_LINE_BYTES else b"".join((*parts, whole[0]))
            parts, size = [], 0
        size += len(rest)
        if size > _MAX_LINE_BYTES:
            parts = []
        elif rest:
            parts.append(rest)
        if ended:
            yield ended
    if size:
        yield [None if size > _MAX_LINE_BYTES else b"".join(parts)]
