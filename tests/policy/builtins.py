"""PostgreSQL's own functions by name, of every supported major: tests/policy/builtins.txt, and how it is made.

`python -m tests.policy.builtins` asks the server that tests would use (PGBASTION_POSTGRES_BIN=.../bin names another one) and
writes the file anew with what that major has.
"""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tests.support.upstream import running_upstream

FILE = Path(__file__).with_name("builtins.txt")
_HEAD = """\
-- PostgreSQL's own functions (of pg_catalog and information_schema) by name: the majors that have it, and the volatility of its
-- overloads (v, s, i). From the catalogs of servers: tests/policy/builtins.py.
"""


@dataclass(frozen=True)
class BuiltIn:
    """`volatility`: "v" when it is of any overload in any major, with the others behind it."""

    name: str
    majors: frozenset[int]
    volatility: str


def of_server(connection: "psycopg.Connection[Any]") -> dict[str, str]:
    """Name to volatilities."""
    rows = connection.execute(
        "SELECT proname, string_agg(DISTINCT provolatile::text, '' ORDER BY provolatile::text DESC) FROM pg_proc"
        " WHERE pronamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace) GROUP BY 1"
    )
    return {str(name): str(volatility) for name, volatility in rows}


def built_ins() -> list[BuiltIn]:
    found = []
    for line in FILE.read_text().splitlines():
        if not line.startswith("-- "):
            name, majors, volatility = line.split(" ")
            found.append(BuiltIn(name, frozenset(map(int, majors.split(","))), volatility))
    return found


def _write(known: list[BuiltIn], major: int, live: dict[str, str]) -> None:
    majors = {each.name: each.majors - {major} for each in known}
    volatility = {each.name: each.volatility for each in known}
    for name, letters in live.items():
        majors[name] = majors.get(name, frozenset()) | {major}
        volatility[name] = "".join(sorted({*volatility.get(name, ""), *letters}, reverse=True))
    lines = (
        f"{name} {','.join(map(str, sorted(majors[name])))} {volatility[name]}\n" for name in sorted(majors) if majors[name]
    )
    FILE.write_text(_HEAD + "".join(lines))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, running_upstream(Path(folder)) as server, server.connect() as connection:
        _write(built_ins() if FILE.exists() else [], server.major, of_server(connection))
        sys.stdout.write(f"{server.major}: written\n")
