"""Where an admin's URL comes in: a question on the terminal, standard input or a file descriptor. Never the command line or the
environment, which others can see.
"""

import os
import sys
from getpass import getpass
from typing import Final

from gateway.cli.errors import CommandError
from gateway.secret import Secret

_MAX_BYTES: Final = 4096
_QUESTION: Final = "Admin URL (postgresql://user:password@host:5432/database; it is not shown): "


def admin_url(descriptor: int | None, *, ask: bool, kept: bool) -> Secret | None:
    """None: the admin login that is `kept` does. Raises CommandError."""
    if descriptor is not None:
        try:
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                raw = file.read(_MAX_BYTES + 1)
        except OSError as error:
            raise CommandError(f"file descriptor {descriptor} cannot be read: {error.strerror}") from None
        return _one_line(raw, f"file descriptor {descriptor}")
    if kept and not ask:
        return None
    if sys.stdin.isatty():
        typed = getpass(_QUESTION).strip()
        if not typed:
            raise CommandError("no admin URL was given")
        return Secret(typed)
    return _one_line(sys.stdin.buffer.read(_MAX_BYTES + 1), "standard input")


def _one_line(raw: bytes, place: str) -> Secret:
    try:
        text = raw.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise CommandError(f"what came from {place} is not UTF-8") from None
    if not text or len(raw) > _MAX_BYTES or "\n" in text:
        raise CommandError(f"no admin URL came from {place}", "One line: postgresql://user:password@host:5432/database")
    return Secret(text)
