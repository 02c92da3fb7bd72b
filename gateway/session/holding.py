"""How the reading of one message says that the stream must wait."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.session.effects import AnswerAddressed, ChangeOwnPassword


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
        effect: "ChangeOwnPassword | AnswerAddressed | None" = None,
    ) -> None:
        super().__init__()
        self.sql = sql
        self.first = first
        self.passed = passed
        self.effect = effect
