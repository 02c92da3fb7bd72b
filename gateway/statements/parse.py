"""SQL text to PostgreSQL's own parse tree, as JSON. The only module that imports pglast.

The tree is plain dicts and lists: a key that starts with a capital is a node's class, any other a field. Zero, false and empty
fields are left out by the parser. Never the Python AST of pglast: building it can kill the process by
a deep text.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import orjson
from pglast.parser import ParseError, get_postgresql_version, parse_sql_json

Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None
Fields = dict[str, Json]

GRAMMAR: Final = ".".join(str(part) for part in get_postgresql_version())
"""The PostgreSQL version whose grammar this is."""


@dataclass(frozen=True, slots=True)
class ParseFailure:
    """The parser's own message. `index` counts characters from 0, or is None. `too_deep`: it gave up on nesting."""

    message: str
    index: int | None
    too_deep: bool


@dataclass(slots=True)
class RawStatement:
    """One statement of the text: node class, node, and its bytes `start:end` of the UTF-8 text (with leading blanks)."""

    tag: Final[str]
    node: Final[Fields]
    start: Final[int]
    end: Final[int]


def parse(text: str) -> tuple[RawStatement, ...] | ParseFailure:
    """All statements of `text`; none for blanks and comments. `text` holds no NUL (the parser would stop there)."""
    try:
        raw = _read(parse_sql_json(text))["stmts"]
    except ParseError as error:
        message = str(error.args[0])
        deep = "stack depth" in message or "memory exhausted" in message
        return ParseFailure(message, error.args[1] if len(error.args) > 1 else None, deep)
    except RecursionError:
        return ParseFailure("statement is nested too deeply", None, too_deep=True)
    if not raw:
        return ()
    size = len(text.encode())
    return tuple([_statement(entry, size) for entry in raw])


def _read(tree: str) -> dict[str, list[Fields]]:
    """JSON as Python values. Raises RecursionError where nobody can, and ValueError for what is no JSON."""
    try:
        return orjson.loads(tree)  # type: ignore[no-any-return]
    except orjson.JSONDecodeError:  # it reads 1024 levels, and no broken characters: what it refuses, the slower one may read
        return json.loads(tree)  # type: ignore[no-any-return]


def _statement(entry: Fields, size: int) -> RawStatement:
    node = entry["stmt"]
    if not isinstance(node, dict):
        raise TypeError("a statement is no node")
    ((tag, fields),) = node.items()
    if not isinstance(fields, dict):
        raise TypeError("a node has no fields")
    start, length = entry.get("stmt_location", 0), entry.get("stmt_len", 0)
    if not (isinstance(start, int) and isinstance(length, int)):
        raise TypeError("a statement has no place")
    return RawStatement(tag, fields, start, start + length if length else size)


def string(node: Json) -> str:
    """The text of a String node; "" when it is none."""
    try:
        return node["String"]["sval"]  # type: ignore[index, call-overload, return-value]
    except (KeyError, TypeError):  # another node, or an empty text
        return ""


def strings(value: Json) -> tuple[str, ...]:
    """The texts of a list of String nodes: a qualified name."""
    if not isinstance(value, list):
        return ()
    try:
        return tuple([item["String"]["sval"] for item in value])  # type: ignore[index, call-overload, misc]
    except (KeyError, TypeError, IndexError):  # a star, a number, an empty text
        return tuple(string(item) for item in value)


def location(fields: Fields) -> int | None:
    """A node's place: bytes from the start of the UTF-8 text; None when the parser does not know it."""
    value = fields.get("location", 0)  # the parser leaves zero out
    return value if isinstance(value, int) and value >= 0 else None


def tagged_nodes(root: Json) -> Iterator[tuple[str, Fields]]:
    """Each node below with its class, or with the name of the field that holds it; in no order that matters."""
    stack: list[Json] = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack.extend(node)
        elif isinstance(node, dict):
            for tag, value in node.items():
                if isinstance(value, dict):
                    yield tag, value
                    stack.append(value)
                elif isinstance(value, list):
                    stack.append(value)
