"""What this process counts itself."""

from collections import Counter
from typing import Final

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class ApiCounts:
    """Answers of this process, by method and status."""

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()

    def answered(self, method: str, status: int) -> None:
        self.answers[method if method in _METHODS else "other", status] += 1
