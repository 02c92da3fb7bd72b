"""What a running gateway has written to its audit files."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class AuditFiles:
    """Each file is read on from where it was read to: who waits for a record would parse the whole trail again at every look."""

    directory: Path
    _read: dict[tuple[Path, int], tuple[int, list[dict[str, Any]]]] = field(default_factory=dict)  # by path and inode

    def records(self) -> list[dict[str, Any]]:
        """All so far, file by file, in the order written. A line that is not whole yet comes at the next look."""
        found = []
        for path in sorted(self.directory.glob("*.jsonl")):
            with path.open("rb") as file:
                key = path, os.fstat(file.fileno()).st_ino
                size, records = self._read.get(key, (0, []))
                file.seek(size)
                whole, end, _ = file.read().rpartition(b"\n")
            records += [json.loads(line) for line in whole.splitlines()]
            self._read[key] = size + len(whole) + len(end), records
            found += records
        return found
