"""The same statement in other letters: other case, quotes, escapes, comments and blanks. The parse tree stays the same."""

import json
from collections.abc import Callable
from random import Random
from typing import Any

from pglast.parser import ParseError, Token, parse_sql_json, scan

_BLANKS = (" ", "  ", "\n", "\t", "\f", "\r\n", "/**/", " /* a ; b */ ", "/* x /* nested */ ' */", " -- it's\n", "--\r", "\v")
_PLAIN_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_$")


def respelled(sql: str, random: Random) -> str:
    """`sql`, spelled otherwise here and there. The text itself where that would mean anything else, or nothing."""
    try:
        tokens = scan(sql)
    except ParseError:
        return sql
    share = random.choice((0.1, 0.4, 1.0))
    pieces = []
    place = 0
    for token in tokens:
        between = sql[place : token.start]
        chance = share if between.isspace() else share / 4 if place and not between and _may_part(sql, token.start) else 0
        if random.random() < chance:
            between = random.choice(_BLANKS)
        piece = sql[token.start : token.end + 1]
        if random.random() < share:
            piece = _token(token, piece, random)
        pieces += [between, piece]
        place = token.end + 1
    made = "".join(pieces) + sql[place:]
    return made if "\0" not in made and _tree(made) == _tree(sql) else sql


def _may_part(sql: str, place: int) -> bool:
    """Brackets, commas and dots stand by themselves."""
    return sql[place - 1] in "(),[]." or sql[place] in "(),[]."


def _token(token: Token, text: str, random: Random) -> str:
    if token.name == "IDENT" and text[0] != '"':
        ways: tuple[Callable[[str, Random], str], ...] = (_cased, _cased)
        if set(text.lower()) <= _PLAIN_NAME:
            ways = (_cased, _quoted, _escaped_name, _escaped_with)
        return random.choice(ways)(text, random)
    if token.kind.endswith("_KEYWORD") and token.kind != "NO_KEYWORD":
        return _cased(text, random)
    if token.name == "SCONST" and text[0] == "'" and "\\" not in text:
        return random.choice((_escaped_string, _unicode_string, _dollar, _split, _with_escape))(
            text[1:-1].replace("''", "'"), random
        )
    return text


def _cased(text: str, random: Random) -> str:
    return "".join(letter.upper() if letter.isascii() and random.random() < 0.5 else letter for letter in text)


def _quoted(text: str, _random: Random) -> str:
    return f'"{text.lower()}"'


def _escaped_name(text: str, random: Random) -> str:
    letters = [f"\\{ord(c):04x}" if random.random() < 0.5 else c for c in text.lower()]
    return f'U&"{"".join(letters)}"'


def _escaped_with(text: str, random: Random) -> str:
    letters = [f"!+{ord(c):06X}" if random.random() < 0.5 else c for c in text.lower()]
    return f"u&\"{''.join(letters)}\" UESCAPE '!'"


def _escaped_string(value: str, random: Random) -> str:
    made = []
    for letter in value:
        if letter.isascii() and random.random() < 0.5:
            made.append(random.choice((f"\\x{ord(letter):02x}", f"\\{ord(letter):03o}", f"\\u{ord(letter):04x}")))
        else:
            made.append("''" if letter == "'" else letter)
    return f"E'{''.join(made)}'"


def _unicode_string(value: str, random: Random) -> str:
    made = [f"\\{ord(c):04x}" if ord(c) < 0x10000 and random.random() < 0.5 else ("''" if c == "'" else c) for c in value]
    return f"U&'{''.join(made)}'"


def _dollar(value: str, random: Random) -> str:
    tag = random.choice(("$$", "$a$", "$é1$"))
    return f"{tag}{value}{tag}" if "$" not in value else "'" + value.replace("'", "''") + "'"


def _split(value: str, random: Random) -> str:
    at = random.randint(0, len(value))
    first, second = (part.replace("'", "''") for part in (value[:at], value[at:]))
    return f"'{first}' -- goes on\n '{second}'"


def _with_escape(value: str, _random: Random) -> str:
    return "E'" + value.replace("'", "\\'") + "'"


def _tree(sql: str) -> Any:
    """The parse tree without places; None when there is none."""
    try:
        return _placeless(json.loads(parse_sql_json(sql)))
    except ParseError:
        return None


def _placeless(node: Any) -> Any:
    match node:
        case list():
            return [_placeless(each) for each in node]
        case dict():
            return {
                key: _placeless(value)
                for key, value in node.items()
                if not key.endswith("location")
                and key not in ("stmt_len", "list_start", "list_end", "rexpr_list_start", "rexpr_list_end")
            }
        case _:
            return node
