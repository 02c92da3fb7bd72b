"""The objects of a database's users, one dataclass for each kind, and how the catalog's rows are read as such."""

from dataclasses import dataclass, replace
from typing import Final

from gateway.statements.catalog_rows import CatalogRows, Row

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


@dataclass(frozen=True, slots=True)
class FunctionUse:
    """A function that something runs: an operator, a cast, a type ... OID 0: none."""

    oid: int
    name: str


@dataclass(frozen=True, slots=True)
class Function:
    """`kind` is f, p (procedure), w or a; `most` -1: any number; `trusted`: C code, or its owner is a superuser; `constructor`:
    made by the server along with a range type.

    `parts` are what an aggregate is made of. `first` is the type of the first argument (0: none). `types` are the users' types
    that it takes or returns.
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
    types: tuple[int, ...] = ()

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
    `checks` a domain's conditions as SQL. `preferred`: in its category. `like_text`: its category is that of text.
    """

    oid: int
    schema: str
    name: str
    kind: str
    preferred: bool
    like_text: bool
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


def number(value: str | None) -> int:
    return int(value or 0)


def use_of(oid: str | None, name: str | None) -> FunctionUse:
    return FunctionUse(number(oid), name or "")


def function_of(row: Row) -> Function:
    oid, schema, name, kind, least, most, first, language, source, owned_by_superuser, extension = row
    return Function(
        oid=number(oid),
        schema=schema or "",
        name=name or "",
        kind=kind or "",
        least=number(least),
        most=number(most),
        first=number(first),
        constructor=source in _CONSTRUCTORS,
        trusted=language in ("c", "internal") or owned_by_superuser == "true",
        extension=extension or "",
    )


def operator_of(row: Row) -> Operator:
    _, schema, name, left, right, oid, function, extension = row
    operands = tuple(kind for kind in (number(left), number(right)) if kind)
    return Operator(schema or "", name or "", operands, use_of(oid, function), extension or "")


def types_of(rows: CatalogRows) -> list[Type]:
    inside: dict[int, list[int]] = {}
    runs: dict[int, list[FunctionUse]] = {}
    checks: dict[int, list[str]] = {}
    attributes: dict[int, list[int]] = {}
    for relation, _, _, _, kind in rows.columns:
        attributes.setdefault(number(relation), []).append(number(kind))
    for oid, element, *uses in rows.ranges:
        inside.setdefault(number(oid), []).append(number(element))
        runs.setdefault(number(oid), []).extend(use_of(uses[n], uses[n + 1]) for n in (0, 2, 4))
    for oid, element in rows.multiranges:
        inside.setdefault(number(oid), []).append(number(element))
    for oid, check in rows.domain_checks:
        # A condition that cannot be shown (its domain is being dropped) is one that cannot be judged.
        checks.setdefault(number(oid), []).append(check or "")
    for oid, _, function, name in rows.operator_classes:
        runs.setdefault(number(oid), []).append(use_of(function, name))
    found = []
    for row in rows.types:
        own, schema, name, kind, category, preferred, element, base, relation, function, function_name, extension = row
        key = number(own)
        parts = [number(element), number(base), *inside.get(key, ()), *attributes.get(number(relation), ())]
        found.append(
            Type(
                oid=key,
                schema=schema or "",
                name=name or "",
                kind=kind or "",
                preferred=preferred == "true",
                like_text=category == "S",
                inside=tuple(part for part in parts if part >= FIRST_USER_OID),
                runs=(use_of(function, function_name), *runs.get(key, ())),
                checks=tuple(checks.get(key, ())),
                extension=extension or "",
            )
        )
    return found


def relations_of(rows: CatalogRows) -> list[Relation]:
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
            keep(replace(one, supports=(*one.supports, (whose or "", use_of(function, function_name)))))
    for _, schema, name, column, kind in rows.columns:
        one = of(schema, name)
        keep(replace(one, columns=(*one.columns, (column or "", number(kind)))))
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
