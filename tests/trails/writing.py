"""A trail as workers write it, with clocks as a test wants them."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Writer:
    """One source's files. Goes on numbering by itself."""

    def __init__(self, directory: Path, source: str = "0") -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.source = source
        self.stem = "admin" if source == "admin" else f"audit-{source}"
        self.seq = 0
        self.at = BEGIN

    @property
    def path(self) -> Path:
        return self.directory / f"{self.stem}.jsonl"

    def write(self, *records: dict[str, Any], seconds: float = 1.0) -> list[dict[str, Any]]:
        """Each `seconds` after the one before it."""
        return [self._write(record, seconds) for record in records]

    def rotate(self) -> None:
        self.path.rename(self.directory / f"{self.stem}-{self.at:%Y%m%dT%H%M%SZ}-{self.seq}.jsonl")

    def raw(self, data: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(data)

    def line(self, record: dict[str, Any], seq: int) -> bytes:
        at = self.at.isoformat(timespec="microseconds").replace("+00:00", "Z")
        own: dict[str, Any] = {"at": at, "mono": 1.5, "worker": int(self.source), "seq": seq} if self.source.isdecimal() else {}
        return json.dumps({**(own or {"at": at, "seq": seq}), **record}, separators=(",", ":")).encode() + b"\n"

    def _write(self, record: dict[str, Any], seconds: float) -> dict[str, Any]:
        self.seq += 1
        self.at += timedelta(seconds=seconds)
        line = self.line(record, self.seq)
        self.raw(line)
        return json.loads(line)
