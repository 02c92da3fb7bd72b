"""SET, RESET and set_config: from parse tree to setting rules."""

from typing import Final

from gateway.access_mode import AccessMode
from gateway.statements import refusal, settings
from gateway.statements.edits import starts_literal, value_range
from gateway.statements.literals import Wording
from gateway.statements.parse import Fields, Json, location, strings
from gateway.statements.refusal import Refusal
from gateway.statements.settings import Lower, SettingRules
from gateway.statements.verdict import LabelEdit, ValueEdit

_LABEL: Final = "application_name"
# pg_dump asks this of servers that know the setting; its name comes from a column, so only this very text passes.
_PG_DUMP: Final = (
    "select set_config(name, 'view, foreign-table', false) from pg_settings where name = 'restrict_nonsystem_relation_kind'"
)
_TEXT_TYPES: Final = frozenset({"text", "varchar", "name"})

Answer = Refusal | LabelEdit | ValueEdit | None


def variable_set(node: Fields, wording: Wording, end: int, rules: SettingRules, place: int) -> Answer:
    """A VariableSetStmt that starts at `place` and ends at `end` in the text."""
    kind = node.get("kind", "VAR_SET_VALUE")
    name = settings.fold(str(node.get("name", "")))
    match kind:
        case "VAR_SET_VALUE":
            return _set_value(node, name, wording, end, rules, place)
        case "VAR_SET_DEFAULT" | "VAR_RESET":
            answer = settings.check(name, None, rules, place)
            return answer if isinstance(answer, Refusal) else None
        case "VAR_RESET_ALL":
            return None
        case "VAR_SET_MULTI":
            return _transaction_modes(node, name, wording, rules, place)
        case _:
            return refusal.unsupported("SET ... FROM CURRENT", "Write the value.", place)


def _set_value(node: Fields, name: str, wording: Wording, end: int, rules: SettingRules, place: int) -> Answer:
    arguments = node.get("args")
    items = arguments if isinstance(arguments, list) else []
    values = [wording.constant(item) for item in items]
    if name == "timezone" and len(items) == 1 and values[0] is None:
        return None  # SET TIME ZONE INTERVAL ...: the grammar lets only a constant through
    texts = [value for value in values if value is not None]
    if len(texts) != len(values) or not texts:
        return refusal.unsupported("this form of SET", "Write the value as a plain constant.", place)
    answer = settings.check(name, texts, rules, place)
    if isinstance(answer, Refusal):
        return answer
    first = items[0]
    start = _place_of(first)
    spot = value_range(wording.sql, start, end) if start is not None and len(items) == 1 else None
    if name == _LABEL:
        return LabelEdit(*spot, texts[0], "") if spot else refusal.label_not_editable(place)
    if isinstance(answer, Lower):
        return ValueEdit(*spot, answer.text) if spot else refusal.setting_value(name, f"at most {answer.text}", place)
    return None


def transaction_options_write(options: Json, wording: Wording) -> bool:
    """True when one of a transaction's modes is READ WRITE. (The last one wins upstream: all of them must be READ ONLY.)"""
    if not isinstance(options, list):
        return False
    for option in options:
        element = option.get("DefElem") if isinstance(option, dict) else None
        if (
            isinstance(element, dict)
            and element.get("defname") == "transaction_read_only"
            and wording.constant(element.get("arg")) != "1"
        ):
            return True
    return False


def _transaction_modes(node: Fields, name: str, wording: Wording, rules: SettingRules, place: int) -> Refusal | None:
    if name == "transaction snapshot":
        if rules.mode is AccessMode.READ_WRITE:
            return None
        return refusal.unsupported("SET TRANSACTION SNAPSHOT", "Start the transaction without it.", place)
    if rules.mode is AccessMode.READ_ONLY and transaction_options_write(node.get("args"), wording):
        return refusal.read_write_transaction(place)
    return None


def set_config(node: Fields, wording: Wording, rules: SettingRules) -> Refusal | LabelEdit | None:
    """A call of set_config. The name must be a constant; the value too, or a bound parameter where any value is fine."""
    offset = location(node)
    arguments = node.get("args")
    if not isinstance(arguments, list) or len(arguments) != 3:
        return refusal.setting_not_constant(offset)
    name = _text_constant(arguments[0], wording)
    if name is None:
        if " ".join(wording.sql.decode().split()).removesuffix(";").lower() == _PG_DUMP:
            return None
        return refusal.setting_not_constant(offset)
    name = settings.fold(name)
    value = _text_constant(arguments[1], wording)
    if name == _LABEL:
        start = _place_of(arguments[1])
        if start is None or not starts_literal(wording.sql, start):
            return refusal.label_not_editable(offset)
        return LabelEdit(start, start, "", " || ")
    if value is None:
        if rules.mode is AccessMode.READ_ONLY and _is_parameter(arguments[1]) and _free(name, rules):
            return None
        if rules.mode is AccessMode.READ_WRITE and _free(name, rules):
            return None
        return refusal.setting_not_constant(offset)
    answer = settings.check(name, value, rules, offset)
    if isinstance(answer, Lower):
        return refusal.setting_value(name, f"at most {answer.text}, and not 0", offset)
    return answer


def _free(name: str, rules: SettingRules) -> bool:
    """True when neither of two values, each of which no rule by value lets pass, is refused."""
    return all(settings.check(name, probe, rules) is None for probe in ("\ufffd", "\ufffd\ufffd"))


def _uncast(node: Json) -> Json:
    """What a cast to text, name or varchar without a length is made of; the node itself when it is no cast; else None.

    (Other casts could cut the value short.)
    """
    cast = node.get("TypeCast") if isinstance(node, dict) else None
    if not isinstance(cast, dict):
        return node
    target = cast.get("typeName")
    if not isinstance(target, dict) or "typmods" in target or "arrayBounds" in target:
        return None
    parts = strings(target.get("names"))
    if parts[-1:] and parts[-1] in _TEXT_TYPES and (len(parts) == 1 or parts[-2] == "pg_catalog"):
        return cast.get("arg")
    return None


def _text_constant(node: Json, wording: Wording) -> str | None:
    """A string constant, also with a cast to one of the text types."""
    return wording.text(_uncast(node))


def _is_parameter(node: Json) -> bool:
    node = _uncast(node)
    return isinstance(node, dict) and "ParamRef" in node


def _place_of(node: Json) -> int | None:
    """Where a constant or a parameter (with a cast to a text type, or none) starts."""
    node = _uncast(node)
    for tag in ("A_Const", "ParamRef"):
        inner = node.get(tag) if isinstance(node, dict) else None
        if isinstance(inner, dict):
            return location(inner)
    return None
