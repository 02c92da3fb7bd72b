"""Names of relations and schemas, as people write them and as the server keeps them. Pure.

As in SQL: a name folds to lower case unless it stands in double quotes, and a quote within quotes is doubled.
"""

import re
from typing import Final

MAX_NAMES: Final = 1000
"""How many schemas, and how many tables, a grant may list."""

_MAX_NAME_BYTES: Final = 63  # NAMEDATALEN - 1
_PLAIN: Final = re.compile(r"[a-z_][a-z0-9_]*\Z")
_PART: Final = re.compile(r'([^\W\d][\w$]*)|"((?:[^"\0]|"")+)"')


class RelationNameError(ValueError):
    """The message says what is wrong with the name."""


def parse_schema(text: str) -> str:
    """Raises RelationNameError."""
    parts = _parts(text)
    if len(parts) != 1:
        raise RelationNameError(f'"{text[:100]}" is not the name of one schema')
    return parts[0]


def parse_table(text: str) -> tuple[str, str]:
    """Schema and name of `schema.table`. Raises RelationNameError."""
    parts = _parts(text)
    if len(parts) != 2:
        raise RelationNameError(f'"{text[:100]}" is not schema.table')
    return parts[0], parts[1]


def write_name(name: str) -> str:
    """As SQL has it, quoted where it must be (a keyword, too, may stand there: it means the same)."""
    return name if _PLAIN.match(name) else '"{}"'.format(name.replace('"', '""'))


def write_table(table: tuple[str, str]) -> str:
    return ".".join(map(write_name, table))


def _parts(text: str) -> list[str]:
    found, at = [], 0
    while True:
        part = _PART.match(text, at)
        if part is None:
            raise RelationNameError(f'"{text[:100]}" is no name as SQL writes it: schema.table, in double quotes where needed')
        plain, quoted = part.groups()
        name = _folded(plain) if plain is not None else quoted.replace('""', '"')
        if len(name.encode()) > _MAX_NAME_BYTES:
            raise RelationNameError(f'"{name[:100]}" is longer than a name in PostgreSQL may be ({_MAX_NAME_BYTES} bytes)')
        found.append(name)
        at = part.end()
        if at == len(text):
            return found
        if text[at] != ".":
            raise RelationNameError(f'"{text[:100]}" is no name as SQL writes it: schema.table, in double quotes where needed')
        at += 1


def _folded(name: str) -> str:
    """As the server folds names in UTF-8: ASCII letters alone."""
    return "".join(character.lower() if character.isascii() else character for character in name)
