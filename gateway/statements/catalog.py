"""What a database's owners put into it, as far as it can run code or reach elsewhere: a value, built from plain rows.

It knows no target's lists: what of it a session may use is the business of `openings.py`.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import Final, TypeVar

from gateway.statements.catalog_rows import CatalogRows, Row
from gateway.statements.settings import split_identifiers

FIRST_USER_OID: Final = 16384
"""Objects below are PostgreSQL's own."""


_CONSTRUCTORS: Final = frozenset(
    (
        "range_constructor2",
        "range_constructor3",
        "multirange_constructor0",
        "multirange_constructor1",
        "multirange_constructor2",
    )
)


class CatalogError(Exception):
    """Rows that no query of ours could have answered."""


@dataclass(frozen=True, slots=True)
class FunctionUse:
    """A function that something runs: an operator, a cast, a type ... OID 0: none."""

    oid: int
    name: str


@dataclass(frozen=True, slots=True)
class Function:
    """`kind` is f, p (procedure), w or a; `most` -1: any number; `trusted`: C code, or its owner is a superuser; `constructor`:
    made by the server along with a range type.

    `parts` are what an aggregate is made of. `first` is the type of the first argument (0: none).
    """

    oid: int
    schema: str
    name: str
    kind: str
    least: int
    most: int
    first: int
    constructor: bool
    trusted: bool
    extension: str
    parts: tuple[FunctionUse, ...] = ()

    def takes(self, count: int) -> bool:
        return self.least <= count and (self.most < 0 or count <= self.most)


@dataclass(frozen=True, slots=True)
class Operator:
    """`operands` are the OIDs of their types."""

    schema: str
    name: str
    operands: tuple[int, ...]
    runs: FunctionUse
    extension: str


@dataclass(frozen=True, slots=True)
class Cast:
    """`context` is e (explicit), a (assignment) or i (implicit). Only casts with a function are here."""

    source: int
    source_name: str
    target: int
    target_name: str
    context: str
    runs: FunctionUse


@dataclass(frozen=True, slots=True)
class Type:
    """`kind` is b, c, d, e, m, p or r. `inside` are the types that it is made of, `runs` what making and comparing values runs,
    `checks` a domain's conditions as SQL. `preferred`: unknown literals turn to it before text.
    """

    oid: int
    schema: str
    name: str
    kind: str
    preferred: bool
    inside: tuple[int, ...]
    runs: tuple[FunctionUse, ...]
    checks: tuple[str, ...]
    extension: str


