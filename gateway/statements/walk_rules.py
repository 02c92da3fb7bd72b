"""What the walk does at which class or field of a parse tree (see `walk`): nothing, go on below, or a rule of its own."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from gateway.statements import names, refusal
from gateway.statements.addressed import FUNCTIONS, misplaced
from gateway.statements.catalogue import (
    ACTIVITY_FUNCTIONS,
    ATTRIBUTE_FUNCTIONS,
    KEYWORD_SINCE,
    REFUSED_FUNCTIONS,
)
from gateway.statements.compat import next_id_instead
from gateway.statements.nodes import LEAF_NODES, NESTED_FIELDS, PLAIN_NODES, SCALAR_FIELDS
from gateway.statements.parse import Json, location, string, strings
from gateway.statements.refusal import Refusal
from gateway.statements.verdict import LabelEdit

if TYPE_CHECKING:
    from gateway.statements.walk import Walk

Push = Callable[[Json], None]
Rule = Callable[["Walk", Json, Push], Refusal | None]
Rules = Mapping[str, bool | Rule]

_SAMPLING_METHODS: Final = frozenset({"system", "bernoulli"})
_JSON_OBJECT: Final = ("pg_catalog", "json_object")


def _function_call(walk: "Walk", value: Json, push: Push) -> Refusal | None:
    if not isinstance(value, dict):
        return refusal.unknown_syntax("FuncCall", None)
    parts = strings(value.get("funcname"))
    if not parts:
        return refusal.unknown_syntax("FuncCall", location(value))
    walk.functions.add(names.shown(parts))
    if parts[-1] in FUNCTIONS and (found := misplaced(parts, location(value))) is not None:
        return found
    push(value)
    if parts[-1] == "set_config" and (len(parts) == 1 or parts[-2] == "pg_catalog"):
        match walk.set_config(value):
            case Refusal() as refused:
                return refused
            case LabelEdit() as edit:
                walk.edits.append(edit)
            case None:
                pass
        return None
    arguments = value.get("args")
    count = len(arguments) if isinstance(arguments, list) else 0
    if parts == _JSON_OBJECT:
        parts = parts[1:]  # the parser put the schema there; servers before 16 do not
    harmless = next_id_instead(parts[-1], location(value), walk.wording) if count == 0 and not walk.is_definition else None
    if harmless is not None:
        walk.edits.append(harmless)
        return None
    if (parts, count) in walk.listed.passed:
        return None
    found = names.check_function(parts, count, walk.listed, location(value))
    if found is not None and walk.inner is not None and found.rule == "function-not-allowed":
        return walk.inner(walk, value, parts, found)
    return found


def _column(walk: "Walk", value: Json, _push: Push) -> Refusal | None:
    """`t.name` is a call of `name` when t has no such column. (A plain name never is.)"""
    if isinstance(value, dict):
        fields = value.get("fields")
        if isinstance(fields, list) and len(fields) > 1 and not walk.is_definition:
            name = string(fields[-1])
            if name in ATTRIBUTE_FUNCTIONS:
                return refusal.attribute_call(name, REFUSED_FUNCTIONS[name], location(value))
            if walk.listed.hides_activity and name in ACTIVITY_FUNCTIONS:
                return refusal.activity_hidden(f"the attribute {name}", ACTIVITY_FUNCTIONS[name], location(value))
            openings = walk.listed.openings
            if openings is not None and name in openings.attribute_names:
                walk.dotted.append(value)
    return None


def _indirection(walk: "Walk", value: Json, push: Push) -> Refusal | None:
    """`(x).name` is a call of `name` when x has no such field, whatever the type of x is."""
    if isinstance(value, list):
        openings = None if walk.is_definition else walk.listed.openings
        for item in value:
            name = string(item)
            if name in ATTRIBUTE_FUNCTIONS and not walk.is_definition:
                return refusal.attribute_call(name, REFUSED_FUNCTIONS[name], None)
            if walk.listed.hides_activity and name in ACTIVITY_FUNCTIONS and not walk.is_definition:
                return refusal.activity_hidden(f"the attribute {name}", ACTIVITY_FUNCTIONS[name], None)
            if openings is not None and name in openings.attribute_names:
                return refusal.attribute_of_users(name, openings.attribute_names[name], None)
        push(value)
    return None


def _expression(walk: "Walk", value: Json, push: Push) -> Refusal | None:
    if not isinstance(value, dict):
        return refusal.unknown_syntax("A_Expr", None)
    push(value)
    parts = strings(value.get("name"))
    if (parts, "operator") in walk.listed.passed:
        return None
    return names.check_operator(parts, walk.listed, location(value))


def _operator(walk: "Walk", value: Json, _push: Push) -> Refusal | None:
    return names.check_operator(strings(value), walk.listed, None)


def _type(walk: "Walk", value: Json, push: Push) -> Refusal | None:
    if isinstance(value, dict):
        push(value)
        parts = strings(value.get("names"))
        if (parts, "type") in walk.listed.passed:
            return None
        if len(parts) > 1 or (parts and walk.listed.openings is not None):
            return names.check_type(parts, walk.listed, location(value))
    return None


def _hidden_equality(walk: "Walk", value: Json, push: Push) -> Refusal | None:
    """CASE x WHEN y, x IN (SELECT ...), JOIN ... USING and NATURAL JOIN look up the operator = with no operator in the text."""
    push(value)
    openings = walk.listed.openings
    if openings is None or "=" not in openings.closed_unqualified_operators or not isinstance(value, dict):
        return None
    if (
        "arg" in value
        or value.get("usingClause")
        or value.get("isNatural")
        or ("testexpr" in value and "operName" not in value)
    ):
        return names.check_operator(("=",), walk.listed, location(value) if "location" in value else None)
    return None


def _range_var(walk: "Walk", value: Json, push: Push) -> Refusal | None:
    if isinstance(value, dict):
        push(value)  # its fields and alias must be known, too
        return walk.relation(value)
    return refusal.unknown_syntax("RangeVar", None)


def _relation_field(walk: "Walk", value: Json, push: Push) -> Refusal | None:
    if isinstance(value, dict) and "relname" in value:
        return _range_var(walk, value, push)
    push(value)
    return None


def _sampling(walk: "Walk", value: Json, _push: Push) -> Refusal | None:
    parts = strings(value)
    if parts and (parts[-1] in _SAMPLING_METHODS and (len(parts) == 1 or parts[-2] == "pg_catalog")):
        return None
    return names.check_function(parts or ("",), 1, walk.listed, None)


def _cte_name(walk: "Walk", value: Json, _push: Push) -> Refusal | None:
    walk.ctes.add(str(value))
    return None


def _row_lock(_walk: "Walk", _value: Json, _push: Push) -> Refusal | None:
    return refusal.row_lock(None)


def _into(_walk: "Walk", value: Json, _push: Push) -> Refusal | None:
    relation = value.get("rel") if isinstance(value, dict) else None
    if not isinstance(relation, dict):
        return refusal.select_into(None)
    temporary = relation.get("relpersistence") == "t"
    hint = refusal.TEMPORARY_GRANT_HINT if temporary else refusal.READ_WRITE_HINT
    return refusal.select_into(location(relation), hint)


def _keyword(tag: str) -> Rule:
    since, name = KEYWORD_SINCE[tag]

    def rule(walk: "Walk", value: Json, push: Push) -> Refusal | None:
        push(value)
        if walk.server_major >= since:
            return None
        called = name
        if tag == "JsonFuncExpr" and isinstance(value, dict):
            called = str(value.get("op", "JSON_EXISTS_OP")).removesuffix("_OP").lower()
        return names.check_function((called,), 1, walk.listed, location(value) if isinstance(value, dict) else None)

    return rule


#: By class or field. True: what is below is looked at; False: nothing is below; otherwise the rule looks, and pushes what is left.
RULES: Final[Rules] = {
    **dict.fromkeys(PLAIN_NODES | NESTED_FIELDS, True),
    **dict.fromkeys(LEAF_NODES | SCALAR_FIELDS, False),
    **{tag: _keyword(tag) for tag in KEYWORD_SINCE},
    "FuncCall": _function_call,
    "ColumnRef": _column,
    "indirection": _indirection,
    "A_Expr": _expression,
    "CaseExpr": _hidden_equality,
    "SubLink": _hidden_equality,
    "JoinExpr": _hidden_equality,
    "operName": _operator,
    "useOp": _operator,
    "TypeName": _type,
    "typeName": _type,
    "RangeVar": _range_var,
    "relation": _relation_field,
    "method": _sampling,
    "ctename": _cte_name,
    "lockingClause": _row_lock,
    "LockingClause": _row_lock,
    "intoClause": _into,
}


def with_rules(more: Rules) -> Rules:
    """The walk's rules and more: for a walk that may meet other nodes, too."""
    return {**RULES, **more}
