"""What an entry of a target's list would open, before an admin writes it: by comparing what is closed without it and with it."""

from dataclasses import dataclass

from gateway.statements.catalog import Catalog
from gateway.statements.catalog_objects import Cast, Function, Relation, Type
from gateway.statements.catalogue import REFUSED_FUNCTIONS, SAFE_FUNCTIONS
from gateway.statements.definitions import judge_constants, judge_definition
from gateway.statements.openings import Openings


@dataclass(frozen=True, slots=True)
class Opened:
    """Functions that may be called, OIDs of operators and casts that may be used, types whose values may be made and compared,
    relations that may be read; sorted by name. `named`: whether anything in the database goes by the entry's name.
    """

    functions: tuple[Function, ...] = ()
    operators: tuple[int, ...] = ()
    casts: tuple[Cast, ...] = ()
    types: tuple[Type, ...] = ()
    relations: tuple[Relation, ...] = ()
    named: bool = False

    @property
    def anything(self) -> bool:
        return bool(self.functions or self.operators or self.casts or self.types or self.relations)


def opened_by(catalog: Catalog, entry: str, entries: frozenset[str], schemas: frozenset[str]) -> Opened:
    """What `entry` opens that the target's own `entries` do not. Judges every view: seconds for thousands of them."""
    before, after = (
        Openings(catalog, listed, schemas | catalog.path, judge_definition, judge_constants)
        for listed in (entries - {entry}, entries | {entry})
    )
    operators = before.closed_operators.keys() - after.closed_operators.keys()
    return Opened(
        functions=tuple(
            sorted(
                (each for each in catalog.functions_by_oid.values() if after.may_call(each) and not before.may_call(each)),
                key=lambda each: (each.schema, each.name, each.oid),
            )
        ),
        operators=tuple(sorted(int(row[0] or 0) for row in catalog.rows.operators if (row[1], row[2]) in operators)),
        casts=tuple(each for each in catalog.casts if after.runs_open(each.runs) and not before.runs_open(each.runs)),
        types=tuple(
            sorted(
                (
                    each
                    for each in catalog.types_by_oid.values()
                    if after.type_is_open(each.oid) and not before.type_is_open(each.oid)
                ),
                key=lambda each: (each.schema, each.name),
            )
        ),
        relations=tuple(
            sorted(
                (
                    each
                    for found in catalog.relations.values()
                    for each in found
                    if after.relations.reading(each) is None and before.relations.reading(each) is not None
                ),
                key=lambda each: (each.schema, each.name),
            )
        ),
        named=_names_something(catalog, entry),
    )


def _names_something(catalog: Catalog, entry: str) -> bool:
    alone = Openings(catalog, frozenset({entry}), frozenset(), judge_definition, judge_constants)
    kinds = (catalog.functions, catalog.operators, catalog.types)
    if any(alone.lists(each.schema, each.name, each.extension) for kind in kinds for found in kind.values() for each in found):
        return True
    return any(f"{each.schema}.{each.name}" == entry for found in catalog.relations.values() for each in found)


def is_built_in(name: str) -> bool:
    """Whether PostgreSQL has a function of this name: an unqualified call may then turn to either."""
    return name in SAFE_FUNCTIONS or name in REFUSED_FUNCTIONS
