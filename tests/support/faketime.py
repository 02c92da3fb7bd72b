"""A wall clock that can be set, for a whole gateway: every process of it reads the offset from one file, at most a second later.

It is libfaketime (Debian: faketime). The monotonic clock stays the machine's own.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.doors import missing

_PLACES = (
    "/usr/lib/*/faketime/libfaketimeMT.so.1",
    "/usr/lib*/faketime/libfaketimeMT.so.1",
    "/usr/local/lib/faketime/libfaketimeMT.so.1",
)


class WallClock:
    """`step` moves it, by so many seconds against the true time, within a second."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.step(0)

    def step(self, seconds: int) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}s\n")
        new.replace(self._file)


@contextlib.contextmanager
def settable_clock(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WallClock]:
    """Every process that is started inside has this clock."""
    found = [path for place in _PLACES for path in sorted(Path("/").glob(place.lstrip("/")))]
    if not found:
        missing("libfaketime", "faketime")
    clock = WallClock(directory / "clock")
    with monkeypatch.context() as patch:
        for name, value in {
            "LD_PRELOAD": " ".join(filter(None, (str(found[0]), os.environ.get("LD_PRELOAD", "")))),
            "FAKETIME_TIMESTAMP_FILE": str(directory / "clock"),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
            "NO_FAKE_STAT": "1",
        }.items():
            patch.setenv(name, value)
        yield clock
