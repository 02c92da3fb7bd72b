"""What casts run where nothing shows one. Part of `Openings`."""

from functools import cached_property
from typing import TYPE_CHECKING

from gateway.statements import refusal
from gateway.statements.catalog_objects import FIRST_USER_OID, Cast
from gateway.statements.refusal import Refusal

if TYPE_CHECKING:
    from gateway.statements.openings import Openings


class CastOpenings:
    """`closed`: casts that run what no list has open."""

    def __init__(self, openings: "Openings") -> None:
        self._openings = openings

    @cached_property
    def closed(self) -> tuple[Cast, ...]:
        return tuple(each for each in self._openings.catalog.casts if not self._openings.runs_open(each.runs))

    @cached_property
    def targets(self) -> dict[str, Cast]:
        """Built-in types (and arrays of them) to which a cast from another built-in type runs something closed, by name."""
        built_in = [each for each in self.closed if each.source < FIRST_USER_OID and each.target < FIRST_USER_OID]
        return {prefix + each.target_name: each for each in built_in for prefix in ("", "_")}

    @cached_property
    def everywhere(self) -> Refusal | None:
        """What may run in any statement, with nothing to see of it."""
        for cast in self.closed:
            if cast.context == "i" and cast.source < FIRST_USER_OID and cast.target < FIRST_USER_OID:
                return refusal.closed_cast(cast.source_name, cast.target_name, self._openings.shown(cast.runs), None)
        for name, use in self._openings.catalog.built_in_comparisons:
            if not self._openings.runs_open(use, inside=True):
                return refusal.closed_comparison(name, self._openings.shown(use), None)
        return None

    @cached_property
    def assigning(self) -> Refusal | None:
        """What may run wherever a value is put into a column of a built-in type. (Of other types, the type is closed then.)"""
        for cast in self.closed:
            if cast.context == "a" and cast.source < FIRST_USER_OID and cast.target < FIRST_USER_OID:
                return refusal.closed_cast(cast.source_name, cast.target_name, self._openings.shown(cast.runs), None)
        return None
