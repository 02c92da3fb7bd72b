"""What a grant carries that an access request led to. Pure facts; `authorize` and the statement policy give them their meaning."""

from dataclasses import dataclass
from enum import StrEnum


class Command(StrEnum):
    """What a statement does to a relation."""

    SELECT = "select"
    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    MERGE = "merge"
    TRUNCATE = "truncate"


@dataclass(frozen=True, slots=True, order=True)
class Operation:
    """One command on one relation; the names as the server keeps them."""

    command: Command
    schema: str
    table: str


@dataclass(frozen=True, slots=True)
class Only:
    """All that may be run: these statements (SHA-256 of their parse trees in hexadecimal, see statements/sameness.py), or these
    operations. Exactly one of the two is not empty.
    """

    statements: frozenset[str] = frozenset()
    operations: frozenset[Operation] = frozenset()

    def __post_init__(self) -> None:
        if bool(self.statements) == bool(self.operations):
            raise ValueError("either statements or operations")


@dataclass(frozen=True, slots=True, order=True)
class Backer:
    """Somebody whose yes carries the grant, for as long as they are still one of these: ids of admin roles, groups and users."""

    user_id: str
    as_one_of: tuple[str, ...]
