"""What a grant opens that an access request led to: certain statements, certain operations on relations, and nothing else."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.statements.granted_relations import GrantedRelations

SELECT: Final = "select"
INSERT: Final = "insert"
UPDATE: Final = "update"
DELETE: Final = "delete"
MERGE: Final = "merge"
TRUNCATE: Final = "truncate"
COMMANDS: Final = (SELECT, INSERT, UPDATE, DELETE, MERGE, TRUNCATE)

_SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class OnlyThese:
    """What may be run is what is in either: `statements` are SHA-256 of parse trees in hexadecimal (see `sameness`), `operations`
    hold (command, schema, table), names as the server keeps them.
    """

    statements: frozenset[str] = frozenset()
    operations: frozenset[tuple[str, str, str]] = frozenset()

    @property
    def readable(self) -> GrantedRelations:
        """The relations that may be read."""
        tables = frozenset((schema, name) for command, schema, name in self.operations if command == SELECT)
        return GrantedRelations(frozenset(), tables, asked_for=True)

    @property
    def key(self) -> list[list[str]]:
        """The same as plain lists, the statements first: what JSON can carry, equal for equal values."""
        return [sorted(self.statements), *(list(each) for each in sorted(self.operations))]

    @classmethod
    def from_key(cls, key: Sequence[Sequence[str]]) -> "OnlyThese":
        """The reverse of `key`. Raises ValueError and TypeError."""
        statements, *operations = key
        return cls(
            frozenset(map(str, statements)), frozenset((str(each[0]), str(each[1]), str(each[2])) for each in operations)
        )

    def in_words(self) -> str:
        """The operations, for a hint."""
        return operations_in_words(self.operations)

    def named(self, command: str, name: str) -> list[str]:
        """The relations with this name on which the command is open, with their schemas."""
        return sorted(f"{each[1]}.{each[2]}" for each in self.operations if (each[0], each[2]) == (command, name))


def operations_in_words(operations: Iterable[tuple[str, str, str]]) -> str:
    """ "select app.orders, app.lines; update app.orders"; "nothing" for none."""
    tables: dict[str, list[str]] = {}
    for command, schema, name in sorted(operations):
        tables.setdefault(command, []).append(f"{schema}.{name}")
    parts = [
        f"{command} {', '.join(tables[command][:_SHOWN])}{_more(len(tables[command]))}"
        for command in COMMANDS
        if command in tables
    ]
    return "; ".join(parts) or "nothing"


def _more(count: int) -> str:
    return f" and {count - _SHOWN} more" if count > _SHOWN else ""
