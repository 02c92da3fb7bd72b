"""Names of functions, operators and types: PostgreSQL's own and safe, listed for the target, or refused."""

from dataclasses import dataclass, field
from typing import Final

from gateway.statements import refusal
from gateway.statements.catalog_objects import Type
from gateway.statements.catalogue import (
    ACTIVITY_FUNCTIONS,
    BUILT_IN_TYPES,
    EXTENSION_FUNCTIONS,
    OPERATORS,
    REFUSED_ARGUMENT_COUNTS,
    REFUSED_FUNCTIONS,
    SAFE_FUNCTIONS,
)
from gateway.statements.granted_relations import GrantedRelations
from gateway.statements.openings import Openings
from gateway.statements.refusal import Refusal

SYSTEM_SCHEMAS: Final = frozenset({"pg_catalog", "information_schema"})
# What the grammar itself puts into the operator field of an A_Expr.
_OPERATOR_WORDS: Final = frozenset({"BETWEEN", "NOT BETWEEN", "BETWEEN SYMMETRIC", "NOT BETWEEN SYMMETRIC"})
_SAFE_OPERATORS: Final = OPERATORS | _OPERATOR_WORDS
_MOST_PASSED: Final = 5_000  # names may be the client's invention


def shown(parts: tuple[str, ...]) -> str:
    return ".".join(parts)


@dataclass(frozen=True, slots=True)
class Listed:
    """What a target lists: "schema.name", "schema.*", "name", "extension:name". `schemas`: where unqualified names may be found,
    besides pg_catalog. `openings`: what that makes of the database's catalog; None: the catalog is not known. `hides_activity`:
    what shows other sessions' activity is closed, whatever is listed. `granted`: the only relations that may be read; None: all.

    `passed` remembers names that the checks below let through, which nothing but the rest decides: (name, number of arguments),
    (name, "operator"), (name, "type").
    """

    entries: frozenset[str]
    schemas: frozenset[str]
    openings: Openings | None = None
    hides_activity: bool = False
    granted: GrantedRelations | None = None
    passed: set[tuple[tuple[str, ...], int | str]] = field(default_factory=set, compare=False, repr=False)

    @property
    def existing_schemas(self) -> frozenset[str]:
        """Those of `schemas` that the database has, as far as that is known."""
        known = self.openings.catalog.schemas if self.openings is not None else frozenset[str]()
        return self.schemas & known if known else self.schemas

    def has(self, schema: str | None, name: str) -> bool:
        """True when the name is listed. Unqualified: some entry has this name, or every reachable schema is listed whole."""
        if not self.entries or "." in name or (schema is not None and "." in schema):
            return False
        if schema is not None:
            # pg_temp objects are made by the session itself: never listable.
            return not schema.startswith("pg_temp") and (f"{schema}.{name}" in self.entries or f"{schema}.*" in self.entries)
        if any(entry.rpartition(".")[2] == name for entry in self.entries):
            return True
        return bool(self.schemas) and all(f"{reachable}.*" in self.entries for reachable in self.schemas)


def split(parts: tuple[str, ...]) -> tuple[str | None, str]:
    """Schema (None: unqualified) and name. Of `db.schema.name` the database counts for nothing: the server checks it."""
    return (parts[-2] if len(parts) > 1 else None), parts[-1]


def _remembered(found: Refusal | None, parts: tuple[str, ...], what: int | str, listed: Listed) -> Refusal | None:
    if found is None and len(listed.passed) < _MOST_PASSED:
        listed.passed.add((parts, what))
    return found


def check_function(parts: tuple[str, ...], arguments: int, listed: Listed, offset: int | None) -> Refusal | None:
    """A call by name. `set_config` has rules of its own and must not come here."""
    return _remembered(_function(parts, arguments, listed, offset), parts, arguments, listed)


def _function(parts: tuple[str, ...], arguments: int, listed: Listed, offset: int | None) -> Refusal | None:
    schema, name = split(parts)
    if listed.hides_activity and name in ACTIVITY_FUNCTIONS:
        return refusal.activity_hidden(f"function {shown(parts)}", ACTIVITY_FUNCTIONS[name], offset)
    if listed.openings is not None and (closed := _closed_function(schema, name, arguments, listed, listed.openings, offset)):
        return closed
    if schema is None or schema in SYSTEM_SCHEMAS:
        if name in SAFE_FUNCTIONS:
            if REFUSED_ARGUMENT_COUNTS.get(name) == arguments:
                return refusal.known_function(shown(parts), "text" if name == "ts_rewrite" else "internal", offset)
            return None
        why = REFUSED_FUNCTIONS.get(name)
        if why is not None and name not in EXTENSION_FUNCTIONS:
            return refusal.known_function(shown(parts), why, offset)
        if arguments == 1 and why is None and name in BUILT_IN_TYPES:
            return None  # a cast written as a call: no function of PostgreSQL's has this name, nor a closed one of users
        if listed.openings is not None and _open_function(schema, name, arguments, listed, listed.openings):
            return None
        if schema is None and listed.has(None, name):
            return None
        if why is not None or schema is not None:
            return refusal.known_function(shown(parts), why or "internal", offset)
        return refusal.unknown_name("function", name, f"<schema>.{name}", offset)
    if listed.has(schema, name):
        return None
    if listed.openings is not None and _open_function(schema, name, arguments, listed, listed.openings):
        return None
    return refusal.unknown_name("function", shown(parts), f"{schema}.{name}", offset)


