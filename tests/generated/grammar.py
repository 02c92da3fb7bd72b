"""The productions of grammar.txt."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_SINCE = re.compile(r" @(\d+|xml)$")

SQL_TYPES: Mapping[str, str] = {
    "int": "int4", "num": "numeric", "float": "float8", "text": "text", "bool": "bool", "date": "date", "ts": "timestamptz",
    "iv": "interval", "json": "jsonb", "tarr": "text[]", "iarr": "int4[]", "tsv": "tsvector", "tsq": "tsquery", "mood": "mood",
    "addr": "addr", "bytea": "bytea", "uuid": "uuid", "range": "int4range", "time": "time", "name": "name", "oid": "oid",
    "bits": "varbit", "inet": "inet", "point": "point",
}  # fmt: skip
"""The types that productions speak of, as PostgreSQL calls them."""

_NAME = re.compile(r"\{(" + "|".join((*SQL_TYPES, "window")) + r")\}")
_OF_USERS = frozenset({"mood", "addr"})


@dataclass(frozen=True, slots=True)
class Production:
    """`parts` alternate: text, the name of a type, text ..."""

    parts: tuple[str, ...]

    @property
    def wants(self) -> frozenset[str]:
        return frozenset(self.parts[1::2])


@dataclass(frozen=True, slots=True)
class Table:
    """`columns` are (name, type); `whole`: that is all of them, in their order."""

    name: str
    columns: tuple[tuple[str, str], ...]
    whole: bool


@dataclass(frozen=True)
class Grammar:
    """Productions by type. The types of users are there only in a database that has them."""

    literals: Mapping[str, tuple[Production, ...]]
    plain: Mapping[str, tuple[Production, ...]]
    aggregates: Mapping[str, tuple[Production, ...]]
    windows: Mapping[str, tuple[Production, ...]]
    sets: Mapping[str, tuple[Production, ...]]
    tables: tuple[Table, ...]

    @property
    def types(self) -> tuple[str, ...]:
        return tuple(sorted(self.plain))


@cache
def grammar(template: str, major: int, *, xml: bool) -> Grammar:
    """Of a database and a server. `xml`: whether it was built with XML."""
    groups: dict[str, dict[str, list[Production]]] = {kind: {} for kind in ("lit", "plain", "agg", "win", "srf")}
    tables = []
    for line in (Path(__file__).parent / "grammar.txt").read_text().splitlines():
        if line.startswith("-- ") or (
            (since := _SINCE.search(line)) and not (xml if since[1] == "xml" else int(since[1]) <= major)
        ):
            continue
        first, rest = _SINCE.sub("", line).split(" ", 1)
        if first == "table":
            home, name, *columns = rest.split()
            if home in ("any", "business" if template == "study" else template):
                named = tuple((column.split(":")[0], column.split(":")[1]) for column in columns)
                tables.append(Table(name, named, whole=home != "any"))
            continue
        group, kind = (first, rest.split(" ", 1)[0]) if first in groups else ("plain", first)
        production = Production(tuple(_NAME.split(rest if group == "plain" else rest.split(" ", 1)[1])))
        if template == "objects" and not _OF_USERS.isdisjoint({kind, *production.wants}):
            continue
        groups[group].setdefault(kind, []).append(production)
    made = [{kind: tuple(found) for kind, found in groups[group].items()} for group in ("lit", "plain", "agg", "win", "srf")]
    return Grammar(*made, tuple(tables))
