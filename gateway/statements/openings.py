"""What of a database's catalog a target's lists leave open, and what they do not. Worked out once for a catalog and its lists.

The rule is the same everywhere: what runs code of users is open when an admin listed it, when the curated list has it, or when
it is made of nothing but open things. Function bodies stay opaque; views, policies and conditions are judged like a statement.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Final

from gateway.statements import refusal
from gateway.statements.catalog import Catalog
from gateway.statements.catalog_objects import (
    FIRST_USER_OID,
    Cast,
    Function,
    FunctionUse,
    Operator,
    Relation,
    Type,
    use_of,
)
from gateway.statements.catalogue import ACTIVITY_FUNCTIONS, BUILT_IN_TYPES, OPERATORS, REFUSED_FUNCTIONS, SAFE_FUNCTIONS
from gateway.statements.curated import is_curated
from gateway.statements.operator_choice import OperatorChoice
from gateway.statements.refusal import Refusal

Definition = Callable[[str, "Openings"], Refusal | None]
"""Judges a statement that the database keeps, with every name qualified; None: it may run."""

_WORDS: Final = {
    "BETWEEN": (">=", "<="),
    "NOT BETWEEN": ("<", ">"),
    "BETWEEN SYMMETRIC": (">=", "<="),
    "NOT BETWEEN SYMMETRIC": ("<", ">"),
}
# record, anyelement, anynonarray, anycompatible, anycompatiblenonarray, "any"; row types of old and of other system relations.
_ROWS: Final = frozenset({2249, 2283, 2776, 5077, 5079, 2276, 71, 75, 81, 83})
_FIRST_UNPINNED_OID: Final = 10000


class Openings:
    """`entries`: "schema.name", "schema.*", "name", "extension:name". `schemas`: where unqualified names may be found."""

    def __init__(
        self,
        catalog: Catalog,
        entries: frozenset[str],
        schemas: frozenset[str],
        whole: Definition,
        constants: Definition,
        *,
        hides_activity: bool = False,
    ):
        """`whole` judges all of a definition, `constants` those parts that no column is in. `hides_activity`: see `Listed`."""
        self.catalog = catalog
        self.entries = entries
        self.schemas = schemas | {"pg_catalog"}
        self.stale = catalog.stale
        self.hides_activity = hides_activity
        self._whole = whole
        self._constants = constants
        self._types: dict[int, bool] = {}
        self._relations: dict[tuple[str, str], Refusal | None] = {}
        self._columns: dict[tuple[str, str], frozenset[str]] = {}
        self.closed_functions: dict[str, tuple[Function, ...]] = {}
        self.open_functions: set[tuple[str, str]] = set()
        for name, found in catalog.functions.items():
            closed = tuple(each for each in found if not self.function_is_open(each))
            if closed:
                self.closed_functions[name] = closed
            self.open_functions.update((each.schema, name) for each in found if each not in closed)
        #: Open functions and operators that take or return a type which is not open, with that type (None: one that is not known).
        self.closed_types_of: dict[Function | Operator, Type | None] = {}
        self._close_what_handles_closed_types()

    def _close_what_handles_closed_types(self) -> None:
        """A value for such an argument is made with nothing to be seen: f('x') runs the CHECK of the domain that f takes."""
        functions = [(name, each) for name, found in self.catalog.functions.items() for each in found if each.types]
        operators = [each for found in self.catalog.operators.values() for each in found if self._operator_is_open(each)]
        known = -1
        while known < len(self.closed_types_of):  # a domain's CHECK may call what was closed just now
            known = len(self.closed_types_of)
            self._types.clear()
            self.closed_operators = self._find_closed_operators()
            self.closed_unqualified_operators = self._find_closed_unqualified_operators()
            for name, function in functions:
                closed = self._first_closed(function.types)
                if closed and function not in self.closed_functions.get(name, ()):
                    self.closed_types_of[function] = self.catalog.types_by_oid.get(closed)
                    self.closed_functions[name] = (*self.closed_functions.get(name, ()), function)
            for operator in operators:
                closed = self._first_closed(operator.operands)
                if closed:
                    self.closed_types_of[operator] = self.catalog.types_by_oid.get(closed)

    def _first_closed(self, types: tuple[int, ...]) -> int:
        """0: none of them."""
        return next((oid for oid in types if not self.type_is_open(oid)), 0)

    def lists(self, schema: str, name: str, extension: str = "") -> bool:
        """Whether an admin listed the object. Names with dots cannot be told apart in an entry."""
        if not self.entries:
            return False
        if extension and f"extension:{extension}" in self.entries:
            return True
        if "." in name or "." in schema:
            return False
        return f"{schema}.{name}" in self.entries or f"{schema}.*" in self.entries or name in self.entries

    def function_is_open(self, function: Function) -> bool:
        if self.hides_activity and function.name in ACTIVITY_FUNCTIONS:
            return False
        if function.constructor or self.lists(function.schema, function.name, function.extension):
            return True
        if function.trusted and is_curated(function.extension, function.name):
            return True
        # An aggregate is what it is made of.
        return bool(function.kind == "a" and function.parts) and all(
            self.runs_open(part, inside=True) for part in function.parts
        )

    def may_call(self, function: Function) -> bool:
        return function not in self.closed_types_of and self.function_is_open(function)

    def runs_open(self, use: FunctionUse, *, inside: bool = False) -> bool:
        """`inside`: as a support function, where PostgreSQL's own internal ones are in their place."""
        if use.oid >= FIRST_USER_OID:
            function = self.catalog.functions_by_oid.get(use.oid)
            return function is not None and self.function_is_open(function)
        if self.hides_activity and use.name in ACTIVITY_FUNCTIONS:
            return False
        if use.oid == 0 or use.name in SAFE_FUNCTIONS:
            return True
        return inside and REFUSED_FUNCTIONS.get(use.name) in ("internal", "user-code")

    # Operators

    def _operator_is_open(self, operator: Operator) -> bool:
        return self.lists(operator.schema, operator.name, operator.extension) or self.runs_open(operator.runs)

    def _may_run(self, operator: Operator) -> bool:
        return operator not in self.closed_types_of and self._operator_is_open(operator)

    def _find_closed_operators(self) -> dict[tuple[str, str], Operator]:
        """By schema and name."""
        return {
            (each.schema, name): each
            for name, found in self.catalog.operators.items()
            for each in found
            if not self._may_run(each)
        }

    @cached_property
    def open_operators(self) -> frozenset[tuple[str, str]]:
        every = ((each.schema, name) for name, found in self.catalog.operators.items() for each in found)
        return frozenset(every) - self.closed_operators.keys()

    def _find_closed_unqualified_operators(self) -> dict[str, Operator]:
        """Names that may turn out to be one of these, whatever their operands. See operator_choice.py."""
        found = {
            name: each
            for (schema, name), each in self.closed_operators.items()
            if schema in self.schemas and not self._needs_a_closed_value(name)
        }
        found.update(self.closed_stand_ins)
        for word, names in _WORDS.items():
            for name in names:
                if name in found:
                    found[word] = found[name]
        return found

    @cached_property
    def closed_stand_ins(self) -> dict[str, Operator]:
        """By the name of the built-in operator that the planner may replace by them."""
        found = {}
        for name, schema, own_name, oid, function, extension in self.catalog.rows.stand_ins:
            each = Operator(schema or "", own_name or "", (), use_of(oid, function), extension or "")
            if not self._operator_is_open(each):
                found[name or ""] = each
        return found

    def _needs_a_closed_value(self, name: str) -> bool:
        """Whether each closed operator of this name is chosen only for an operand of a type that is closed itself."""
        return all(
            self._choice.needs_a_value(each)
            for each in self.catalog.operators[name]
            if each.schema in self.schemas and not self._may_run(each)
        )

    @cached_property
    def _choice(self) -> OperatorChoice:
        return OperatorChoice(self.catalog)

    # Casts and types

    @cached_property
    def _closed_casts(self) -> tuple[Cast, ...]:
        return tuple(each for each in self.catalog.casts if not self.runs_open(each.runs))

    @cached_property
    def closed_cast_targets(self) -> dict[str, Cast]:
        """Built-in types (and arrays of them) to which a cast from another built-in type runs something closed, by name."""
        built_in = [each for each in self._closed_casts if each.source < FIRST_USER_OID and each.target < FIRST_USER_OID]
        return {prefix + each.target_name: each for each in built_in for prefix in ("", "_")}

    @cached_property
    def everywhere(self) -> Refusal | None:
        """What may run in any statement, with nothing to see of it."""
        for cast in self._closed_casts:
            if cast.context == "i" and cast.source < FIRST_USER_OID and cast.target < FIRST_USER_OID:
                return refusal.closed_cast(cast.source_name, cast.target_name, self._shown(cast.runs), None)
        for name, use in self.catalog.built_in_comparisons:
            if not self.runs_open(use, inside=True):
                return refusal.closed_comparison(name, self._shown(use), None)
        return None

    @cached_property
    def assigning(self) -> Refusal | None:
        """What may run wherever a value is put into a column of a built-in type. (Of other types, the type is closed then.)"""
        for cast in self._closed_casts:
            if cast.context == "a" and cast.source < FIRST_USER_OID and cast.target < FIRST_USER_OID:
                return refusal.closed_cast(cast.source_name, cast.target_name, self._shown(cast.runs), None)
        return None

    def _shown(self, use: FunctionUse) -> str:
        function = self.catalog.functions_by_oid.get(use.oid)
        return f"{function.schema}.{function.name}" if function else use.name

    @cached_property
    def _acted_on(self) -> frozenset[int]:
        """Users' types whose values run something closed in a cast, or in an operator with a built-in name."""
        operands = {
            oid
            for found in self.catalog.operators.values()
            for each in found
            if each.name in OPERATORS and not self._operator_is_open(each)
            for oid in each.operands
        }
        found = {oid for cast in self._closed_casts for oid in (cast.source, cast.target)}
        return frozenset(oid for oid in found | self._choice.turning_to(operands) if oid >= FIRST_USER_OID)

    def type_is_open(self, oid: int) -> bool:
        """Whether making, casting, comparing and showing values of the type runs nothing closed. Unknown types are not open."""
        if oid < FIRST_USER_OID:
            return True
        known = self._types.get(oid)
        if known is None:
            self._types[oid] = True  # while its parts are looked at; types do not nest in circles
            kind = self.catalog.types_by_oid.get(oid)
            known = self._types[oid] = kind is not None and self._judge_type(kind)
        return known

    def _judge_type(self, kind: Type) -> bool:
        if self.lists(kind.schema, kind.name, kind.extension):
            return True
        return (
            kind.kind in "bcdemr"
            and kind.oid not in self._acted_on
            and all(self.runs_open(use, inside=True) for use in kind.runs)
            and all(map(self.type_is_open, kind.inside))
            and all(self._check_is_open(check) for check in kind.checks)
        )

    def _check_is_open(self, check: str) -> bool:
        # CHECK (...), perhaps with NOT VALID behind it
        inside = check[check.find("(") : check.rfind(")") + 1] if check.startswith("CHECK") else ""
        return self._whole(f"SELECT {inside}" if inside else ";", self) is None

    def closed_type(self, schema: str | None, name: str, schemas: frozenset[str]) -> Type | None:
        """The type that keeps this name from being used."""
        for kind in self.catalog.types.get(name, ()):
            within = kind.schema == schema if schema is not None else (kind.schema in schemas or kind.schema == "pg_catalog")
            if within and not self.type_is_open(kind.oid):
                return kind
        return None

    def has_type(self, schema: str | None, name: str, schemas: frozenset[str]) -> bool:
        return any(
            kind.schema == schema if schema is not None else (kind.schema in schemas or kind.schema == "pg_catalog")
            for kind in self.catalog.types.get(name, ())
        )

    # Calls without brackets

    @cached_property
    def attribute_names(self) -> dict[str, str]:
        """Names that `(x).name` runs something closed by, with how an admin would list it: functions, and casts to a type."""
        found = {name: f"{cast.source_name} AS {name}" for name, cast in self.closed_cast_targets.items()}
        for name in self.catalog.types:
            kind = self.closed_type(None, name, self.schemas)
            if kind is not None and kind.kind != "c":
                found[name] = f"{kind.schema}.{name}"
        for name, functions in self.closed_functions.items():
            for each in functions:
                if each.schema in self.schemas and each.takes(1):
                    found[name] = f"{each.schema}.{name}"
        return found

    def takes_a_row(self, name: str) -> bool:
        """Whether one of the closed functions of this name can be called with a row of a relation."""
        return any(self._is_row(each.first) for each in self.closed_functions.get(name, ()) if each.takes(1))

    def _is_row(self, oid: int) -> bool:
        if oid < FIRST_USER_OID:
            return oid in _ROWS or oid >= _FIRST_UNPINNED_OID
        kind = self.catalog.types_by_oid.get(oid)
        return kind is None or kind.kind in "cd"

    # Relations

    def reading(self, relation: Relation) -> Refusal | None:
        """Why the relation may not be read; None: it may."""
        key = (relation.schema, relation.name)
        if key not in self._relations:
            self._relations[key] = None  # while its parts are looked at; views do not nest in circles
            self._relations[key] = self._judge_relation(relation)
        return self._relations[key]

    def _judge_relation(self, relation: Relation) -> Refusal | None:
        name = f"{relation.schema}.{relation.name}"
        if name in self.entries:
            return None
        if relation.foreign:
            return refusal.foreign_table(name, relation.foreign, relation.wrapper)
        if relation.definition and (found := self._whole(relation.definition, self)) is not None:
            if found.rule == "activity-hidden":
                return replace(found, message=f"view {name}: {found.message}")
            return refusal.closed_view(name, found.message)
        for policy in relation.policies:
            if (found := self._whole(f"SELECT {policy.text}" if policy.text else ";", self)) is not None:
                return refusal.closed_row_policy(name, policy.whose, found.message)
        for planned in relation.planned:
            if (found := self._constants(f"SELECT {planned.text}" if planned.text else ";", self)) is not None:
                return refusal.closed_planned(name, planned.whose, found.message)
        for whose, use in relation.supports:
            if not self.runs_open(use, inside=True):
                shown = self._shown(use)
                return refusal.closed_planned(name, whose, f"function {shown} is not listed for this target")
        return None

    @cached_property
    def _closed_fields(self) -> frozenset[str]:
        """Names of columns, and of fields of composite types, whose own type is not open."""
        return frozenset(row[3] or "" for row in self.catalog.rows.columns if not self.type_is_open(int(row[4] or 0)))

    def is_open_field(self, name: str) -> bool:
        """Whether (x).name, of whatever x, can only take a field: no function and no cast goes by this name. Its type is open."""
        return (
            name not in SAFE_FUNCTIONS
            and name not in REFUSED_FUNCTIONS
            and name not in BUILT_IN_TYPES
            and name not in self.catalog.functions
            and name not in self.catalog.types
            and name not in self._closed_fields
        )

    def closed_columns(self, relation: Relation) -> frozenset[str]:
        """The columns whose type is not open: they may be shown, and nothing else."""
        key = (relation.schema, relation.name)
        if key not in self._columns:
            self._columns[key] = frozenset(name for name, kind in relation.columns if not self.type_is_open(kind))
        return self._columns[key]
