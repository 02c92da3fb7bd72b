"""What `pgbastion doctor` finds."""

from dataclasses import dataclass
from enum import StrEnum

from gateway.cli.output import Record


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `remedy` says what to do, where something is to do."""

    check: str
    state: State
    detail: str
    remedy: str = ""

    def record(self) -> Record:
        return {"check": self.check, "state": self.state.value, "detail": self.detail, "remedy": self.remedy}


def ok(check: str, detail: str) -> Finding:
    return Finding(check, State.OK, detail)


def warning(check: str, detail: str, remedy: str) -> Finding:
    return Finding(check, State.WARNING, detail, remedy)


def problem(check: str, detail: str, remedy: str) -> Finding:
    return Finding(check, State.PROBLEM, detail, remedy)
