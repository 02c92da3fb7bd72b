"""What the oracle found, as a table for people, in a file of the temporary directory."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.oracle.run import Outcome, Result, tally

REPORT_VARIABLE = "PGBASTION_ORACLE_REPORT"


def report_folder() -> Path:
    folder = Path(os.environ.get(REPORT_VARIABLE) or Path(tempfile.gettempdir()) / f"pgbastion-oracle-{os.getuid()}")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def table_of(title: str, results: Sequence[Result], seconds: float) -> str:
    lines = [
        f"{title}: {len({result.entry.id for result in results})} entries, {len(results)} checks, {seconds:.0f} s",
        f"{'layer':10}{'way':10}{'block':>7}{'passed':>8}{'effect':>8}{'allow':>8}{'refused':>9}",
    ]
    rows = sorted(tally(results).items())
    total = [sum(counts[column] for _, counts in rows) for column in range(5)]
    for (layer, way), counts in [*rows, (("all", "all"), total)]:
        lines.append(f"{layer:10}{way:10}{counts[0]:7}{counts[1]:8}{counts[2]:8}{counts[3]:8}{counts[4]:9}")
    return "\n".join(lines) + "\n"


def worst_of(results: Sequence[Result], most: int = 40) -> str:
    """One line for each entry that went wrong, with its ways."""
    wrong: dict[str, list[Result]] = {}
    for result in results:
        if result.wrong:
            wrong.setdefault(result.entry.id, []).append(result)
    lines = [_line(found) for found in list(wrong.values())[:most]]
    if len(wrong) > most:
        lines.append(f"... and {len(wrong) - most} more")
    return "\n".join(lines)


def _line(found: Sequence[Result]) -> str:
    first = max(found, key=lambda result: result.outcome is Outcome.EFFECT)
    word = "must be refused" if first.entry.refuse else "must be allowed"
    if first.entry.optional:
        word += " (by choice)"
    ways = ", ".join(result.way for result in found)
    text = (first.entry.text or str(first.entry.steps))[:160]
    return f"{first.entry.id} {word}, but {first.outcome} ({first.detail[:160]}) in {ways}: {text}"


def write(name: str, text: str) -> Path:
    path = report_folder() / f"{name}.txt"
    path.write_text(text)
    return path