def _closed_function(
    schema: str | None, name: str, arguments: int, listed: Listed, openings: Openings, offset: int | None
) -> Refusal | None:
    """A function of users that this call may turn out to be, or a cast written as a call."""
    for each in openings.closed_functions.get(name, ()):
        if each.takes(arguments) and (each.schema == schema if schema is not None else _found_in(each.schema, listed)):
            if (kind := openings.closed_types_of.get(each)) is not None:
                return _not_listed_type(kind, offset)
            shown_name = f"{each.schema}.{name}"
            return refusal.unknown_name(
                "function", shown_name if schema is not None else name, shown_name, offset, each.extension
            )
    if arguments == 1:
        cast = openings.casts.targets.get(name)
        if cast is not None and schema in (None, "pg_catalog"):
            return refusal.closed_cast(cast.source_name, cast.target_name, cast.runs.name, offset)
    if name in openings.catalog.types:
        kind = openings.closed_type(schema, name, listed.schemas)
        # One argument: a cast. A range has a constructor of its name.
        if kind is not None and (arguments == 1 or kind.kind in "rm"):
            return refusal.unknown_name("type", f"{kind.schema}.{name}", f"{kind.schema}.{name}", offset, kind.extension)
    return None


def _open_function(schema: str | None, name: str, arguments: int, listed: Listed, openings: Openings) -> bool:
    if schema is not None:
        known = (schema, name) in openings.open_functions
    else:
        known = any((each, name) in openings.open_functions for each in (*listed.schemas, "pg_catalog"))
    # What is no function may be a cast to a type. (A closed one was refused before.)
    return known or (arguments == 1 and openings.has_type(schema, name, listed.schemas))


def _found_in(schema: str, listed: Listed) -> bool:
    """Whether an unqualified name may turn to an object of this schema."""
    return schema in listed.schemas or schema == "pg_catalog"


def check_operator(parts: tuple[str, ...], listed: Listed, offset: int | None) -> Refusal | None:
    return _remembered(_operator(parts, listed, offset), parts, "operator", listed)


def _operator(parts: tuple[str, ...], listed: Listed, offset: int | None) -> Refusal | None:
    schema, name = split(parts)
    openings = listed.openings
    if openings is not None:
        if name in openings.closed_stand_ins and schema in (None, "pg_catalog"):
            each = openings.closed_stand_ins[name]
            shown_name = f"{each.schema}.{each.name}"
            return refusal.unknown_name(
                "operator", f"{shown_name}, which may be taken for {name},", shown_name, offset, each.extension
            )
        if schema is not None:
            closed = openings.closed_operators.get((schema, name))
        else:
            closed = openings.closed_unqualified_operators.get(name)
            if closed is not None and not _found_in(closed.schema, listed):
                closed = None
        if closed is not None:
            if (kind := openings.closed_types_of.get(closed)) is not None:
                return _not_listed_type(kind, offset)
            shown_name = f"{closed.schema}.{closed.name}"
            return refusal.unknown_name(
                "operator", shown(parts) if schema else closed.name, shown_name, offset, closed.extension
            )
    if (schema is None or schema == "pg_catalog") and name in _SAFE_OPERATORS:
        return None
    if listed.has(schema, name):
        return None
    if openings is not None:
        schemas = (schema,) if schema is not None else (*listed.schemas, "pg_catalog")
        if any((each, name) in openings.open_operators for each in schemas):
            return refusal.stale_catalog(f"operator {shown(parts)}", offset) if openings.stale else None
    return refusal.unknown_name("operator", shown(parts), f"{schema or '<schema>'}.{name}", offset)


def _not_listed_type(kind: Type, offset: int | None) -> Refusal:
    name = f"{kind.schema}.{kind.name}"
    return refusal.unknown_name("type", name, name, offset, kind.extension)


def check_type(parts: tuple[str, ...], listed: Listed, offset: int | None) -> Refusal | None:
    """A type by name. Without a catalog unqualified names pass: enums and domains look alike."""
    return _remembered(_type(parts, listed, offset), parts, "type", listed)


def _type(parts: tuple[str, ...], listed: Listed, offset: int | None) -> Refusal | None:
    schema, name = split(parts)
    openings = listed.openings
    if openings is None:
        if schema is None or schema in SYSTEM_SCHEMAS or listed.has(schema, name):
            return None
        return refusal.unknown_name("type", shown(parts), f"{schema}.{name}", offset)
    closed = openings.closed_type(schema, name, listed.schemas)
    if closed is not None:
        return refusal.unknown_name("type", f"{closed.schema}.{name}", f"{closed.schema}.{name}", offset, closed.extension)
    if schema is None or schema in SYSTEM_SCHEMAS:
        cast = openings.casts.targets.get(name)
        if cast is not None:
            return refusal.closed_cast(cast.source_name, cast.target_name, cast.runs.name, offset)
        if schema is not None or name in BUILT_IN_TYPES or name.startswith(("pg_", "_")):
            return None
    if openings.has_type(schema, name, listed.schemas) or listed.has(schema, name):
        return refusal.stale_catalog(f"type {shown(parts)}", offset) if openings.stale else None
    return refusal.unknown_name("type", shown(parts), f"{schema or '<schema>'}.{name}", offset)
