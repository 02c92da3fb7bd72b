"""What became of the upstream sessions that were opened ahead."""

from enum import StrEnum


class Discarded(StrEnum):
    """Why one never had a client."""

    AGED = "aged"
    CHANGED = "changed"  # the target, its login, a setting
    LOST = "lost"  # the server ended it, or spoke
    MADE_WAY = "made-way"  # a client needed its place among the target's sessions
    STOPPED = "stopped"
    UNFIT = "unfit"  # not what it was said to be when a client was to get it


class AheadTally:
    """Raised directly. `missed`: logins to targets with sessions opened ahead that were served without one."""

    __slots__ = ("discarded", "failures", "missed", "opened", "taken")

    def __init__(self) -> None:
        self.opened = self.taken = self.missed = self.failures = 0
        self.discarded = dict.fromkeys(Discarded, 0)
