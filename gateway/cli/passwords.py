"""Where passwords come in: a prompt, standard input or a file. Never the command line, which other users of the machine see."""

import sys
from getpass import getpass
from pathlib import Path
from typing import Final

import typer

from gateway.cli.errors import CommandError
from gateway.cli.output import complain
from gateway.secret import Secret

_MAX_BYTES: Final = 4096
_TRIES: Final = 3
_GENERATED: Final = "Password (Will be generated if left empty): "
_AGAIN: Final = "Password Confirmation: "
_OTHER_WAYS: Final = "Use --password-stdin or --password-file FILE."


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
        raise CommandError("there is no terminal to ask for the password", _OTHER_WAYS)
    return Secret(typer.prompt(prompt, hide_input=True, confirmation_prompt=True))


def chosen_password(
    *, from_stdin: bool, file: Path | None, generate: bool, ask: bool, for_program: bool = False
) -> Secret | None:
    """A new password as it was given or typed; None: one shall be made.

    On a terminal it is asked for, unless it was given or `generate` says that it shall be made. `ask`: in any case. `for_program`:
    only then, since a program reads the answer. Raises CommandError, also when it was typed differently three times.
    """
    if generate and (from_stdin or file is not None or ask):
        raise typer.BadParameter("--generate makes a password: give none")
    if from_stdin or file is not None:
        return given_password(from_stdin=from_stdin, file=file, prompt=None)
    if ask and not sys.stdin.isatty():
        raise CommandError("there is no terminal to ask for the password", _OTHER_WAYS)
    if generate or for_program or not sys.stdin.isatty():
        return None
    return ask_for_password(_GENERATED)


def ask_for_password(question: str) -> Secret | None:
    """A new password, typed twice; None: left empty. Raises CommandError after three tries."""
    for _ in range(_TRIES):
        typed = getpass(question)
        if not typed:
            return None
        if getpass(_AGAIN) == typed:
            return Secret(typed)
        complain("Password confirmation doesn't match", "")
    raise CommandError("the password was not confirmed: nothing was done")


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
