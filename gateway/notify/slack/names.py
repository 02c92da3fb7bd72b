"""What our buttons, fields and forms are called in Slack, and what they carry back. Pure."""

from dataclasses import dataclass
from typing import Final

COMMAND: Final = "/pgbastion"
FROM_SLACK: Final = "Slack"
"""The reason of all that is done from here, as the audit has it."""

APPROVE: Final = "pgbastion.approve"
DENY: Final = "pgbastion.deny"
CANCEL: Final = "pgbastion.cancel"
RELINQUISH: Final = "pgbastion.relinquish"
REVIEW: Final = "pgbastion.review"

ASK_FORM: Final = "pgbastion.ask"
DENY_FORM: Final = "pgbastion.deny_form"
REVIEW_FORM: Final = "pgbastion.review_form"

PLACE: Final = "pgbastion.place"
ACCESS: Final = "pgbastion.access"
ROLE: Final = "pgbastion.role"
DURATION: Final = "pgbastion.duration"
REASON: Final = "pgbastion.reason"
TICKET: Final = "pgbastion.ticket"
START: Final = "pgbastion.start"
EMERGENCY: Final = "pgbastion.emergency"
COMMENT: Final = "pgbastion.comment"

_MOST: Final = 200


@dataclass(frozen=True, slots=True)
class Pressed:
    """Which request a button is about, and what of it was shown beside it."""

    request_id: str
    fingerprint: str

    def __str__(self) -> str:
        return f"{self.request_id}/{self.fingerprint}"


def read_pressed(value: str) -> Pressed | None:
    """None: no button of ours says that."""
    request_id, slash, fingerprint = value.partition("/")
    return Pressed(request_id, fingerprint) if slash and request_id and fingerprint and len(value) <= _MOST else None
