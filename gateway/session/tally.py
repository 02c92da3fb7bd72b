"""What each query changes: counts, and a session's state. In the compiled twin they are fields of C, nearly for nothing."""

from typing import TYPE_CHECKING

from gateway.compiled import twin_of

if TYPE_CHECKING:
    from gateway.session.verdicts import PolicyInForce


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
    """Of a session. `statements`: those recorded; `status`: of the last ReadyForQuery, empty when other replies came since."""

    __slots__ = ("in_force", "statements", "status")

    def __init__(self, in_force: "PolicyInForce") -> None:
        self.in_force = in_force
        self.statements = 0
        self.status = b"I"


if not TYPE_CHECKING and (_twin := twin_of(__name__)) is not None:
    Tally, Traffic, Progress = _twin.Tally, _twin.Traffic, _twin.Progress
