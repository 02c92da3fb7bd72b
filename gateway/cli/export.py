"""`pgbastion export`."""

import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.client import Api, path
from gateway.cli.errors import CommandError
from gateway.cli.options import AsJson
from gateway.cli.output import note, print_json, say_raw
from gateway.cli.reach import admin

app = typer.Typer(add_completion=False)


@admin(app, examples=["pgbastion export access.yaml", "pgbastion export --json"])
def export(
    api: Api,
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Where to write it.", show_default="standard output", dir_okay=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write environments, people, groups, admin roles, accounts, targets, grants, allowlists and claim mappings as a file.

    `apply` reads it. No secret is in it.
    """
    manifest = api.get(path("manifest")).record
    if as_json and file is None:
        print_json(manifest)
        return
    import json

    from gateway.cli.manifest_file import write_manifest

    text = json.dumps(manifest, ensure_ascii=False, indent=2) + "\n" if as_json else write_manifest(manifest)
    if file is None:
        say_raw(text)
        return
    _replace(file, text)
    note(f"Written to {file}.")


def _replace(file: Path, text: str) -> None:
    """Whole or not at all: what was there stays until all of it is written."""
    try:
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as written:
                written.write(text)
            Path(name).chmod(0o644)
            Path(name).replace(file)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror}") from error
