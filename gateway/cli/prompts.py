"""Questions on a terminal. Without a terminal nothing is asked, and nothing dangerous is done by default."""

import sys

import typer

from gateway.cli.errors import CommandError
from gateway.cli.output import visible


def confirm(question: str) -> None:
    """Returns when the answer is yes. Raises CommandError when it is no, or when there is nobody to ask."""
    if not sys.stdin.isatty():
        raise CommandError("this wants to be confirmed, and there is no terminal to ask on", "Add --yes.")
    if not typer.confirm(visible(question), err=True):
        raise CommandError("nothing was done")
