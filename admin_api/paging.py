"""Pages of a listing. A cursor is opaque, and holds where the page before it ended, not how many there were."""

import base64
import binascii
import bisect
import json
from collections.abc import Callable, Sequence
from typing import Annotated, Final, TypeVar

from fastapi import Depends, Query

from admin_api.problems import ApiError

T = TypeVar("T")
Key = tuple[str, ...]

MAX_LIMIT: Final = 1000
_DEFAULT_LIMIT: Final = 100
_MAX_CURSOR_CHARACTERS: Final = 2000


class Slice:
    """Which part of a listing was asked for."""

    def __init__(self, limit: int, after: Key | None) -> None:
        self._limit = limit
        self._after = after

    def of(self, items: Sequence[T], key: Callable[[T], Key]) -> tuple[list[T], str | None]:
        """The page and the cursor of the next one. `key` is unique, and what the listing is sorted by."""
        ordered = sorted(items, key=key)
        start = 0 if self._after is None else bisect.bisect_right(ordered, self._after, key=key)
        page = ordered[start : start + self._limit]
        more = start + self._limit < len(ordered)
        return page, encode(key(page[-1])) if more and page else None

    @property
    def limit(self) -> int:
        return self._limit

    @property
    def after(self) -> Key | None:
        """The key of the last item of the page before."""
        return self._after


def slice_of(
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="At most so many items.")] = _DEFAULT_LIMIT,
    after: Annotated[str | None, Query(max_length=_MAX_CURSOR_CHARACTERS, description="`next` of the page before.")] = None,
) -> Slice:
    return Slice(limit, None if after is None else decode(after))


Paged = Annotated[Slice, Depends(slice_of)]


def encode(key: Key) -> str:
    return base64.urlsafe_b64encode(json.dumps(key, separators=(",", ":")).encode()).decode().rstrip("=")


def decode(cursor: str) -> Key:
    """Raises ApiError for what `encode` did not make."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        key = json.loads(raw)
    except (ValueError, binascii.Error, RecursionError):
        key = None
    if not isinstance(key, list) or not all(isinstance(part, str) for part in key):
        raise ApiError(422, "cursor-invalid", "this cursor does not come from a listing", "Begin without `after`.")
    return tuple(key)
