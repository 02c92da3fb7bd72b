"""What a database's owners put into it, as far as it can run code or reach elsewhere: a value, built from plain rows.

It knows no target's lists: what of it a session may use is the business of `openings.py`.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import Final, TypeVar

from gateway.statements.catalog_objects import (
    FIRST_USER_OID,
    Cast,
    Function,
    FunctionUse,
    Operator,
    Relation,
    Type,
    function_of,
    number,
    operator_of,
    relations_of,
    types_of,
    use_of,
)
from gateway.statements.catalog_rows import CatalogRows
from gateway.statements.settings import split_identifiers

__all__ = ["FIRST_USER_OID", "Catalog", "CatalogError", "build_catalog"]

_ROWS_AT_ONCE: Final = 200


class CatalogError(Exception):
    """Rows that no query of ours could have answered."""


@dataclass(frozen=True)
class Catalog:
    """`revision` is a digest of the content, `stale` says that it is too old to be relied on. Equal by revision.

    (Without slots: what is asked for often is worked out once.)
    """

    rows: CatalogRows
    server_major: int
    revision: str
    stale: bool = False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Catalog) and self.revision == other.revision

    def __hash__(self) -> int:
        return hash(self.revision)

    def as_stale(self) -> "Catalog":
        """The same, too old to be relied on: what depends on users' objects is refused (rule catalog-stale)."""
        return replace(self, stale=True, revision=f"{self.revision}-stale")

    @cached_property
    def path(self) -> frozenset[str]:
        """The schemas that sessions of this login start with in search_path, or come back to by RESET; and the one of their own
        name, since anybody may set "$user".
        """
        found: set[str] = set()
        for user, login, *values in self.rows.path:
            found |= {user or "", login or ""}
            for value in values:
                names = split_identifiers(value or "")
                if names is None:
                    raise ValueError("search_path is no list of names")
                found.update(names)
        return frozenset(found) - {"$user", "pg_catalog", "pg_temp"}

    @cached_property
    def schemas(self) -> frozenset[str]:
        """All that there are; empty where that was not asked."""
        return frozenset(row[0] or "" for row in self.rows.schemas)

    @cached_property
    def functions_by_oid(self) -> Mapping[int, Function]:
        parts: dict[int, list[FunctionUse]] = {}
        special = set()
        for oid, part, name, kind in self.rows.aggregates:
            parts.setdefault(number(oid), []).append(FunctionUse(number(part), name or ""))
            if kind != "n":  # WITHIN GROUP: fewer arguments stand in the brackets
                special.add(number(oid))
        types: dict[int, list[int]] = {}
        for oid, kind in self.rows.function_types:
            types.setdefault(number(oid), []).append(number(kind))
        found = {}
        for each in map(function_of, self.rows.functions):
            if each.oid in types:
                each = replace(each, types=tuple(types[each.oid]))
            if each.oid in parts:
                each = replace(each, parts=tuple(parts[each.oid]))
            found[each.oid] = replace(each, least=0, most=-1) if each.oid in special else each
        return found

    @cached_property
    def functions(self) -> Mapping[str, tuple[Function, ...]]:
        return _by_name(self.functions_by_oid.values(), lambda each: each.name)

    @cached_property
    def operators(self) -> Mapping[str, tuple[Operator, ...]]:
        return _by_name(map(operator_of, self.rows.operators), lambda each: each.name)

    @cached_property
    def casts(self) -> tuple[Cast, ...]:
        return tuple(
            Cast(number(source), source_name or "", number(target), target_name or "", context or "", use_of(oid, name))
            for source, source_name, target, target_name, context, method, oid, name in self.rows.casts
            if method == "f"
        )

    @cached_property
    def types_by_oid(self) -> Mapping[int, Type]:
        return {each.oid: each for each in types_of(self.rows)}

    @cached_property
    def types(self) -> Mapping[str, tuple[Type, ...]]:
        return _by_name(self.types_by_oid.values(), lambda each: each.name)

    @cached_property
    def built_in_comparisons(self) -> tuple[tuple[str, FunctionUse], ...]:
        """Built-in types to which users gave a default operator class, and what it runs."""
        return tuple(
            (name or "", use_of(oid, function))
            for kind, name, oid, function in self.rows.operator_classes
            if number(kind) < FIRST_USER_OID
        )

    @cached_property
    def relations(self) -> Mapping[str, tuple[Relation, ...]]:
        return _by_name(relations_of(self.rows), lambda each: each.name)

    @cached_property
    def named_columns(self) -> frozenset[tuple[str, str, str]]:
        """(schema, relation, column) of the columns with the name of a user's function or type."""
        return frozenset((schema or "", name or "", column or "") for schema, name, column in self.rows.named_columns)


def build_catalog(rows: CatalogRows, server_major: int) -> Catalog:
    """The catalog of a database whose owners' objects are `rows`. Raises CatalogError for rows that no query of ours answers."""
    catalog = Catalog(rows, server_major, _revision(rows, server_major))
    try:
        # Whatever is wrong with the rows shows now.
        for part in ("path", "functions", "operators", "casts", "types", "built_in_comparisons", "relations", "named_columns"):
            getattr(catalog, part)
    except (ValueError, TypeError) as error:
        raise CatalogError(f"unreadable catalog rows: {error}") from error
    return catalog


def _revision(rows: CatalogRows, server_major: int) -> str:
    """A digest of the content, made in pieces: a large catalog is megabytes, and other threads have work to do."""
    digest = sha256(b"%d" % server_major)
    for name, answer in rows.as_answers().items():
        digest.update(json.dumps([name, len(answer)]).encode())
        for start in range(0, len(answer), _ROWS_AT_ONCE):
            digest.update(json.dumps(answer[start : start + _ROWS_AT_ONCE]).encode())
    return digest.hexdigest()[:16]


_Item = TypeVar("_Item")


def _by_name(items: Iterable[_Item], name: Callable[[_Item], str]) -> Mapping[str, tuple[_Item, ...]]:
    found: dict[str, list[_Item]] = {}
    for item in items:
        found.setdefault(name(item), []).append(item)
    return {key: tuple(values) for key, values in found.items()}
