"""The one word that every ring shares: in which access mode a session runs."""

from enum import StrEnum


class AccessMode(StrEnum):
    """`READ_ONLY` unless the person asked for `target:rw` and holds a grant for it."""

    READ_ONLY = "read_only"
    READ_WRITE = "read_write"
