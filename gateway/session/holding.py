"""How the reading of one message says that the stream must wait, and when there is enough for one turn of the event loop.

A client may send thousands of messages in one chunk, each of which costs microseconds, or a hundred if its text is new. What is
counted is not time but work, roughly in microseconds; beyond TURN of it, the rest waits until other sessions had their turn.
"""

from typing import TYPE_CHECKING, Final

#: What one call may do, give or take its last message.
TURN: Final = 1000
A_MESSAGE: Final = 3
A_COPY_DATA: Final = 0.4
AN_UNKNOWN: Final = 10  # portal, whose record is made anew
A_VERDICT: Final = 100  # and more for each byte of the text
BYTES_JUDGED: Final = 2  # for one
BYTES_SOUGHT: Final = 32  # of a text that is looked up by its shape, for one
VALUES_BOUND: Final = 8  # for one
VALUES_AT_ONCE: Final = 4096  # of a Bind; if it has more, it is held between each so many

COPIED_AT_ONCE: Final = 1024 * 1024  # bytes of a message: a larger one has a turn for each time that it is copied

A_REPLY: Final = 2
ROWS_STEPPED_OVER: Final = 16  # for one reply: 0.12 us each, where they are not compiled
ROWS_COUNTED: Final = 3
SURELY_ONE_TURN: Final = 2048  # bytes of upstream's: so few take no longer, whatever they are

#: So many replies may be owed before the client has to wait: what is done about each takes longer the more there are.
MOST_OWED: Final = 1024

if TYPE_CHECKING:
    from gateway.session.effects import AnswerAddressed, ChangeOwnPassword, GoOn, SeekWayOut


class HoldStream(Exception):
    """This message and all behind it must wait: for a verdict on `sql`, for the answer to `effect`, or for replies that are owed.

    `first` leaves at once. `passed`: it stands for the message itself, which is in the ledger; only what is behind it waits.
    """

    def __init__(
        self,
        sql: bytes | None,
        first: bytes = b"",
        *,
        passed: bool = False,
        effect: "ChangeOwnPassword | AnswerAddressed | SeekWayOut | GoOn | None" = None,
    ) -> None:
        super().__init__()
        self.sql = sql
        self.first = first
        self.passed = passed
        self.effect = effect
