"""What the sessions of one access mode came to, counted where it happens. Shared by all of them in one worker."""


class Tally:
    """Ints that only grow. `statements`: every text or execution that was recorded; `denied`: those that the policy refused."""

    __slots__ = ("denied", "judged_in_child", "statements")

    def __init__(self) -> None:
        self.statements = 0
        self.denied = 0
        self.judged_in_child = 0
