"""Who connected, by PostgreSQL's own log: csvlog, jsonlog, or lines with a prefix that holds [process], as the default does. Pure.

The server writes these lines with `log_connections = on`. When one was written it says in its own words; they are kept.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

_RECEIVED: Final = re.compile(r"connection received: host=(\S+)")
_AUTHORIZED: Final = re.compile(
    r"connection authorized: user=(?P<role>.*?)(?: database=(?P<database>.*?))?(?: application_name=(?P<application>.*?))?"
    r"(?: SSL enabled \(.*\))?(?: GSS \(.*\))?$"
)
_PROCESS: Final = re.compile(r"\[(\d+)\]")
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?(?: [A-Za-z0-9+:_/-]+)?")
_CSV_COLUMNS: Final = 14  # up to the message; newer servers have more


@dataclass(frozen=True, slots=True)
class Connected:
    """Somebody was let in. `at`: as the log has it."""

    at: str
    role: str
    database: str
    address: str
    application: str


@dataclass(frozen=True, slots=True)
class Past:
    """The same, of all that were alike: so many, from the first to the last."""

    role: str
    database: str
    address: str
    application: str
    connections: int
    first: str
    last: str


def read_connections(lines: Iterable[str]) -> Iterator[Connected]:
    """Whatever is not about connections is passed over."""
    addresses: dict[str, str] = {}  # by process
    for line in _messages(lines):
        received = _RECEIVED.match(line.message)
        if received is not None:
            addresses[line.process] = _address(received[1])
            continue
        authorized = _AUTHORIZED.match(line.message)
        if authorized is not None:
            address = addresses.pop(line.process, "") or line.address
            parts = (authorized["role"], authorized["database"] or "", address, authorized["application"] or "")
            yield Connected(line.at, *parts)


def summed(found: Iterable[Connected]) -> list[Past]:
    """Who came most, first."""
    groups: dict[tuple[str, str, str, str], list[str]] = {}
    for each in found:
        groups.setdefault((each.role, each.database, each.address, each.application), []).append(each.at)
    past = [Past(*key, len(ats), min(ats), max(ats)) for key, ats in groups.items()]
    return sorted(past, key=lambda each: (-each.connections, each.role, each.address))


@dataclass(frozen=True, slots=True)
class _Message:
    at: str
    process: str
    address: str
    message: str


def _messages(lines: Iterable[str]) -> Iterator[_Message]:
    for line in lines:
        if line.startswith("{"):
            found = _of_json(line)
        elif '","' in line or line.count(",") >= _CSV_COLUMNS - 1:
            found = _of_csv(line)
        else:
            found = _of_text(line)
        if found is not None:
            yield found


def _of_json(line: str) -> _Message | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    if not isinstance(row, dict):
        return None
    texts = [str(row.get(key, "")) for key in ("timestamp", "pid", "remote_host", "message")]
    return _Message(texts[0], texts[1], _address(texts[2]), texts[3])


def _of_csv(line: str) -> _Message | None:
    """Our lines stand on one line each; the rest of a statement over several is passed over."""
    try:
        row = next(csv.reader(io.StringIO(line)), [])
    except csv.Error:
        return None
    if len(row) < _CSV_COLUMNS:
        return _of_text(line)
    return _Message(row[0], row[3], _address(row[4].rpartition(":")[0] if row[4] else ""), row[13])


def _of_text(line: str) -> _Message | None:
    head, mark, message = line.partition("LOG:")
    process, instant = _PROCESS.search(head), _INSTANT.search(head)
    if not mark or process is None:
        return None
    return _Message("" if instant is None else instant[0], process[1], "", message.strip())


def _address(text: str) -> str:
    return "local" if text == "[local]" else text.strip("[]")
