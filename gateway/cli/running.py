"""Whether a gateway runs with this state directory: what copies or replaces a store wants to know."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from gateway.cli.errors import CommandError

if TYPE_CHECKING:
    from gateway.settings import Settings

_LOCKS: Final = ("supervisor.lock", "api.lock", "courier.lock")


def runs_here(settings: "Settings") -> bool:
    for name in _LOCKS:
        with contextlib.suppress(FileNotFoundError):
            file = os.open(settings.state_dir / name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            finally:
                os.close(file)
    return False


@contextlib.contextmanager
def nothing_runs_here(settings: "Settings") -> Iterator[None]:
    """Nor can it be started meanwhile. Raises CommandError."""
    from gateway.supervision.parts import Part, StartError
    from gateway.supervision.preparation import only_one

    if runs_here(settings):
        raise CommandError("the gateway is running here", "Stop it first (systemctl stop pgbastion, or SIGTERM).")
    try:
        with only_one(settings.state_dir, frozenset(Part)):
            yield
    except StartError as error:
        raise CommandError(str(error), "Stop it first.") from error
