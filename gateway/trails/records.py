"""One record of a trail: its line as written, and what it says."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

JsonValue = None | bool | int | float | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"]

_HEAD: Final = re.compile(rb'\{"at":"([^"\\]{1,40})",(?:"mono":[0-9.]{1,30},"worker":[0-9]{1,9},)?"seq":([0-9]{1,18}),')


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a source goes on: with the record of this number, which was written at this time or (oldest first) later."""

    at: str
    seq: int


@dataclass(frozen=True, slots=True)
class Record:
    """`source`: which worker wrote it ("0", "1", ...), or who else has a file; `seq` counts within it.

    `key` is its place in the order of time: within one source that of the file, also where a clock was set back.
    """

    source: str
    seq: int
    key: str
    line: str
    fields: Mapping[str, JsonValue]


@dataclass(slots=True)
class Faults:
    """Lines that were no records, by file: a crash tears at most the last line of its time, and the trail says so itself."""

    lines: dict[str, int] = field(default_factory=dict)

    def add(self, name: str) -> None:
        self.lines[name] = self.lines.get(name, 0) + 1

    def texts(self) -> list[str]:
        return [f"{name}: {n} line{'s' if n > 1 else ''} torn or not a record, left out" for name, n in self.lines.items()]


def read_head(line: bytes) -> tuple[bytes, int] | None:
    """`at` and `seq` of a line without its line feed; None: not a record. Millions of lines come by here."""
    if found := _HEAD.match(line):
        return found[1], int(found[2])
    fields = read_fields(line)
    if fields is None:
        return None
    at, seq = fields.get("at"), fields.get("seq")
    return (at.encode(), seq) if isinstance(at, str) and isinstance(seq, int) else None


def read_fields(line: bytes) -> Mapping[str, JsonValue] | None:
    """What a line says; None: it is no JSON object."""
    try:
        fields = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None
