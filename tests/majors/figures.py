"""What a run of the tests against one server came to, from the files that it leaves behind, and the table of all of them."""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_ALL: Final = re.compile(r"^all +all +(\d+) +(\d+) +(\d+) +(\d+) +(\d+)$", re.MULTILINE)
_CHECKS: Final = re.compile(r"(\d+) entries, (\d+) checks")
_GENERATED: Final = re.compile(r"(\d+) scripts: .*?, (\d+) findings")
_HEADINGS: Final = (
    "PostgreSQL",
    "from",
    "passed",
    "failed",
    "skipped",
    "checks",
    "bypasses",
    "effects",
    "false refusals",
    "generated",
    "findings",
    "minutes",
)


@dataclass(frozen=True, slots=True)
class Figures:
    """Tests: `passed`, `failed` (errors, too), `skipped`. The oracle's `checks`: an entry in one of its ways; `bypasses`: what
    had to be refused and was not, of these `effects` changed something; `false_refusals`. `generated` scripts and `findings`.
    """

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    checks: int = 0
    bypasses: int = 0
    effects: int = 0
    false_refusals: int = 0
    generated: int = 0
    findings: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """`trouble`: why there is nothing to tell, or what else went wrong."""

    server: str
    origin: str
    figures: Figures
    seconds: float
    trouble: str = ""

    @property
    def good(self) -> bool:
        return not self.trouble and self.figures.passed > 0 and self.figures.failed == 0


def figures_of(results: Path, reports: Path) -> Figures:
    """`results`: JUnit's XML, by pytest; `reports`: the folder of the oracle's tables, of this run only."""
    found = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for suite in ElementTree.parse(results).iter("testsuite"):
        for name in found:
            found[name] += int(suite.get(name, "0"))
    failed = found["failures"] + found["errors"]
    checks = bypasses = effects = refusals = generated = findings = 0
    for path in sorted(reports.glob("table-*.txt")):
        text = path.read_text()
        checks += sum(int(count) for _, count in _CHECKS.findall(text))
        for row in _ALL.findall(text):
            bypasses, effects, refusals = bypasses + int(row[1]), effects + int(row[2]), refusals + int(row[4])
        for scripts, wrong in _GENERATED.findall(text):
            generated, findings = generated + int(scripts), findings + int(wrong)
    passed = found["tests"] - failed - found["skipped"]
    return Figures(passed, failed, found["skipped"], checks, bypasses, effects, refusals, generated, findings)


def table_of(rows: Sequence[Row]) -> str:
    """Columns under their headings; what went wrong besides is said below."""
    cells = [_HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADINGS))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]
    lines += [f"PostgreSQL {row.server}: {row.trouble}" for row in rows if row.trouble]
    return "\n".join(lines) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    f = row.figures
    counts = (f.passed, f.failed, f.skipped, f.checks, f.bypasses, f.effects, f.false_refusals, f.generated, f.findings)
    return (row.server, row.origin, *map(str, counts), f"{row.seconds / 60:.1f}")
