"""One statement of a change, and the one that every kind of row needs: insert, or replace by id. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Column, Executable, Table
from sqlalchemy.dialects import sqlite

from gateway.store.values import Values


@dataclass(frozen=True, slots=True)
class Step:
    """One statement. Without `parameters` it runs once, else once for each (at least one)."""

    statement: Executable
    parameters: Sequence[Values] | None = None


class Upsert:
    """INSERT ... ON CONFLICT, which both databases spell alike and SQLAlchemy does not."""

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect

    def steps(self, table: Table, values: Sequence[Values]) -> Iterator[Step]:
        if values:
            yield Step(self._statement(table, key_of(table).name), values)

    def _statement(self, table: Table, key: str) -> Executable:
        others = [column.name for column in table.columns if column.name != key]
        if self._dialect == "postgresql":
            from sqlalchemy.dialects import postgresql  # takes a while, and nobody needs it who has a file

            for_postgres = postgresql.insert(table)
            return for_postgres.on_conflict_do_update(
                index_elements=[key], set_={name: for_postgres.excluded[name] for name in others}
            )
        for_sqlite = sqlite.insert(table)
        return for_sqlite.on_conflict_do_update(index_elements=[key], set_={name: for_sqlite.excluded[name] for name in others})


def key_of(table: Table) -> Column[str]:
    """The primary key of a table that has one column for it."""
    (column,) = table.primary_key.columns
    return column
