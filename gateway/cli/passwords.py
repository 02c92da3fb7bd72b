"""Where passwords come in: a prompt, standard input or a file. Never the command line, which other users of the machine see."""

import sys
from pathlib import Path
from typing import Final

import typer

from gateway.cli.errors import CommandError
from gateway.secret import Secret

_MAX_BYTES: Final = 4096


def given_password(*, from_stdin: bool, file: Path | None, prompt: str | None) -> Secret | None:
    """The password from the one place that was named. `prompt`: ask for it on the terminal if none was; None: then return None.

    Raises CommandError when it is empty or not UTF-8, or when there is no terminal to ask on.
    """
    if from_stdin and file is not None:
        raise typer.BadParameter("give either --password-stdin or --password-file")
    if from_stdin:
        return _one_line(sys.stdin.buffer.read(_MAX_BYTES + 1), "standard input")
    if file is not None:
        try:
            with file.open("rb") as opened:
                return _one_line(opened.read(_MAX_BYTES + 1), str(file))
        except OSError as error:
            raise CommandError(f"the password file {file} cannot be read: {error.strerror}") from error
    if prompt is None:
        return None
    if not sys.stdin.isatty():
        raise CommandError("there is no terminal to ask for the password", "Use --password-stdin or --password-file FILE.")
    return Secret(typer.prompt(prompt, hide_input=True, confirmation_prompt=True))


def _one_line(raw: bytes, place: str) -> Secret:
    """One trailing line break is the editor's or the shell's, not the password's."""
    if len(raw) > _MAX_BYTES:
        raise CommandError(f"the password from {place} is too long")
    try:
        text = raw.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise CommandError(f"the password from {place} is not UTF-8") from None
    if not text:
        raise CommandError(f"the password from {place} is empty")
    return Secret(text)
