"""Where audit records go."""

from collections.abc import Callable
from typing import Protocol


class AuditSink(Protocol):
    """Where audit lines go *before* the bytes they speak of.

    `release` calls `action(written)` (perhaps before it returns) once everything appended so far is written (in fsync mode: on
    disk), at the latest at the end of this turn of the event loop plus that write; `written` is False when it could not be,
    and then nothing may be forwarded. Releases run in the order in which they were given.
    """

    @property
    def healthy(self) -> bool:
        """False from the first failed write until one succeeds again (the sink keeps trying by itself)."""
        ...

    @property
    def sqlstate_of_failure(self) -> str:
        """Why it is not healthy: "53100" (disk full) or "58030"."""
        ...

    def append(self, body: bytes) -> None:
        """Take one record: the inside of a JSON object, without braces. The sink adds `at`, `mono`, `worker` and `seq`."""
        ...

    def write_now(self, bodies: list[bytes]) -> bool:
        """The quick way of a statement. True: these records are written, what they speak of may leave.

        False: nothing was done (this sink cannot, or not now); `submit` them. The list stays the caller's.
        """
        ...

    def submit(self, bodies: list[bytes], action: Callable[[bool], None]) -> None:
        """`append` each and `release`: the way of a statement. The list stays the caller's."""
        ...

    def note(self, bodies: list[bytes]) -> None:
        """Take records of what is over already: they are written with the next ones, at the latest some milliseconds later.

        The list stays the caller's.
        """
        ...

    def release(self, action: Callable[[bool], None]) -> None: ...
