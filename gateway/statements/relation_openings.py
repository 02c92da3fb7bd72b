"""Which relations and columns may be read. Views, policies and conditions are judged like a statement."""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from gateway.statements import refusal
from gateway.statements.catalog_objects import Relation
from gateway.statements.catalogue import BUILT_IN_TYPES, REFUSED_FUNCTIONS, SAFE_FUNCTIONS
from gateway.statements.refusal import Refusal

if TYPE_CHECKING:
    from gateway.statements.openings import Openings

Definition = Callable[[str, "Openings"], Refusal | None]
"""Judges a statement that the database keeps, with every name qualified; None: it may run."""


class RelationOpenings:
    """Part of `Openings`; what it finds it remembers."""

    def __init__(self, openings: "Openings", whole: Definition, constants: Definition) -> None:
        self._openings = openings
        self._whole = whole
        self._constants = constants
        self._read: dict[tuple[str, str], Refusal | None] = {}
        self._columns: dict[tuple[str, str], frozenset[str]] = {}

    def reading(self, relation: Relation) -> Refusal | None:
        """Why the relation may not be read; None: it may."""
        key = (relation.schema, relation.name)
        if key not in self._read:
            self._read[key] = None  # while its parts are looked at; views do not nest in circles
            self._read[key] = self._judge_relation(relation)
        return self._read[key]

    def _judge_relation(self, relation: Relation) -> Refusal | None:
        name = f"{relation.schema}.{relation.name}"
        if name in self._openings.entries:
            return None
        if relation.foreign:
            return refusal.foreign_table(name, relation.foreign, relation.wrapper)
        if relation.definition and (found := self._whole(relation.definition, self._openings)) is not None:
            if found.rule == "activity-hidden":
                return replace(found, message=f"view {name}: {found.message}")
            return refusal.closed_view(name, found.message)
        for policy in relation.policies:
            if (found := self._whole(f"SELECT {policy.text}" if policy.text else ";", self._openings)) is not None:
                return refusal.closed_row_policy(name, policy.whose, found.message)
        for planned in relation.planned:
            if (found := self._constants(f"SELECT {planned.text}" if planned.text else ";", self._openings)) is not None:
                return refusal.closed_planned(name, planned.whose, found.message)
        for whose, use in relation.supports:
            if not self._openings.runs_open(use, inside=True):
                shown = self._openings.shown(use)
                return refusal.closed_planned(name, whose, f"function {shown} is not listed for this target")
        return None

    @cached_property
    def _closed_fields(self) -> frozenset[str]:
        """Names of columns, and of fields of composite types, whose own type is not open."""
        return frozenset(
            row[3] or "" for row in self._openings.catalog.rows.columns if not self._openings.type_is_open(int(row[4] or 0))
        )

    def is_open_field(self, name: str) -> bool:
        """Whether (x).name, of whatever x, can only take a field: no function and no cast goes by this name. Its type is open."""
        return (
            name not in SAFE_FUNCTIONS
            and name not in REFUSED_FUNCTIONS
            and name not in BUILT_IN_TYPES
            and name not in self._openings.catalog.functions
            and name not in self._openings.catalog.types
            and name not in self._closed_fields
        )

    def closed_columns(self, relation: Relation) -> frozenset[str]:
        """The columns whose type is not open: they may be shown, and nothing else."""
        key = (relation.schema, relation.name)
        if key not in self._columns:
            self._columns[key] = frozenset(name for name, kind in relation.columns if not self._openings.type_is_open(kind))
        return self._columns[key]
