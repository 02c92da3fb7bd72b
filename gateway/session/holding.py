"""How the reading of one message says that the stream must wait."""


class HoldStream(Exception):
    """This message and all behind it must wait: for a verdict on `sql`, or (None) for the replies that are owed.

    `first` leaves at once. `passed`: it stands for the message itself, which is in the ledger; only what is behind it waits.
    """

    def __init__(self, sql: bytes | None, first: bytes = b"", *, passed: bool = False) -> None:
        super().__init__()
        self.sql = sql
        self.first = first
        self.passed = passed
