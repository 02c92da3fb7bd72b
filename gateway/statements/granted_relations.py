"""The relations that a grant opens, where it opens only some: whole schemas, and tables by schema and name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class GrantedRelations:
    """Names as the server keeps them: folded, without quotes. `tables` holds (schema, name). `asked_for`: they follow from what an
    access request was granted (see `only_these`).
    """

    schemas: frozenset[str]
    tables: frozenset[tuple[str, str]]
    asked_for: bool = False

    def has(self, schema: str, name: str) -> bool:
        return schema in self.schemas or (schema, name) in self.tables

    @property
    def key(self) -> list[list[str]]:
        """The same as plain lists, the schemas first: what JSON can carry, equal for equal values."""
        return [sorted(self.schemas), *(list(each) for each in sorted(self.tables))]

    @classmethod
    def from_key(cls, key: Sequence[Sequence[str]]) -> "GrantedRelations":
        """The reverse of `key`. Raises ValueError and TypeError."""
        schemas, *tables = key
        return cls(frozenset(map(str, schemas)), frozenset((str(each[0]), str(each[1])) for each in tables))

    def in_words(self) -> str:
        """For a hint."""
        names = [*sorted(f"{schema}.*" for schema in self.schemas), *sorted(".".join(each) for each in self.tables)]
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return ", ".join(names[:_SHOWN]) + more if names else "none"

    def named(self, name: str) -> list[str]:
        """The granted tables with this name, with their schemas."""
        return sorted(".".join(each) for each in self.tables if each[1] == name)
