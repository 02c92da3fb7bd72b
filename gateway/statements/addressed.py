"""Statements that are addressed to the gateway itself: `SHOW pgbastion.grants`, `SELECT pgbastion.request(...)`. Pure.

Such a text never goes upstream, whatever the database has under these names: the session sends a SELECT of constants in its place,
which is the answer. It must be the only statement of its text, and all that it says must stand in it as literals. What asks for
something by these functions in any other way is refused, so that a text which does more than that is never taken for one of these.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

from gateway.access_mode import AccessMode
from gateway.durations import read_duration
from gateway.statements.literals import Wording
from gateway.statements.parse import Fields, Json, RawStatement, location, strings
from gateway.statements.refusal import Refusal
from gateway.statements.settings import fold

SCHEMA: Final = "pgbastion"
REQUEST: Final = "request"
RELINQUISH: Final = "relinquish"
FUNCTIONS: Final = frozenset({REQUEST, RELINQUISH})
_SETTINGS: Final = f"{SCHEMA}."

FORM_HINT: Final = (
    "Send it by itself, with literals: SELECT pgbastion.request(mode => 'read_write', duration => '1h', reason => '...'), "
    "or SELECT pgbastion.relinquish(17)."
)
_LITERALS_HINT: Final = "Write each value into the text as a literal; parameters ($1) cannot be used here."


class Shown(StrEnum):
    """What SHOW tells a person of themselves: `SHOW pgbastion.<name>`."""

    SESSION = "session"
    GRANTS = "grants"
    REQUESTS = "requests"


@dataclass(frozen=True, slots=True)
class Show:
    shown: Shown


@dataclass(frozen=True, slots=True)
class AskAccess:
    """None, and empty: not said. `target`: another than the session's. `code`: of a denial, with the statement that it refused.

    `statements`: texts to be allowed, one or more statements; `scope`: "relations" or "exact", of these or of the code's.
    """

    mode: AccessMode | None = None
    duration_seconds: int | None = None
    reason: str = ""
    database_role: str | None = None
    statements: str | None = None
    scope: str | None = None
    code: str | None = field(default=None, repr=False)
    ticket: str | None = None
    target: str | None = None


@dataclass(frozen=True, slots=True)
class GiveBack:
    """`number`: of the request."""

    number: int


Addressed: TypeAlias = Show | AskAccess | GiveBack

_MODES: Final = {
    **{mode.value: mode for mode in AccessMode},
    **{mode.value.replace("_", "-"): mode for mode in AccessMode},
    "ro": AccessMode.READ_ONLY,
    "rw": AccessMode.READ_WRITE,
}
_SCOPES: Final = frozenset({"relations", "exact"})
#: Their names, those first that may be written without.
_ARGUMENTS: Final = {
    REQUEST: ("mode", "duration", "reason", "role", "sql", "scope", "code", "ticket", "target"),
    RELINQUISH: ("number",),
}
_BY_PLACE: Final = {REQUEST: 3, RELINQUISH: 1}
_MOST_NUMBER: Final = 2**31 - 1

_PLAIN_SELECT: Final = frozenset({"targetList", "fromClause", "limitOption", "op"})
_PLAIN_TARGET: Final = frozenset({"val", "name", "location"})
_PLAIN_CALL: Final = frozenset({"funcname", "args", "funcformat", "location"})
_PLAIN_SOURCE: Final = frozenset({"functions", "alias"})
_TEXT: Final = (("text",), ("pg_catalog", "text"), ("pg_catalog", "varchar"))


def addressed(raw: RawStatement, wording: Wording, place: int) -> Addressed | Refusal | None:
    """What this statement asks of the gateway. None: nothing, it is none of these."""
    match raw.tag:
        case "SelectStmt":
            call = _call_of(raw.node)
            return None if call is None else _asked(call, wording)
        case "VariableShowStmt":
            return _show(str(raw.node.get("name", "")), place)
        case _:
            return None


def beside_others(place: int) -> Refusal:
    """It stands in one text with other statements."""
    return _refusal("a statement for the gateway must be the only one of its text", FORM_HINT, place, "0A000")


def misplaced(parts: tuple[str, ...], offset: int | None) -> Refusal | None:
    """Of a call of the function `parts` somewhere within a statement: it may not stand there. None: it is no call of ours."""
    if parts[-1] not in FUNCTIONS or parts[-2:-1] != (SCHEMA,):
        return None
    words = f"{SCHEMA}.{parts[-1]}() is answered by the gateway and cannot be part of another statement"
    return _refusal(words, FORM_HINT, offset, "0A000")


def _refusal(message: str, hint: str, offset: int | None, sqlstate: str) -> Refusal:
    return Refusal("gateway-statement", sqlstate, message, hint, offset)


def _show(name: str, place: int) -> Show | Refusal | None:
    name = fold(name)
    if not name.startswith(_SETTINGS):
        return None
    try:
        return Show(Shown(name.removeprefix(_SETTINGS)))
    except ValueError:
        known = ", ".join(f"{_SETTINGS}{each}" for each in Shown)
        return _refusal(f'there is nothing to show as "{name}"', f"There are {known}.", place, "42704")


def _call_of(node: Fields) -> Fields | None:
    """The call that is all of this SELECT: `SELECT f(...)` or `SELECT * FROM f(...)`."""
    targets, source = node.get("targetList"), node.get("fromClause")
    if not isinstance(targets, list) or len(targets) != 1:
        return None
    value = _field(_field(targets[0], "ResTarget"), "val")
    call = _field(value, "FuncCall") if source is None else _call_of_source(source)
    if call is None or strings(call.get("funcname"))[:-1] != (SCHEMA,) or strings(call["funcname"])[-1] not in FUNCTIONS:
        return None
    target = _field(targets[0], "ResTarget") or {}
    plain = not (node.keys() - _PLAIN_SELECT or target.keys() - _PLAIN_TARGET or call.keys() - _PLAIN_CALL)
    if source is not None:
        columns = (_field(value, "ColumnRef") or {}).get("fields")
        plain = plain and "name" not in target and isinstance(columns, list) and columns == [{"A_Star": {}}]
    return call if plain else None


def _call_of_source(source: Json) -> Fields | None:
    function = _field(source[0], "RangeFunction") if isinstance(source, list) and len(source) == 1 else None
    if function is None or function.keys() - _PLAIN_SOURCE or "colnames" in (_field(function, "alias") or {}):
        return None
    functions = function.get("functions")
    items = (_field(functions[0], "List") or {}).get("items") if isinstance(functions, list) and functions else None
    return _field(items[0], "FuncCall") if isinstance(items, list) and items else None


def _field(node: Json, name: str) -> Fields | None:
    value = node.get(name) if isinstance(node, dict) else None
    return value if isinstance(value, dict) else None


def _asked(call: Fields, wording: Wording) -> Addressed | Refusal:
    name = strings(call["funcname"])[-1]
    given = _arguments(name, call, wording)
    if isinstance(given, Refusal):
        return given
    values, places = given
    return _request(values, places, location(call)) if name == REQUEST else _relinquish(values, location(call))


_Given: TypeAlias = tuple[dict[str, str], dict[str, int | None]]


def _arguments(function: str, call: Fields, wording: Wording) -> _Given | Refusal:
    """Their values by name, and their places; those that are NULL are left out."""
    values: dict[str, str] = {}
    places: dict[str, int | None] = {}
    arguments = call.get("args")
    for number, argument in enumerate(arguments if isinstance(arguments, list) else ()):
        named = _field(argument, "NamedArgExpr")
        name = str(named.get("name")) if named is not None else _name_at(function, number)
        node = named.get("arg") if named is not None else argument
        offset = location(named) if named is not None else location(call)
        if name not in _ARGUMENTS[function] or name in places:
            twice = f'argument "{name}" is given twice'
            words = twice if name in places else f'{SCHEMA}.{function}() has no argument "{name}"'
            return _refusal(words, f"Its arguments are {', '.join(_ARGUMENTS[function])}.", offset, "42883")
        places[name] = offset
        constant = _field(_uncast(node), "A_Const")
        if constant is None:
            return _refusal(f'argument "{name}" of {SCHEMA}.{function}() must be a literal', _LITERALS_HINT, offset, "0A000")
        if not constant.get("isnull"):
            values[name] = (wording.constant({"A_Const": constant}) or "").strip()
    return values, places


def _name_at(function: str, number: int) -> str:
    return _ARGUMENTS[function][number] if number < _BY_PLACE[function] else f"${number + 1}"


def _uncast(node: Json) -> Json:
    """What a cast to text is made of; the node itself when it is no cast."""
    cast = _field(node, "TypeCast")
    if cast is None:
        return node
    target = _field(cast, "typeName") or {}
    return cast.get("arg") if "arrayBounds" not in target and strings(target.get("names")) in _TEXT else None


def _request(values: dict[str, str], places: dict[str, int | None], offset: int | None) -> AskAccess | Refusal:
    mode = _MODES.get(values["mode"].lower()) if "mode" in values else None
    span = read_duration(values["duration"].replace(" ", "")) if "duration" in values else None
    scope = values.get("scope")
    wrong = (
        ("mode", "read_only or read_write", "mode" in values and mode is None),
        ("duration", "a time such as '1h', '30m' or '1d12h'", "duration" in values and not span),
        ("scope", "'relations' or 'exact'", scope is not None and scope not in _SCOPES),
    )
    for name, wanted, is_wrong in wrong:
        if is_wrong:
            return _refusal(f'argument "{name}" of {SCHEMA}.{REQUEST}() must be {wanted}', FORM_HINT, places[name], "22023")
    asked = AskAccess(
        mode,
        None if span is None else int(span.total_seconds()),
        values.get("reason", ""),
        values.get("role") or None,
        values.get("sql") or None,
        scope,
        values.get("code") or None,
        values.get("ticket") or None,
        values.get("target") or None,
    )
    whats = [name for name in ("role", "sql", "code") if name in values]
    if len(whats) > 1 or ("code" in whats and (mode is not None or asked.target is not None)):
        words = "a request is for an access mode, a database role, statements (sql) or a denial's code: for one of these"
        return _refusal(words, FORM_HINT, offset, "22023")
    if not whats and mode is None:
        words = f"{SCHEMA}.{REQUEST}() must say what is asked for: mode, role, sql or code"
        return _refusal(words, FORM_HINT, offset, "22023")
    return asked


def _relinquish(values: dict[str, str], offset: int | None) -> GiveBack | Refusal:
    number = values.get("number", "")
    if not (number.isascii() and number.isdecimal()) or not 0 < int(number[:11]) <= _MOST_NUMBER:
        words = f"{SCHEMA}.{RELINQUISH}() takes the number of a request"
        return _refusal(words, "SHOW pgbastion.requests lists yours.", offset, "22023")
    return GiveBack(int(number))
