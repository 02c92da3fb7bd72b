"""Which sessions are to be asked again by the clock alone, and when: who is not due is not touched.

There is one clock for it (`rights_clock`), which follows the wall clock on and the steady one over whatever sets that back. It
never goes back, so that what it has passed is due for good.
"""

from datetime import datetime
from heapq import heapify, heappop, heappush
from typing import Final

_FORGOTTEN_KEPT: Final = 64
_NOBODY: Final[set[str]] = set()


class Instants:
    """For each name at most one instant. Sessions of one grant have the same: they share an entry."""

    __slots__ = ("_at", "_heap", "_names")

    def __init__(self) -> None:
        self._at: dict[str, datetime] = {}
        self._names: dict[datetime, set[str]] = {}
        self._heap: list[datetime] = []  # of all that are keys of `_names`, and of some that were

    def __len__(self) -> int:
        return len(self._at)

    def put(self, name: str, at: datetime | None) -> None:
        """In place of what was there before. None: it waits for nothing."""
        before = self._at.get(name)
        if before == at:
            return
        if before is not None:
            self._remove(name, before)
        if at is None:
            return
        self._at[name] = at
        if (names := self._names.get(at)) is not None:
            names.add(name)
        else:
            self._names[at] = {name}
            heappush(self._heap, at)

    def take(self, now: datetime, most: int) -> list[str]:
        """Who is due, the earliest first; at most so many, and the others the next time. They wait for nothing any more."""
        due: list[str] = []
        heap = self._heap
        while heap and heap[0] <= now and len(due) < most:
            names = self._names.get(heap[0], _NOBODY)
            room = most - len(due)
            if len(names) > room:
                due.extend(names.pop() for _ in range(room))
                break
            due.extend(names)
            self._names.pop(heappop(heap), None)
        for name in due:
            del self._at[name]
        return due

    def _remove(self, name: str, at: datetime) -> None:
        del self._at[name]
        names = self._names[at]
        names.discard(name)
        if names:
            return
        del self._names[at]
        if len(self._heap) > 2 * len(self._names) + _FORGOTTEN_KEPT:
            self._heap = list(self._names)
            heapify(self._heap)
