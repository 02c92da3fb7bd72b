"""The words that every ring shares: in which access mode a session runs, and what its grant adds or takes away."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class AccessMode(StrEnum):
    """`READ_ONLY` unless the person asked for `target:rw` and holds a grant for it."""

    READ_ONLY = "read_only"
    READ_WRITE = "read_write"


class GrantOption(StrEnum):
    """What a grant adds to its access mode, or takes from it. Without any, each mode is at its strictest but for DDL.

    temporary-tables: read_only sessions may create temporary tables and fill those. The others are for read_write sessions:
    no-ddl: rows may change, objects may not. unfiltered-writes: UPDATE and DELETE may come without WHERE. report-only: what
    these rules (and a row ceiling) would refuse is audited and runs.
    """

    TEMPORARY_TABLES = "temporary-tables"
    NO_DDL = "no-ddl"
    UNFILTERED_WRITES = "unfiltered-writes"
    REPORT_ONLY = "report-only"


OPTIONS_OF: Final[Mapping[AccessMode, frozenset[GrantOption]]] = MappingProxyType(
    {
        AccessMode.READ_ONLY: frozenset({GrantOption.TEMPORARY_TABLES}),
        AccessMode.READ_WRITE: frozenset(GrantOption) - {GrantOption.TEMPORARY_TABLES},
    }
)
"""In the sessions of which mode an option means something. (A row ceiling: in read_write ones.)"""

NO_OPTIONS: Final[frozenset[GrantOption]] = frozenset()
"""One for all sessions that have none."""
