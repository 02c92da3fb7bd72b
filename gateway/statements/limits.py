"""How far things go: what a session may raise its own settings to, and how large a text may be. An admin's to set.

Amounts are read the way PostgreSQL reads them in its own settings: a number with a unit, or in the setting's own unit.
"""

import re
from dataclasses import dataclass
from typing import Final

MILLISECONDS: Final = {"": 1.0, "us": 0.001, "ms": 1.0, "s": 1e3, "min": 6e4, "h": 3.6e6, "d": 8.64e7}
KILOBYTES: Final = {"": 1.0, "B": 1 / 1024, "kB": 1.0, "MB": 1024.0, "GB": 1024.0**2, "TB": 1024.0**3}
PLAIN: Final = {"": 1.0}
_NUMBER: Final = re.compile(r"\s*\+?([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([A-Za-z]*)\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Caps:
    """How far a read-only session may raise its own limits. The timeout (of each kind) is in milliseconds, memory in kB.

    `statement_milliseconds`: the grant's limit for a statement, in either access mode; None: it has none.
    """

    timeout_milliseconds: int = 24 * 3600 * 1000
    work_mem_kilobytes: int = 1024 * 1024
    hash_mem_multiplier: float = 8.0
    parallel_workers: int = 8
    statement_milliseconds: int | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a text may be made of, besides its length. `nesting` counts brackets within brackets, ( and [ alike.

    Where the numbers come from: docs/operations.md, "Limits of a statement".
    """

    tokens: int = 500_000
    nesting: int = 1_000
    comment_depth: int = 32


def amount(value: str, units: dict[str, float]) -> float | None:
    """A plain decimal number with a unit. The server takes more forms (0x10, 1e3, 010): those are None, like any other text."""
    found = _NUMBER.fullmatch(value)
    if (
        not found
        or found[2] not in units
        or len(found[1]) > 20
        or (len(found[1]) > 1 and found[1][0] == "0" and "." not in found[1])
    ):
        return None
    return float(found[1]) * units[found[2]]
