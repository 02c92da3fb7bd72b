"""Texts of statements: literals that never repeat, and real reports with and without a text of their own each time."""

from pathlib import Path
from typing import Final

_SQL: Final = Path(__file__).with_name("sql")
#: By which a text becomes one that nobody has seen, as a trace id in a comment does.
_FRESH: Final = "\\set fresh random(1, 1000000000000)\n"

NUMBERS: Final = (
    "\\set aid random(1, 100000)\n\\set much random(1, 1000000000)\n\\set some random(1, 1000)\n"
    "SELECT abalance, bid FROM pgbench_accounts WHERE aid = :aid AND abalance < :much AND bid + 0.:some > -:much;\n"
)
STRINGS: Final = (
    "\\set aid random(1, 100000)\n\\set much random(1, 1000000000)\n"
    "SELECT abalance, 'row :aid' AS label FROM pgbench_accounts WHERE aid = :aid AND filler <> 'customer :much of :aid' LIMIT 1;\n"
)
LISTS: Final = (
    "\\set a random(1, 100000)\n\\set b random(1, 100000)\n\\set c random(1, 100000)\n"
    "SELECT count(*), sum(abalance) FROM pgbench_accounts WHERE aid IN (:a, :b, :c) AND filler <> 'x:b';\n"
)
LITERALS: Final = (NUMBERS, STRINGS, LISTS)
#: The same question under a text of its own each time.
TRACED: Final = (
    f"{_FRESH}\\set aid random(1, 100000)\nSELECT /* trace :fresh */ abalance FROM pgbench_accounts WHERE aid = :aid;\n"
)


def report_names() -> list[str]:
    """From the shortest to the longest."""
    return sorted((path.stem for path in _SQL.glob("*.sql") if ".schema" not in path.name), key=lambda name: len(report(name)))


def report(name: str) -> str:
    """An analytical statement of 2 to 10 kB, without its semicolon."""
    return (_SQL / f"{name}.sql").read_text().strip().removesuffix(";")


def fresh_text(statement: str, mark: str) -> str:
    """A text that differs from all others by `mark`, with the same answer."""
    first, space, rest = statement.partition(" ")
    if not space:
        first, space, rest = statement.partition("\n")
    return f"{first} /* {mark} */{space}{rest}"


def reports() -> list[str]:
    """As scripts: each always the same text."""
    return [f"{report(name)};\n" for name in report_names()]


def fresh_reports() -> list[str]:
    """As scripts: each time a new text."""
    return [f"{_FRESH}{fresh_text(report(name), 'trace :fresh')};\n" for name in report_names()]
