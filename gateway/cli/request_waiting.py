"""Waiting for what others decide: something moves on a terminal, nothing elsewhere, and the exit status says what came of it."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Final

import typer

from gateway.cli.client import Api, path
from gateway.cli.errors import CommandError
from gateway.cli.output import Record, note, visible
from gateway.cli.request_shown import GIVEN, short_progress, waited

_EVERY_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 120.0
_AWAY: Final = frozenset({"", "store-unavailable"})  # nobody answers, or nobody can say


class Outcome(IntEnum):
    """Exit status of whoever waits. (2 is wrong usage elsewhere: scripts look at what they asked.)"""

    APPROVED = 0
    OVER = 1
    DENIED = 2
    TIMED_OUT = 4


def outcome_of(request: Record) -> Outcome | None:
    """None: nobody has decided yet."""
    state = request.get("state")
    if state == "pending":
        return None
    if state in GIVEN:
        return Outcome.APPROVED
    return Outcome.DENIED if state == "denied" else Outcome.OVER


def wait_for(api: Api, number: str, timeout_seconds: int | None) -> tuple[Record, Outcome]:
    """Ask again and again. A request that nobody decides about expires by itself, so that this ends.

    Raises CommandError, of an API that is away for a moment only when it stays away.
    """
    try:
        with _moving() as say_how_far:
            return _waited(api, number, timeout_seconds, say_how_far)
    except KeyboardInterrupt:
        note(f"The request stays. Go on waiting: pgbastion request wait {number}")
        raise


def _waited(api: Api, number: str, timeout_seconds: int | None, say_how_far: Callable[[str], None]) -> tuple[Record, Outcome]:
    where = path("access-requests", number)
    began = answered = time.monotonic()
    request = api.get(where).record
    while (outcome := outcome_of(request)) is None:
        elapsed = time.monotonic() - began
        if timeout_seconds is not None and elapsed >= timeout_seconds:
            return request, Outcome.TIMED_OUT
        say_how_far(f"{short_progress(request)} ({waited(elapsed)})")
        time.sleep(_EVERY_SECONDS if timeout_seconds is None else min(_EVERY_SECONDS, timeout_seconds - elapsed))
        try:
            request = api.get(where).record
            answered = time.monotonic()
        except CommandError as error:
            if error.rule not in _AWAY or time.monotonic() - answered > _PATIENCE_SECONDS:
                raise
    return request, outcome


def end_with(outcome: Outcome) -> None:
    if outcome is not Outcome.APPROVED:
        raise typer.Exit(int(outcome))


@contextmanager
def _moving() -> Iterator[Callable[[str], None]]:
    """On a terminal only, on standard error, gone when it is done."""
    if not sys.stderr.isatty():
        yield lambda _text: None
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text("Asking ...")) as status:
        yield lambda text: status.update(Text(visible(text)))