@dataclass(frozen=True, slots=True)
class Expressions:
    """What reading a relation runs besides the statement, as SQL. `whose`: a policy's, an index's or a constraint's name."""

    whose: str
    text: str


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation with something to it. `definition` is a view's ("" for none), `foreign` names the foreign table that is read,
    `columns` are those of users' types.
    """

    schema: str
    name: str
    definition: str = ""
    extension: str = ""
    foreign: str = ""
    wrapper: str = ""
    policies: tuple[Expressions, ...] = ()
    planned: tuple[Expressions, ...] = ()
    supports: tuple[tuple[str, FunctionUse], ...] = ()
    columns: tuple[tuple[str, int], ...] = ()


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
        """The schemas that sessions of this login start with in search_path, or come back to by RESET."""
        found: set[str] = set()
        for user, login, *values in self.rows.path:
            for value in values:
                names = split_identifiers(value or "")
                if names is None:
                    raise ValueError("search_path is no list of names")
                for name in names:
                    found |= {user or "", login or ""} if name == "$user" else {name}
        return frozenset(found) - {"pg_catalog", "pg_temp"}

    @cached_property
    def functions_by_oid(self) -> Mapping[int, Function]:
        parts: dict[int, list[FunctionUse]] = {}
        special = set()
        for oid, part, name, kind in self.rows.aggregates:
            parts.setdefault(_int(oid), []).append(FunctionUse(_int(part), name or ""))
            if kind != "n":  # WITHIN GROUP: fewer arguments stand in the brackets
                special.add(_int(oid))
        found = {}
        for each in map(_function, self.rows.functions):
            whole = replace(each, parts=tuple(parts.get(each.oid, ())))
            found[each.oid] = replace(whole, least=0, most=-1) if each.oid in special else whole
        return found

    @cached_property
    def functions(self) -> Mapping[str, tuple[Function, ...]]:
        return _by_name(self.functions_by_oid.values(), lambda each: each.name)

    @cached_property
    def operators(self) -> Mapping[str, tuple[Operator, ...]]:
        return _by_name(map(_operator, self.rows.operators), lambda each: each.name)

    @cached_property
    def casts(self) -> tuple[Cast, ...]:
        return tuple(
            Cast(_int(source), source_name or "", _int(target), target_name or "", context or "", _use(oid, name))
            for source, source_name, target, target_name, context, method, oid, name in self.rows.casts
            if method == "f"
        )

    @cached_property
    def types_by_oid(self) -> Mapping[int, Type]:
        return {each.oid: each for each in _types(self.rows)}

    @cached_property
    def types(self) -> Mapping[str, tuple[Type, ...]]:
        return _by_name(self.types_by_oid.values(), lambda each: each.name)

    @cached_property
    def built_in_comparisons(self) -> tuple[tuple[str, FunctionUse], ...]:
        """Built-in types to which users gave a default operator class, and what it runs."""
        return tuple(
            (name or "", _use(oid, function))
            for kind, name, oid, function in self.rows.operator_classes
            if _int(kind) < FIRST_USER_OID
        )

    @cached_property
    def relations(self) -> Mapping[str, tuple[Relation, ...]]:
        return _by_name(_relations(self.rows), lambda each: each.name)

    @cached_property
    def named_columns(self) -> frozenset[tuple[str, str, str]]:
        """(schema, relation, column) of the columns with the name of a user's function or type."""
        return frozenset((schema or "", name or "", column or "") for schema, name, column in self.rows.named_columns)


def build_catalog(rows: CatalogRows, server_major: int) -> Catalog:
    """The catalog of a database whose owners' objects are `rows`. Raises CatalogError for rows that no query of ours answers."""
    content = json.dumps([server_major, rows.as_answers()]).encode()
    catalog = Catalog(rows, server_major, sha256(content).hexdigest()[:16])
    try:
        # Whatever is wrong with the rows shows now.
        for part in ("path", "functions", "operators", "casts", "types", "built_in_comparisons", "relations", "named_columns"):
            getattr(catalog, part)
    except (ValueError, TypeError) as error:
        raise CatalogError(f"unreadable catalog rows: {error}") from error
    return catalog


_Item = TypeVar("_Item")


def _by_name(items: Iterable[_Item], name: Callable[[_Item], str]) -> Mapping[str, tuple[_Item, ...]]:
    found: dict[str, list[_Item]] = {}
    for item in items:
        found.setdefault(name(item), []).append(item)
    return {key: tuple(values) for key, values in found.items()}


def _int(value: str | None) -> int:
    return int(value or 0)


def _use(oid: str | None, name: str | None) -> FunctionUse:
    return FunctionUse(_int(oid), name or "")


def _function(row: Row) -> Function:
    oid, schema, name, kind, least, most, first, language, source, owned_by_superuser, extension = row
    return Function(
        oid=_int(oid),
        schema=schema or "",
        name=name or "",
        kind=kind or "",
        least=_int(least),
        most=_int(most),
        first=_int(first),
        constructor=source in _CONSTRUCTORS,
        trusted=language in ("c", "internal") or owned_by_superuser == "true",
        extension=extension or "",
    )


def _operator(row: Row) -> Operator:
    _, schema, name, left, right, oid, function, extension = row
    operands = tuple(kind for kind in (_int(left), _int(right)) if kind)
    return Operator(schema or "", name or "", operands, _use(oid, function), extension or "")


