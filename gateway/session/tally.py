"""What each query reads and changes: texts that are known, counts, a session's state. In the compiled twin, fields of C."""

from typing import TYPE_CHECKING

from gateway.compiled import twin_of

if TYPE_CHECKING:
    from gateway.session.verdicts import Judged, PolicyInForce


class Known:
    """What was said of texts under one policy."""

    __slots__ = ("remembered", "shape_bytes", "shapes")

    def __init__(self, shape_bytes: int) -> None:
        self.remembered: dict[bytes, Judged] = {}
        #: of each shape: a text of it, what stands behind the text in the audit, and the very key
        self.shapes: dict[bytes, tuple[Judged, bytes, bytes]] = {}
        #: No text above this size is taken by its shape.
        self.shape_bytes = shape_bytes


class Tally:
    """What the sessions of one access mode came to. Shared by all of them in one worker.

    Ints that only grow. `statements`: every text or execution that was recorded; `denied`: those that the policy refused.
    """

    __slots__ = ("denied", "judged_in_child", "statements")

    def __init__(self) -> None:
        self.statements = 0
        self.denied = 0
        self.judged_in_child = 0


class Traffic:
    """Bytes from clients (`bytes_in`) and to them."""

    __slots__ = ("bytes_in", "bytes_out")

    def __init__(self) -> None:
        self.bytes_in = 0
        self.bytes_out = 0


class Progress:
    """Of a session. `statements`: those recorded; `status`: of the last ReadyForQuery, empty when other replies came since.

    `short` and `rest` together are the session in the audit; the rest is the same object for sessions that are alike. It began at
    `began` seconds of time.monotonic(), and at `started_at` of time.time(), says the shell.
    """

    __slots__ = ("began", "in_force", "rest", "short", "started_at", "statements", "status", "tally")

    def __init__(self, in_force: "PolicyInForce", tally: Tally, short: bytes, rest: bytes) -> None:
        self.in_force = in_force
        self.tally = tally
        self.short = short
        self.rest = rest
        self.statements = 0
        self.status = b"I"
        self.began = self.started_at = 0.0


if not TYPE_CHECKING and (_twin := twin_of(__name__)) is not None:
    Known, Tally, Traffic, Progress = _twin.Known, _twin.Tally, _twin.Traffic, _twin.Progress
