"""What of a database's catalog a target's lists leave open, and what they do not. Worked out once for a catalog and its lists.

The rule is the same everywhere: what runs code of users is open when an admin listed it, when the curated list has it, or when
it is made of nothing but open things. Function bodies stay opaque; views, policies and conditions are judged like a statement.
"""

from functools import cached_property
from typing import Final

from gateway.statements.cast_openings import CastOpenings
from gateway.statements.catalog import Catalog
from gateway.statements.catalog_objects import (
    FIRST_USER_OID,
    Function,
    FunctionUse,
    Operator,
    Type,
    use_of,
)
from gateway.statements.catalogue import ACTIVITY_FUNCTIONS, OPERATORS, REFUSED_FUNCTIONS, SAFE_FUNCTIONS
from gateway.statements.curated import is_curated
from gateway.statements.operator_choice import OperatorChoice
from gateway.statements.relation_openings import Definition, RelationOpenings

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
        self._types: dict[int, bool] = {}
        self.relations = RelationOpenings(self, whole, constants)
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
    def casts(self) -> CastOpenings:
        return CastOpenings(self)

    def shown(self, use: FunctionUse) -> str:
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
        found = {oid for cast in self.casts.closed for oid in (cast.source, cast.target)}
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
        found = {name: f"{cast.source_name} AS {name}" for name, cast in self.casts.targets.items()}
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
