"""What commands print: JSON for programs, tables for people, errors as sentences. Control characters never reach a terminal."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType

JsonValue = None | bool | int | float | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"]
Record = Mapping[str, JsonValue]
"""One line of a listing: stable field names, which are also JSON's. For printing only."""


Styles = Mapping[str, Mapping[str, str]]
"""Field name to value to a colour for it."""


def show(
    records: Sequence[Record],
    *,
    as_json: bool,
    columns: Mapping[str, str],
    empty: str,
    styles: Styles = MappingProxyType({}),
    stacked: Sequence[str] = (),
) -> None:
    """A listing. `columns`: field name to heading, for people; `empty`: the sentence when there is nothing.

    `stacked`: fields whose lists stand one below the other on a terminal, whole, whatever else has to be cut there.
    """
    if as_json:
        print_json(records)
    elif not records:
        say(empty)
    else:
        _table(records, columns, styles, stacked if sys.stdout.isatty() else ())


def print_json(value: JsonValue) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def say(text: str) -> None:
    sys.stdout.write(visible(text) + "\n")


def say_wrapped(text: str, *, indent: int) -> None:
    """A line, or on a terminal as many as it takes: those that follow begin at the column `indent`."""
    if not sys.stdout.isatty():
        say(text)
        return
    import shutil
    import textwrap

    columns = max(shutil.get_terminal_size().columns, indent + 20)
    lines = textwrap.wrap(visible(text), columns, subsequent_indent=" " * indent, drop_whitespace=True, break_on_hyphens=False)
    for line in lines or [""]:
        say(line)


def say_styled(text: str, style: str) -> None:
    """A line in a colour, on a terminal that has colours."""
    if not style or not sys.stdout.isatty():
        say(text)
        return
    from rich.console import Console
    from rich.text import Text

    Console().print(Text(visible(text), style=style), soft_wrap=True)


def say_raw(text: str) -> None:
    """For files and pipes, as it is; a terminal still gets no control characters but line feeds and tabs."""
    shown = "\t".join(visible(part) for part in text.split("\t")) if sys.stdout.isatty() else text
    sys.stdout.write(shown if shown.endswith("\n") else shown + "\n")


def note(text: str) -> None:
    """Something to know, apart from the result: standard error, so that pipes stay clean."""
    sys.stderr.write(visible(text) + "\n")


def complain(message: str, hint: str) -> None:
    sys.stderr.write(f"error: {visible(message)}\n")
    if hint:
        sys.stderr.write(f"hint: {visible(hint)}\n")


def visible(text: str) -> str:
    """The text with everything that could move a cursor or change a colour written out. Line feeds stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii") for c in text)


def when(instant: datetime | None) -> str | None:
    """As JSON has it: ISO 8601 in UTC, seconds."""
    return None if instant is None else instant.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _table(records: Sequence[Record], columns: Mapping[str, str], styles: Styles, stacked: Sequence[str]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # A pipe gets lines as long as they are, whatever the terminal around it.
    console = Console() if sys.stdout.isatty() else Console(width=100_000, color_system=None)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, heading in columns.items():
        table.add_column(heading, no_wrap=name in stacked)
    for record in records:
        cells = {name: visible(_cell(record.get(name), "\n" if name in stacked else ", ")) for name in columns}
        table.add_row(*(Text(cell, style=styles.get(name, {}).get(cell, "")) for name, cell in cells.items()))
    console.print(table)


def _cell(value: JsonValue, between: str = ", ") -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case str() | int() | float():
            return str(value)
        case Mapping():
            return ", ".join(f"{name}: {_cell(each)}" for name, each in value.items()) or "-"
        case _:
            return between.join(_cell(each) for each in value) or "-"
