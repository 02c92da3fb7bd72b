"""`pgbastion backup`."""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.errors import CommandError
from gateway.cli.local import our_settings
from gateway.cli.options import AsJson, Config
from gateway.cli.output import Record, note, print_json, say
from gateway.cli.progress import progress
from gateway.cli.reach import example_text

if TYPE_CHECKING:
    from gateway.store.copying import CopyReport

app = typer.Typer(add_completion=False)


@app.command(epilog=example_text(["pgbastion backup /var/backups/pgbastion.sqlite3 --key-file /media/safe/pgbastion.key"]))
def backup(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where the copy goes; it must not be there yet.", dir_okay=False)
    ],
    key_file: Annotated[
        Path | None,
        typer.Option("--key-file", metavar="FILE", help="Copy the master key, too: to another place.", dir_okay=False),
    ] = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Copy the store, as it is at one instant, into a file. The gateway may run.

    Upstream passwords in it are sealed with the master key. Keep that apart: either alone is useless to a thief, and to you.
    """
    from gateway.store.backups import backup as back_up

    settings = our_settings(config)
    _expect_folder(file)
    if key_file is not None:
        _expect_folder(key_file)
        if key_file.exists():
            raise CommandError(f"there is a file {key_file} already: a backup never replaces one")
    with progress("Copying the store") as report:
        copied = asyncio.run(back_up(settings, file, report))
    if key_file is not None:
        _copy_key(settings.key_file, key_file)
    if as_json:
        print_json({"file": str(file), "key_file": str(key_file) if key_file else None, **facts(copied)})
        return
    say(f"Backed up to {file}: {facts_text(copied)}.")
    if key_file is None:
        say("The master key is not in it: see --key-file.")
        return
    say(f"The master key is in {key_file}. Keep it apart from the backup.")
    if key_file.resolve().parent == file.resolve().parent:
        note("Note: they are in the same folder now; whoever gets both can read the upstream passwords.")


def facts(copied: "CopyReport") -> Record:
    return {"revision": copied.revision, "key_id": copied.key_id, "rows": dict(copied.rows), "digest": copied.digest}


def facts_text(copied: "CopyReport") -> str:
    key = f", sealed with key {copied.key_id}" if copied.key_id else ""
    return f"revision {copied.revision}, {sum(copied.rows.values())} rows{key}"


def _expect_folder(file: Path) -> None:
    if not file.resolve().parent.is_dir():
        raise CommandError(f"there is no folder {file.resolve().parent}", "Make it first, for you alone (mode 700).")


def _copy_key(source: Path, destination: Path) -> None:
    """Only for our own account, and never over another file."""
    from gateway.store.files import open_private, sync_folder

    try:
        content = source.read_bytes()
        with os.fdopen(open_private(destination, os.O_WRONLY | os.O_EXCL), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(destination.resolve().parent)
    except OSError as error:
        raise CommandError(f"the master key cannot be copied to {destination}: {error.strerror}") from error
