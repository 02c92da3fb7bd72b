"""Names of functions, operators and types: PostgreSQL's own and safe, listed for the target, or refused."""

from dataclasses import dataclass
from typing import Final

from gateway.statements import refusal
from gateway.statements.catalogue import (
    OPERATORS,
    REFUSED_ARGUMENT_COUNTS,
    REFUSED_FUNCTIONS,
    SAFE_FUNCTIONS,
)
from gateway.statements.refusal import Refusal

_OWN_SCHEMAS: Final = frozenset({"pg_catalog", "information_schema"})
# What the grammar itself puts into the operator field of an A_Expr.
_OPERATOR_WORDS: Final = frozenset({"BETWEEN", "NOT BETWEEN", "BETWEEN SYMMETRIC", "NOT BETWEEN SYMMETRIC"})
_SAFE_OPERATORS: Final = OPERATORS | _OPERATOR_WORDS


def shown(parts: tuple[str, ...]) -> str:
    return ".".join(parts)


@dataclass(frozen=True, slots=True)
class Listed:
    """What a target lists: "schema.name" and "schema.*". `schemas`: what search_path may name."""

    entries: frozenset[str]
    schemas: frozenset[str]

    def has(self, schema: str | None, name: str) -> bool:
        """True when the name is listed. Unqualified: some entry has this name, or every reachable schema is listed whole."""
        if not self.entries or "." in name or (schema is not None and "." in schema):
            return False
        if schema is not None:
            # pg_temp objects are made by the session itself: never listable.
            return not schema.startswith("pg_temp") and (f"{schema}.{name}" in self.entries or f"{schema}.*" in self.entries)
        if any(entry.partition(".")[2] == name for entry in self.entries):
            return True
        return bool(self.schemas) and all(f"{reachable}.*" in self.entries for reachable in self.schemas)


def split(parts: tuple[str, ...]) -> tuple[str | None, str]:
    """Schema (None: unqualified) and name. Of `db.schema.name` the database counts for nothing: the server checks it."""
    return (parts[-2] if len(parts) > 1 else None), parts[-1]


def check_function(parts: tuple[str, ...], arguments: int, listed: Listed, offset: int | None) -> Refusal | None:
    """A call by name. `set_config` has rules of its own and must not come here."""
    schema, name = split(parts)
    if schema is None or schema in _OWN_SCHEMAS:
        if name in SAFE_FUNCTIONS:
            if REFUSED_ARGUMENT_COUNTS.get(name) == arguments:
                return refusal.known_function(shown(parts), "text" if name == "ts_rewrite" else "internal", offset)
            return None
        why = REFUSED_FUNCTIONS.get(name)
        if schema is not None:
            return refusal.known_function(shown(parts), why or "internal", offset)
        if listed.has(None, name):
            return None
        if why is not None:
            return refusal.known_function(shown(parts), why, offset)
        return refusal.unknown_name("function", name, f"<schema>.{name}", offset)
    if listed.has(schema, name):
        return None
    return refusal.unknown_name("function", shown(parts), f"{schema}.{name}", offset)


def check_operator(parts: tuple[str, ...], listed: Listed, offset: int | None) -> Refusal | None:
    schema, name = split(parts)
    if (schema is None or schema == "pg_catalog") and name in _SAFE_OPERATORS:
        return None
    if listed.has(schema, name):
        return None
    return refusal.unknown_name("operator", shown(parts), f"{schema or '<schema>'}.{name}", offset)


def check_type(parts: tuple[str, ...], listed: Listed, offset: int | None) -> Refusal | None:
    """A type by name. Unqualified names pass: without the catalog, enums and domains look alike."""
    schema, name = split(parts)
    if schema is None or schema in _OWN_SCHEMAS or listed.has(schema, name):
        return None
    return refusal.unknown_name("type", shown(parts), f"{schema}.{name}", offset)
