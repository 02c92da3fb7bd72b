"""Functions that run a text: they may where the text is one plain constant, which is then judged like what the client sends.

Only a single SELECT, read once more from the constant's value, with nothing to be edited in it, and no such call within.
"""

from dataclasses import replace
from typing import Final

from gateway.statements import refusal
from gateway.statements.hygiene import is_small, too_tangled
from gateway.statements.limits import Bounds
from gateway.statements.literals import Wording
from gateway.statements.parse import Fields, Json, ParseFailure, location, parse, strings
from gateway.statements.readonly import Statement, judge_statement
from gateway.statements.refusal import Refusal
from gateway.statements.settings import SettingRules
from gateway.statements.walk import Walk

#: Which argument is the text: PostgreSQL prepares it by itself, in the caller's session and with the caller's rights.
_PLACES: Final = {"query_to_xml": 0, "query_to_xml_and_xmlschema": 0, "query_to_xmlschema": 0, "ts_rewrite": 1, "ts_stat": 0}
_PLAIN_CALL: Final = frozenset({"funcname", "args", "funcformat", "location"})
_TEXT: Final = (("text",), ("pg_catalog", "text"))
_MAX_BYTES: Final = 4096
_LINES: Final = str.maketrans("", "", "\t\n\r")


def judge_inner(walk: Walk, call: Fields, parts: tuple[str, ...], refused: Refusal, settings: SettingRules) -> Refusal | None:
    """Of a call of PostgreSQL's own function `parts` that is `refused` for what it could run: None when that may run."""
    place = _PLACES.get(parts[-1])
    arguments = call.get("args")
    if (
        place is None
        or parts[:-1] not in ((), ("pg_catalog",))
        or not isinstance(arguments, list)
        or len(arguments) <= place
        or call.keys() - _PLAIN_CALL
    ):
        return refused
    text = walk.wording.text(_uncast(arguments[place]))
    if text is None:
        return refused
    found = _judge(text, walk, settings)
    if found is None:
        return None
    return replace(found, message=f"the text that {parts[-1]} would run: {found.message}", offset=location(call))


def _judge(text: str, outer: Walk, settings: SettingRules) -> Refusal | None:
    sql = text.encode()
    if len(sql) > _MAX_BYTES or not text.translate(_LINES).isprintable() or not is_small(sql, _MAX_BYTES):
        return refusal.unsupported("a long text, or one of unusual characters, as an argument", "Run it by itself.", None)
    statements = () if too_tangled(text, Bounds()) else parse(text)
    if isinstance(statements, ParseFailure) or len(statements) != 1 or statements[0].tag != "SelectStmt":
        return refusal.unsupported("what is not one SELECT, as an argument", "Run it by itself.", None)
    wording = Wording(sql)
    walk = Walk(outer.listed, outer.server_major, _no_set_config, wording)
    found = judge_statement(Statement(statements[0], wording, 0, settings, walk, nested=True))
    outer.tables |= walk.tables - walk.ctes
    outer.functions |= walk.functions
    outer.relied |= walk.relied
    if found is None and walk.edits:
        return refusal.unsupported("what this gateway would have to change, as an argument", "Run it by itself.", None)
    return found


def _no_set_config(_call: Fields) -> Refusal:
    return refusal.setting_not_constant(None)


def _uncast(node: Json) -> Json:
    """What a cast to text is made of; the node itself when it is no cast. (Other casts could cut the text short.)"""
    cast = node.get("TypeCast") if isinstance(node, dict) else None
    if not isinstance(cast, dict):
        return node
    target = cast.get("typeName")
    if isinstance(target, dict) and "arrayBounds" not in target and strings(target.get("names")) in _TEXT:
        return cast.get("arg")
    return None