def _types(rows: CatalogRows) -> list[Type]:
    inside: dict[int, list[int]] = {}
    runs: dict[int, list[FunctionUse]] = {}
    checks: dict[int, list[str]] = {}
    attributes: dict[int, list[int]] = {}
    for relation, _, _, _, kind in rows.columns:
        attributes.setdefault(_int(relation), []).append(_int(kind))
    for oid, element, *uses in rows.ranges:
        inside.setdefault(_int(oid), []).append(_int(element))
        runs.setdefault(_int(oid), []).extend(_use(uses[n], uses[n + 1]) for n in (0, 2, 4))
    for oid, element in rows.multiranges:
        inside.setdefault(_int(oid), []).append(_int(element))
    for oid, check in rows.domain_checks:
        # A condition that cannot be shown (its domain is being dropped) is one that cannot be judged.
        checks.setdefault(_int(oid), []).append(check or "")
    for oid, _, function, name in rows.operator_classes:
        runs.setdefault(_int(oid), []).append(_use(function, name))
    found = []
    for row in rows.types:
        number, schema, name, kind, category, preferred, element, base, relation, function, function_name, extension = row
        key = _int(number)
        parts = [_int(element), _int(base), *inside.get(key, ()), *attributes.get(_int(relation), ())]
        found.append(
            Type(
                oid=key,
                schema=schema or "",
                name=name or "",
                kind=kind or "",
                preferred=category == "S" and preferred == "true",
                inside=tuple(part for part in parts if part >= FIRST_USER_OID),
                runs=(_use(function, function_name), *runs.get(key, ())),
                checks=tuple(checks.get(key, ())),
                extension=extension or "",
            )
        )
    return found


def _relations(rows: CatalogRows) -> list[Relation]:
    found: dict[tuple[str, str], Relation] = {}

    def of(schema: str | None, name: str | None) -> Relation:
        return found.get((schema or "", name or "")) or Relation(schema or "", name or "")

    def keep(relation: Relation) -> None:
        found[relation.schema, relation.name] = relation

    for schema, name, definition, extension in rows.views:
        # "" is no statement, so a view without a definition is refused.
        keep(replace(of(schema, name), definition=definition or ";", extension=extension or ""))
    for schema, name, leaf, wrapper in rows.foreign_tables:
        keep(replace(of(schema, name), foreign=leaf or "?", wrapper=wrapper or "?"))
    for schema, name, whose, text in rows.row_policies:
        one = of(schema, name)
        keep(replace(one, policies=(*one.policies, Expressions(whose or "", text or ""))))
    above = _ancestors(rows)
    for schema, name, whose, text in (*rows.planned_expressions, *rows.statistics_expressions):
        for home in ((schema or "", name or ""), *above.get((schema or "", name or ""), ())):
            one = of(*home)
            keep(replace(one, planned=(*one.planned, Expressions(whose or "", text or ""))))
    for schema, name, whose, function, function_name in rows.support_functions:
        for home in ((schema or "", name or ""), *above.get((schema or "", name or ""), ())):
            one = of(*home)
            keep(replace(one, supports=(*one.supports, (whose or "", _use(function, function_name)))))
    for _, schema, name, column, kind in rows.columns:
        one = of(schema, name)
        keep(replace(one, columns=(*one.columns, (column or "", _int(kind)))))
    return list(found.values())


def _ancestors(rows: CatalogRows) -> dict[tuple[str, str], set[tuple[str, str]]]:
    """For each table all those that it is a part of: reading them plans it, too."""
    parents: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for schema, name, above_schema, above_name in rows.inherits:
        parents.setdefault((schema or "", name or ""), set()).add((above_schema or "", above_name or ""))
    found: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for child in parents:
        stack, seen = [*parents[child]], found.setdefault(child, set())
        while stack:
            parent = stack.pop()
            if parent not in seen:
                seen.add(parent)
                stack.extend(parents.get(parent, ()))
    return found
