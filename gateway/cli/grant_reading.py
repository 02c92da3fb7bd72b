"""How much may be read under a grant, and of which relations, on the command line."""

import re
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from gateway.access.relations import RelationNameError, parse_schema, parse_table, write_name, write_table
from gateway.cli.grant_limits import NO_CEILING, parse_ceiling
from gateway.cli.output import JsonValue, Record

_SIZE: Final = re.compile(r"([0-9]{1,12})\s*(B|kB|MB|GB|TB)?", re.ASCII)
_UNITS: Final = {"B": 1, "kB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}


def parse_size(text: str) -> int | None:
    """`500MB`, `2GB`, a plain number of bytes, or `none`. Units as PostgreSQL has them. Raises typer.BadParameter."""
    if text == NO_CEILING:
        return None
    found = _SIZE.fullmatch(text)
    if found is None or not int(found[1]):
        raise typer.BadParameter(f"{text!r} is neither a size such as 500MB or 2GB nor {NO_CEILING}")
    return int(found[1]) * _UNITS[found[2] or "B"]


def size_text(size: int) -> str:
    """As `parse_size` reads it, in the largest unit that fits."""
    for unit in ("TB", "GB", "MB", "kB"):
        if size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return f"{size}B"


def _read_size(text: str) -> str:
    parse_size(text)
    return text


def _read_rows(text: str) -> str:
    parse_ceiling(text)
    return text


def read_schema(text: str) -> str:
    try:
        return write_name(parse_schema(text))
    except RelationNameError as error:
        raise typer.BadParameter(str(error)) from None


def read_table(text: str) -> str:
    try:
        return write_table(parse_table(text))
    except RelationNameError as error:
        raise typer.BadParameter(str(error)) from None


MaxRows = Annotated[
    str | None,
    typer.Option(
        "--max-rows",
        metavar=f"N|{NO_CEILING}",
        parser=_read_rows,
        help="A statement that shows more rows is cut there, with an error that says so.",
        show_default="any number",
    ),
]
MaxBytes = Annotated[
    str | None,
    typer.Option(
        "--max-bytes",
        metavar=f"SIZE|{NO_CEILING}",
        parser=_read_size,
        help="The same for the bytes of its rows (500kB, 100MB).",
        show_default="any number",
    ),
]
MaxBytesPerDay = Annotated[
    str | None,
    typer.Option(
        "--max-bytes-per-day",
        metavar=f"SIZE|{NO_CEILING}",
        parser=_read_size,
        help="What each person may be sent in a day (UTC), over all sessions.",
        show_default="any number",
    ),
]
Schemas = Annotated[
    list[str] | None,
    typer.Option(
        "--schema",
        metavar="SCHEMA",
        parser=read_schema,
        help="Only tables of this schema are open; may be given several times, and with --table. On update: all that are.",
        show_default="whatever the upstream login may read",
    ),
]
Tables = Annotated[
    list[str] | None,
    typer.Option(
        "--table",
        metavar="SCHEMA.TABLE",
        parser=read_table,
        help="Only this table or view is open; may be given several times, and with --schema. On update: all that are. "
        "See also: pgbastion targets init-sql --grant",
        show_default="whatever the upstream login may read",
    ),
]
AllTables = Annotated[bool, typer.Option("--all-tables", help="Take the lists of schemas and tables away.")]


def reading_fields(
    max_rows: str | None,
    max_bytes: str | None,
    max_bytes_per_day: str | None,
    schemas: Sequence[str] | None,
    tables: Sequence[str] | None,
) -> dict[str, JsonValue]:
    """Those that are given, as the API wants them."""
    given: dict[str, JsonValue] = {} if max_rows is None else {"max_rows": parse_ceiling(max_rows)}
    given |= {} if max_bytes is None else {"max_bytes": parse_size(max_bytes)}
    given |= {} if max_bytes_per_day is None else {"max_bytes_per_day": parse_size(max_bytes_per_day)}
    given |= {"schemas": list(schemas)} if schemas else {}
    given |= {"tables": list(tables)} if tables else {}
    return given


def reading_text(grant: Record) -> list[str]:
    """`shows at most 1000 rows`, `only app.*, public.orders`."""
    rows = grant.get("max_rows")
    said = [f"shows at most {rows} rows"] if rows is not None else []
    for name, words in (("max_bytes", "at most {} a statement"), ("max_bytes_per_day", "at most {} a day")):
        size = grant.get(name)
        if isinstance(size, int):
            said.append(words.format(size_text(size)))
    schemas, tables = grant.get("schemas"), grant.get("tables")
    names = [f"{each}.*" for each in schemas] if isinstance(schemas, list) else []
    names += [str(each) for each in tables] if isinstance(tables, list) else []
    return [*said, f"only {', '.join(names)}"] if names else said
