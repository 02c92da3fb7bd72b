"""`pgbastion restore`."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.backup import facts, facts_text
from gateway.cli.local import our_settings
from gateway.cli.options import AsJson, Config, Yes
from gateway.cli.output import print_json, say
from gateway.cli.progress import progress
from gateway.cli.prompts import confirm
from gateway.cli.reach import example_text
from gateway.cli.running import nothing_runs_here
from gateway.store.errors import StoreError

if TYPE_CHECKING:
    from gateway.settings import Settings

app = typer.Typer(add_completion=False)


@app.command(epilog=example_text(["pgbastion restore /var/backups/pgbastion.sqlite3"]))
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `backup` wrote.", exists=True, dir_okay=False)],
    yes: Yes = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Put a backup in the store's place. The gateway must be stopped, and the master key of the backup in its place.

    Asks before it replaces a store that holds something.
    """
    from gateway.store.backups import restore as put_back

    settings = our_settings(config)
    with nothing_runs_here(settings):
        asyncio.run(_check_key(file, settings))
        in_the_way = asyncio.run(_in_the_way(settings))
        if in_the_way and not yes:
            confirm(f"Replace {in_the_way} by this backup?")
        with progress("Restoring the store") as report:
            copied = asyncio.run(put_back(file, settings, replace=bool(in_the_way), progress=report))
    if as_json:
        print_json({"file": str(file), **facts(copied)})
    else:
        say(f"Restored from {file}: {facts_text(copied)}. Next: pgbastion doctor")


async def _check_key(file: Path, settings: "Settings") -> None:
    """Before anybody is asked. Raises VaultError, StoreError."""
    from gateway.store.backups import check_backup

    await check_backup(file, settings)


async def _in_the_way(settings: "Settings") -> str:
    """What would be lost, for people; empty when nothing would."""
    from gateway.store.info import read_info
    from gateway.store.places import SqlitePlace, locate

    place = locate(settings)
    if isinstance(place, SqlitePlace) and not place.path.exists():
        return ""
    try:
        info = await read_info(settings)
    except StoreError:
        return f"the store in {place}, which cannot be read,"
    return f"the store in {place} (revision {info.revision})" if info.revision else ""
