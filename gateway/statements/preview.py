"""What an entry of a target's list would open, before an admin writes it: by comparing what is closed without it and with it."""

from dataclasses import dataclass

from gateway.statements.catalog import Catalog
from gateway.statements.definitions import judge_constants, judge_definition
from gateway.statements.openings import Openings


@dataclass(frozen=True, slots=True)
class Opened:
    """Qualified names, sorted. `types`: whose values may now be made and compared; `relations`: views and tables to be read."""

    functions: tuple[str, ...]
    operators: tuple[str, ...]
    types: tuple[str, ...]
    relations: tuple[str, ...]


def opened_by(catalog: Catalog, entry: str, entries: frozenset[str], schemas: frozenset[str]) -> Opened:
    """What `entry` opens that the target's own `entries` do not. Judges every view: seconds for thousands of them."""
    without, those = (
        _closed(Openings(catalog, listed, schemas | catalog.path, judge_definition, judge_constants))
        for listed in (entries - {entry}, entries | {entry})
    )
    return Opened(*(tuple(sorted(before - after)) for before, after in zip(without, those, strict=True)))


def _closed(openings: Openings) -> tuple[set[str], ...]:
    catalog = openings.catalog
    return (
        {f"{each.schema}.{name}" for name, found in openings.closed_functions.items() for each in found},
        {f"{schema}.{name}" for schema, name in openings.closed_operators},
        {f"{each.schema}.{each.name}" for each in catalog.types_by_oid.values() if not openings.type_is_open(each.oid)},
        {
            f"{each.schema}.{name}"
            for name, found in catalog.relations.items()
            for each in found
            if openings.reading(each) is not None
        },
    )
