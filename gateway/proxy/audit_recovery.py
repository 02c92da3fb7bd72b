"""What outlives a fault: records that could not be written yet, and what a worker's former life left undone when it was killed."""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.audit.events import session_event, session_fragment
from gateway.proxy.audit_file import AuditFile, AuditFileError
from gateway.proxy.audit_journal import left_in

_MAX_SEARCHED_BYTES: Final = 64 * 1024 * 1024  # back from the end: a start must not wait for weeks of trail
_MAX_KEPT_BYTES: Final = 8 * 1024 * 1024
_START: Final = b'"event":"gateway_start"'
_STOP: Final = b'"event":"gateway_stop"'
# In a JSON string a quote is escaped, so no text in a record can look like this.
_SESSION: Final = re.compile(rb'"event":"session_(start|end)","session":"([^"\\]*)"')
_FIELDS: Final = ("session", "user", "address", "target", "mode", "application")


class Backlog:
    """Lines that wait until the trail can be written again, up to a bound; the others are counted."""

    def __init__(self) -> None:
        self._kept: list[bytes] = []
        self.size = 0
        self.dropped = 0  # records; their numbers will be missing in the trail

    @property
    def lines(self) -> bytes:
        return b"".join(self._kept)

    def keep(self, lines: bytes, count: int) -> None:
        if self.size + len(lines) > _MAX_KEPT_BYTES:
            self.dropped += count
            return
        self._kept.append(lines)
        self.size += len(lines)

    def keep_first(self, lines: list[bytes]) -> None:
        """What was written before all of these, but perhaps never reached the disk: whatever its size."""
        self._kept[:0] = lines
        self.size = sum(map(len, self._kept))


@dataclass(frozen=True, slots=True)
class Settled:
    """What was found: lines for the file, the number of the last record of all, bytes of records that were torn or damaged."""

    lines: bytes
    last_seq: int
    torn_bytes: int


def settle_journal(path: Path, file: AuditFile) -> Settled:
    """What a killed worker left in its journal goes into its file. Raises AuditFileError; the file is closed then."""
    last_seq = file.last_seq
    try:
        left, damaged = left_in(path, last_seq)
        if left:
            file.mend(left)
            file.write(left)
            last_seq = json.loads(left.splitlines()[-1])["seq"]
    except (OSError, ValueError) as error:
        file.close()
        raise AuditFileError(f"what the journal {path} holds cannot be added to the audit trail: {error}") from error
    return Settled(left, last_seq, file.torn_bytes + damaged)


def end_crashed_sessions(files: Sequence[Path]) -> list[bytes]:
    """Record bodies that end, with the reason "crash", the sessions which the last life of a worker left open.

    `files` are the worker's, newest first. Nothing when it ended properly, or never ran. Raises OSError.
    """
    open_sessions: dict[bytes, bytes] = {}
    for region in reversed(_regions_of_last_life(files)):
        for found in _SESSION.finditer(region):
            if found[1] == b"end":
                open_sessions.pop(found[2], None)
            else:
                begin, end = region.rfind(b"\n", 0, found.start()) + 1, region.find(b"\n", found.end())
                open_sessions[found[2]] = region[begin : end if end >= 0 else len(region)]
    return [body for line in open_sessions.values() if (body := _end_of(line)) is not None]


def _regions_of_last_life(files: Sequence[Path]) -> list[bytes]:
    """Newest first, back to the last start; empty when the last life was ended properly."""
    regions: list[bytes] = []
    budget = _MAX_SEARCHED_BYTES
    for path in files:
        data = _end_of_file(path, budget)
        start = data.rfind(_START)
        if data.rfind(_STOP) > start:
            return []
        regions.append(data[max(start, 0) :])
        budget -= len(data)
        if start >= 0 or budget <= 0:
            break
    return regions


def _end_of_file(path: Path, length: int) -> bytes:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size <= length:
            return file.read()
        file.seek(size - length)
        return file.read()


def _end_of(line: bytes) -> bytes | None:
    try:
        fields = json.loads(line)
    except ValueError:  # the torn last line
        return None
    fragment = session_fragment(*(str(fields.get(name, "")) for name in _FIELDS))
    return session_event("session_end", fragment, {"reason": "crash"})
