"""What a grant carries, on the command line: how it is given, and how it is shown."""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Final

import typer

from gateway.access_mode import GrantOption
from gateway.cli.grant_limits import limits_text, read_ceiling
from gateway.cli.grant_reading import reading_text
from gateway.cli.output import JsonValue, Record, show

CARRIES: Final = {"carries": "carries"}
"""The column in which `show_with_terms` says what a grant adds or takes away."""

_COLUMNS: Final = {
    "user": "user",
    "group": "group",
    "target": "target",
    "mode": "mode",
    **CARRIES,
    "valid_from": "from",
    "valid_until": "expires",
    "windows": "windows",
    "state": "state",
    "id": "id",
}
_NOT_ALWAYS: Final = ("user", "group", "carries", "valid_from", "windows")  # shown when there is anything in it


Options = Annotated[
    list[GrantOption] | None,
    typer.Option(
        "--option",
        metavar="OPTION",
        help="What it adds or takes away; may be given several times. temporary-tables: read-only sessions may make temporary "
        "tables. For read_write: no-ddl (rows may change, objects may not), unfiltered-writes (UPDATE and DELETE without WHERE), "
        "report-only (what these rules and the ceiling would refuse is audited and runs).",
        show_default="none of them",
    ),
]
NewOptions = Annotated[
    list[GrantOption] | None,
    typer.Option(
        "--option",
        metavar="OPTION",
        help="All that it is to carry: others are taken away. See: pgbastion grants create --help",
        show_default="as they are",
    ),
]
Ceiling = Annotated[
    str | None,
    typer.Option(
        "--max-changed-rows",
        metavar="N",
        parser=read_ceiling,
        help="For read_write: a statement that changes more rows is rolled back.",
        show_default="any number",
    ),
]
NewCeiling = Annotated[
    str | None,
    typer.Option(
        "--max-changed-rows",
        metavar="N|none",
        parser=read_ceiling,
        help="A statement that changes more rows is rolled back.",
        show_default="as it is",
    ),
]


def option_names(options: Sequence[GrantOption]) -> list[JsonValue]:
    """As the API wants them."""
    return [option.value for option in dict.fromkeys(options)]


def terms_text(grant: Record) -> str:
    """`no-ddl, at most 1000 rows`; empty where the grant carries nothing."""
    return ", ".join(_terms(grant))


def _terms(grant: Record) -> list[str]:
    options, rows = grant.get("options"), grant.get("max_changed_rows")
    said = [str(each) for each in options] if isinstance(options, list) else []
    said += [f"at most {rows} rows"] if rows is not None else []
    return [*said, *limits_text(grant), *reading_text(grant), *_requested(grant)]


def _requested(grant: Record) -> list[str]:
    """What an access request gave it."""
    role, statements, operations = (grant.get(name) for name in ("database_role", "only_statements", "only_operations"))
    said = [f"as role {role}"] if role is not None else []
    said += [f"only {statements} statement{'' if statements == 1 else 's'}"] if statements else []
    return said + ([f"only {each}" for each in operations] if isinstance(operations, list) else [])


def times_text(grant: Record) -> str:
    """When it may be used, but for its end: `from 2030-01-07T08:00:00Z, Mon-Fri 08:00-18:00 Europe/Zurich`."""
    begins, windows = grant.get("valid_from"), grant.get("windows")
    said = [f"from {begins}"] if begins is not None else []
    said += [str(each) for each in windows] if isinstance(windows, list) else []
    return ", ".join(said)


def show_grants(grants: Sequence[Record], *, empty: str = "No grants.") -> None:
    """A table for people, without the columns that would be empty."""
    show_with_terms(grants, _COLUMNS, not_always=_NOT_ALWAYS, empty=empty)


def show_with_terms(records: Sequence[Record], columns: Mapping[str, str], *, not_always: Collection[str], empty: str) -> None:
    """Grants or what stands on them. `not_always`: columns that are left out where nothing would be in them."""
    shown = [{**each, "carries": _terms(each) or None, "windows": each.get("windows") or None} for each in records]
    filled = {name: heading for name, heading in columns.items() if name not in not_always or _in_any(shown, name)}
    show(shown, as_json=False, columns=filled, empty=empty, stacked=(*CARRIES, "windows"))


def _in_any(records: Sequence[Record], name: str) -> bool:
    return any(each.get(name) is not None for each in records)
