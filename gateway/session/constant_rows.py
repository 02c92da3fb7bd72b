"""Rows as a SELECT of constants: what goes upstream in place of a statement that the gateway answers. Pure.

PostgreSQL then sends them as it sends any rows, so that Describe, formats, portals and transactions are its own. Everything in the
text is qualified or a literal, so that nothing in the database can change what it means.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, TypeAlias

from gateway.quoting import literal, quoted, quoted_all


class Kind(StrEnum):
    """A column's type, as pg_catalog has it."""

    TEXT = "text"
    TEXTS = "_text"
    INTEGER = "int4"
    LARGE = "int8"
    INSTANT = "timestamptz"
    TRUTH = "bool"


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    kind: Kind = Kind.TEXT


Value: TypeAlias = str | int | bool | datetime | tuple[str, ...] | None
Row: TypeAlias = tuple[Value, ...]

#: A setting that nobody has: where a statement is described and not run.
_UNANSWERED: Final = "pgbastion.answers_only_who_sends_it"


def select_of(name: str, columns: tuple[Column, ...], rows: tuple[Row, ...]) -> bytes:
    """The text. `name`: of the whole, for who reads the server's log. Instants are aware; no text has a NUL."""
    if not rows:
        return f"SELECT {_nothing(columns)} WHERE false".encode()
    lines = ", ".join(
        f"({', '.join(_constant(value, column) for value, column in zip(row, columns, strict=True))})" for row in rows
    )
    return f"SELECT * FROM (VALUES {lines}) AS {quoted(name)} ({quoted_all(column.name for column in columns)})".encode()  # noqa: S608


def unanswered(columns: tuple[Column, ...]) -> bytes:
    """One with the same columns, that can be prepared and described, and fails when it is run."""
    return f"SELECT {_nothing(columns)} WHERE pg_catalog.current_setting({literal(_UNANSWERED)}) IS NULL".encode()


def _nothing(columns: tuple[Column, ...]) -> str:
    return ", ".join(f"{_cast('NULL', column)} AS {quoted(column.name)}" for column in columns)


def _constant(value: Value, column: Column) -> str:
    match value:
        case None:
            return _cast("NULL", column)
        case bool():
            return _cast("true" if value else "false", column)
        case int():
            return _cast(str(value), column)
        case datetime():
            return _cast(literal(value.isoformat()), column)
        case str():
            return _cast(literal(value.replace("\0", "")), column)
        case tuple():
            return _cast(f"ARRAY[{', '.join(_constant(each, Column('')) for each in value)}]", column)


def _cast(text: str, column: Column) -> str:
    return f"CAST({text} AS pg_catalog.{quoted(column.kind)})"
