"""Audit records for people: one line each, in columns. Whatever stands in them cannot move the cursor or colour the terminal."""

import sys
from collections.abc import Mapping
from typing import Final

from rich.console import Console
from rich.text import Text

from gateway.cli.audit_sources import Entry
from gateway.cli.output import JsonValue, visible
from gateway.trails.filters import event_of, is_denied

_HEADINGS: Final = ("time (UTC)", "user", "address", "target", "what")
_WIDTHS: Final = (23, 14, 15, 14)
_SHOWN_ELSEWHERE: Final = frozenset(
    {"at", "mono", "worker", "seq", "event", "session", "user", "address", "target", "mode", "application"}
)


class Lines:
    """Prints a heading and then line after line; on a terminal they are cut at its edge."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._console = Console() if self._terminal else Console(width=100_000, color_system=None)
        self._headed = False

    def show(self, entry: Entry) -> None:
        if not self._headed:
            self._headed = True
            self._print(Text(_columns(*_HEADINGS), style="bold"))
        fields = entry.fields
        line = Text(
            _columns(
                _one_line(fields.get("at")).replace("T", " ")[:23],
                _one_line(fields.get("user", fields.get("actor", ""))),
                _one_line(fields.get("address", "")),
                _one_line(fields.get("target", "")),
                _what(fields),
            )
        )
        if is_denied(fields):
            line.stylize("red")
        self._print(line)

    def _print(self, line: Text) -> None:
        self._console.print(line, no_wrap=True, overflow="ellipsis" if self._terminal else "ignore", crop=self._terminal)


def _columns(at: str, user: str, address: str, target: str, what: str) -> str:
    cells = (at, user, address, target)
    return "  ".join([*(cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True)), what])


def _what(fields: Mapping[str, JsonValue]) -> str:
    event = fields.get("event")
    if event == "statement":
        verdict = "allowed" if fields.get("verdict") == "allowed" else f"DENIED ({_one_line(fields.get('rule'))})"
        phase = "" if fields.get("phase") == "query" else f" [{_one_line(fields.get('phase'))}]"
        cut = " ..." if fields.get("truncated") else ""
        return f"#{_one_line(fields.get('statement'))}{phase} {verdict}: {_one_line(fields.get('sql'))}{cut}"
    if event == "statement_end":
        rows = f", {_one_line(fields['rows'])} rows" if fields.get("rows") is not None else ""
        state = f" {_one_line(fields['sqlstate'])}" if fields.get("sqlstate") else ""
        return f"#{_one_line(fields.get('statement'))} {_one_line(fields.get('outcome'))}{state}{rows}, {_duration(fields)}"
    if "actor" in fields:
        reason = f" ({_one_line(fields['reason'])})" if fields.get("reason") else ""
        return f"{_one_line(event_of(fields))} {_one_line(fields.get('object'))}{reason}"
    facts = " ".join(f"{_one_line(name)}={_one_line(value)}" for name, value in fields.items() if name not in _SHOWN_ELSEWHERE)
    return f"{_one_line(event)} {facts}".rstrip()


def _duration(fields: Mapping[str, JsonValue]) -> str:
    microseconds = fields.get("duration_us")
    if not isinstance(microseconds, int):
        return "?"
    return f"{microseconds / 1e6:.3f} s" if microseconds >= 1_000_000 else f"{microseconds / 1e3:.1f} ms"


def _one_line(value: JsonValue) -> str:
    match value:
        case None:
            return ""
        case str():
            return visible(" ".join(value.split()))
        case bool() | int() | float():
            return str(value)
        case Mapping():
            return ", ".join(f"{_one_line(name)}: {_one_line(each)}" for name, each in value.items())
        case _:
            return ", ".join(_one_line(each) for each in value)
