"""Something moves while something takes long: on a terminal only, on standard error, gone when it is done."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway.cli.output import visible

Report = Callable[[int, int], None]
"""(done, total): how far it is. A total of 0: nobody knows."""


@contextmanager
def working(what: str) -> Iterator[None]:
    """For what has no measure: a spinner."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status(f"{escape(visible(what))} ..."):
        yield


@contextmanager
def progress(what: str) -> Iterator[Report]:
    """For what has a measure: a bar that `Report` moves."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(visible(what), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)
