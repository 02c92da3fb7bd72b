"""pgbastion store ..."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.backup import facts, facts_text
from gateway.cli.local import our_settings
from gateway.cli.options import AsJson, Config, Yes, file_of_secret
from gateway.cli.output import Record, note, print_json, say, show
from gateway.cli.progress import progress
from gateway.cli.prompts import confirm
from gateway.cli.reach import example_text
from gateway.cli.running import runs_here
from gateway.store.errors import StoreError

if TYPE_CHECKING:
    from gateway.store.places import Place

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Where users, targets and rights are kept.")

_COLUMNS = {
    "kind": "kind",
    "place": "place",
    "schema": "schema",
    "newest_schema": "newest",
    "revision": "revision",
    "events": "changes",
    "key_id": "key",
    "bytes": "bytes",
}


@app.command(epilog=example_text(["pgbastion store info", "pgbastion store info --json"]))
def info(as_json: AsJson = False, config: Config = None) -> None:
    """Say which store this is, and how new. Changes nothing."""
    from dataclasses import asdict

    from gateway.store.info import read_info

    found: Record = asdict(asyncio.run(read_info(our_settings(config))))
    if as_json:
        print_json(found)
    else:
        show([found], as_json=False, columns=_COLUMNS, empty="")


@app.command(
    "migrate-to",
    epilog=example_text(
        [
            "pgbastion store migrate-to 'postgresql://pgbastion@db.internal/pgbastion?sslmode=verify-full' "
            "--password-file /etc/pgbastion/store-password",
            "pgbastion store migrate-to sqlite+aiosqlite:////var/lib/pgbastion/store.sqlite3",
        ]
    ),
)
def migrate_to(
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL", help="Where to: sqlite+aiosqlite:////path, or postgresql://user@host/database.", show_default=False
        ),
    ],
    password_file: Annotated[
        Path | None,
        typer.Option("--password-file", metavar="FILE", help="Holds the database's password.", callback=file_of_secret),
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Copy everything to another store, and check the copy. Then change store.url and restart.

    The settings still name the old store, which stays as it is. Asks before it replaces a store that holds something.
    """
    from gateway.store.backups import migrate_to as copy_to
    from gateway.store.places import locate

    settings = our_settings(config)
    place = locate(url, password_file)
    in_the_way = asyncio.run(_in_the_way(place))
    if in_the_way and not yes:
        confirm(f"Replace {in_the_way}?")
    with progress("Copying the store") as report:
        copied = asyncio.run(copy_to(settings, url, password_file, replace=bool(in_the_way), progress=report))
    if as_json:
        print_json({"place": str(place), **facts(copied)})
    else:
        say(f"Copied to {place}: {facts_text(copied)}. Next: set store.url (and store.password_file), and restart.")
    if runs_here(settings):
        note("Note: the gateway is running: changes from now on are not in the copy. Stop it and copy again before you switch.")


async def _in_the_way(place: "Place") -> str:
    from gateway.store.info import read_info
    from gateway.store.places import SqlitePlace

    if isinstance(place, SqlitePlace) and not place.path.exists():
        return ""
    try:
        found = await read_info(place)
    except StoreError:
        # Whether it can be reached at all, the copy says; a file that is no store is replaced only when that is asked for.
        return f"{place}, which cannot be read" if isinstance(place, SqlitePlace) else ""
    return f"the store in {place} (revision {found.revision})" if found.revision else ""
