"""What the demo prints. It remembers all of it, so that the tour can look for secrets in its own output."""

import shlex
import sys
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text


class Narrator:
    """Text for a person: headings, commands as they would be typed, SQL with its answer, and marks for what was shown."""

    def __init__(self) -> None:
        if isinstance(sys.stdout.encoding, str) and not sys.stdout.encoding.lower().startswith("utf"):
            sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
        self._console = Console(record=True, highlight=False, soft_wrap=True)

    @property
    def printed(self) -> str:
        """Everything printed so far."""
        return self._console.export_text(clear=False)

    def title(self, text: str, below: str) -> None:
        panel = Panel(Text(below), title=Text(text, style="bold"), box=box.ROUNDED, width=min(100, self._console.width))
        self._console.print(panel, soft_wrap=False)

    def heading(self, text: str) -> None:
        self._console.print()
        self._console.print(Text(text, style="bold cyan"))

    def say(self, text: str) -> None:
        self._console.print(Text(text))

    def command(self, words: Sequence[str]) -> None:
        """A shell command, as somebody could type it."""
        self._console.print(Text.assemble(("  $ ", "dim"), (shlex.join(words), "bold")))

    def answer(self, text: str) -> None:
        """What a command printed."""
        for line in filter(str.strip, text.splitlines()):
            self._console.print(Text("    " + line.rstrip(), style="dim"))

    def query(self, prompt: str, sql: str) -> None:
        self._console.print(Text.assemble((f"  {prompt}=> ", "dim"), (sql, "bold")))

    def rows(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column in columns:
            table.add_column(column)
        for row in rows:
            table.add_row(*(Text(str(value)) for value in row))
        for line in _lines_of(table):
            self._console.print(Text("    " + line))

    def error(self, text: str) -> None:
        """An error that a client was shown."""
        for line in text.rstrip().splitlines():
            self._console.print(Text("    " + line, style="yellow"))

    def block(self, label: str, text: str) -> None:
        """Something to copy, on a line of its own."""
        if label:
            self._console.print(Text(f"  {label}", style="dim"))
        self._console.print(Text(f"    {text}", style="bold"))

    def kept(self, text: str) -> None:
        self._console.print(Text.assemble(("  ✓ ", "bold green"), text))

    def broken(self, text: str) -> None:
        self._console.print(Text.assemble(("  ✗ ", "bold red"), (text, "red")))


def _lines_of(table: Table) -> list[str]:
    plain = Console(width=200, color_system=None, force_terminal=False)
    with plain.capture() as capture:
        plain.print(table)
    return [line.rstrip() for line in capture.get().splitlines() if line.strip()]
