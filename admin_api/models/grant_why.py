"""Why a user may use a target, or may not."""

from datetime import datetime

from pydantic import Field

from admin_api.models.fields import Record, Shown
from admin_api.models.grants import GrantRecord, grant_record
from gateway.access.explain import Part
from gateway.access_mode import AccessMode
from gateway.services.grants import Why


class WeighedGrant(Record):
    grant: GrantRecord
    part: Part = Field(
        description="counts: it is what a session stands on; loses: to a wider one, or one that lasts longer; other-mode: it does "
        "not include the access mode; not-yet, closed, ended: it may not be used now."
    )
    reason: str = Field(examples=["outside its windows; it opens Mon 2030-01-07 08:00 Europe/Zurich"])


class Obstacle(Record):
    rule: str = Field(examples=["user-disabled"])
    message: str


class WhyRecord(Record):
    """Why a user may use a target, or may not, from an address that is admitted."""

    user: str
    target: str
    mode: AccessMode
    admitted: bool = Field(description="A login would succeed now.")
    changes_at: Shown | None = Field(description="When that may change by the clock alone; null: never.")
    grants: list[WeighedGrant] = Field(description="All that the user holds there, also through groups and admin roles.")
    obstacles: list[Obstacle] = Field(description="What else stands in the way.")


def why_record(found: Why, user: str, target: str, mode: AccessMode, now: datetime) -> WhyRecord:
    answer = found.explanation
    return WhyRecord(
        user=user,
        target=target,
        mode=mode,
        admitted=answer.admitted,
        changes_at=answer.changes_at,
        grants=[
            WeighedGrant(grant=grant_record(named, now), part=each.part, reason=each.reason) for each, named in found.considered
        ],
        obstacles=[Obstacle(rule=each.rule, message=each.message) for each in answer.obstacles],
    )
