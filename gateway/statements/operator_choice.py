"""Which operators of users a built-in name may turn out to be with no value of users' types in sight.

PostgreSQL chooses an operator by its operands' types: an exact match first (an untyped literal beside a typed operand counts as of
the same type), then among all candidates that the operands turn to implicitly, those with more exact matches, those with more
preferred types, for untyped operands the category of text before others and the preferred types of a category; last, an untyped
operand is taken to be of the type of the typed one. Two candidates that are left make an error.

A candidate with an operand of a user's type U drops out, or is never alone, when nothing but a value of U turns to U: no domain
(values of its base type are values of it), no row type (any record turns to it; but where both operands are such and PostgreSQL
has the operator over records, that one matches exactly), no target of an implicit cast, and when untyped operands prefer others:
U is not preferred, not like text (unless PostgreSQL has the operator over texts), and PostgreSQL has an operator of the same name
and as many operands, so that U's is never the only candidate.

With one built-in operand B, U's candidate is also possible for a B beside an untyped literal. Then PostgreSQL's own operator over
two B is possible just as well, and no step above drops it and keeps U's: which is why B has to be one of the types that have it.

Values of U are refused by themselves: see `Openings.type_is_open`. tests/policy/test_policy_operator_choice.py asks a real server.
"""

from collections.abc import Set
from functools import cached_property
from typing import Final

from gateway.statements.catalog import Catalog
from gateway.statements.catalog_objects import FIRST_USER_OID, Operator, number

_COMPARISONS: Final = frozenset({"=", "<>", "<", "<=", ">", ">="})
# bool bytea "char" name int8 int2 int4 text oid float4 float8 money macaddr inet bpchar date time timestamp timestamptz interval
# timetz bit varbit numeric uuid jsonb: types with each of these operators over two of them, in each major version.
_COMPARED: Final = frozenset(
    (
        16,
        17,
        18,
        19,
        20,
        21,
        23,
        25,
        26,
        700,
        701,
        790,
        829,
        869,
        1042,
        1082,
        1083,
        1114,
        1184,
        1186,
        1266,
        1560,
        1562,
        1700,
        2950,
        3802,
    )
)
_OVER_RECORDS: Final = _COMPARISONS | {"*=", "*<>", "*<", "*<=", "*>", "*>="}
_OVER_TEXTS: Final = _COMPARISONS | {"||", "~", "!~", "~*", "!~*", "~~", "!~~", "~~*", "!~~*", "^@"}
_PREFIX: Final = frozenset({"+", "-", "~", "@", "#", "|/", "||/", "@-@", "@@", "?-", "?|"})
_BINARY: Final = (
    _OVER_RECORDS
    | _OVER_TEXTS
    | {
        "+",
        "-",
        "*",
        "/",
        "%",
        "^",
        "&",
        "|",
        "#",
        "<<",
        ">>",
        "<<=",
        ">>=",
        "&&",
        "@>",
        "<@",
        "->",
        "->>",
        "#>",
        "#>>",
        "<->",
        "@@",
        "?",
        "?|",
        "?&",
        "&<",
        "&>",
        "<<|",
        "|>>",
        "&<|",
        "|&>",
        "-|-",
        "~=",
    }
)


class OperatorChoice:
    """Of a database's catalog, whatever a target lists."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def needs_a_value(self, operator: Operator) -> bool:
        """Whether PostgreSQL chooses this operator only where an operand has one of its users' types, or one of `turning_to`."""
        name, operands = operator.name, operator.operands
        if len(operands) != 2:
            return name in _PREFIX and all(self._is_apart(oid) for oid in operands)
        like_text, rows = name in _OVER_TEXTS, name in _OVER_RECORDS
        if name in _BINARY and all(self._is_apart(oid, like_text=like_text, rows=rows) for oid in operands):
            return True
        apart = [oid for oid in operands if self._is_apart(oid)]
        return name in _COMPARISONS and bool(apart) and all(oid in apart or oid in _COMPARED for oid in operands)

    def turning_to(self, types: Set[int]) -> Set[int]:
        """`types`, and the users' types whose values turn to one of them by themselves: by a cast, or as rows of a child table."""
        found = set(types)
        waiting = list(found)
        while waiting:
            new = self._sources.get(waiting.pop(), set()) - found
            found |= new
            waiting += new
        return found

    def _is_apart(self, oid: int, *, like_text: bool = False, rows: bool = False) -> bool:
        """Whether the type is one of users that no other value turns to: also if it is like text, or a row type."""
        kind = self._catalog.types_by_oid.get(oid)
        if kind is None or kind.preferred or oid in self._reached or (kind.like_text and not like_text):
            return False
        match kind.kind:
            case "b":
                return all(self._is_apart(inside) for inside in kind.inside)
            case "c":
                return rows
            case "e" | "m" | "r":
                return True
            case _:
                return False

    @cached_property
    def _implicit(self) -> tuple[tuple[int, int], ...]:
        """(source, target) of users' implicit casts to users' types, with and without a function."""
        rows = ((number(row[0]), number(row[2])) for row in self._catalog.rows.casts if row[4] == "i")
        return tuple(row for row in rows if row[1] >= FIRST_USER_OID)

    @cached_property
    def _reached(self) -> frozenset[int]:
        return frozenset(target for source, target in self._implicit if source < FIRST_USER_OID)

    @cached_property
    def _sources(self) -> dict[int, set[int]]:
        found: dict[int, set[int]] = {}
        for source, target in self._implicit:
            if source >= FIRST_USER_OID:
                found.setdefault(target, set()).add(source)
        rows = {(kind.schema, kind.name): kind.oid for kind in self._catalog.types_by_oid.values() if kind.kind == "c"}
        for schema, name, parent_schema, parent in self._catalog.rows.inherits:
            child, above = rows.get((schema or "", name or "")), rows.get((parent_schema or "", parent or ""))
            if child is not None and above is not None:
                found.setdefault(above, set()).add(child)
        return found
