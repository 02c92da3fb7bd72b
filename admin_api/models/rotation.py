"""What became of rotated upstream logins. No password is in any of it."""

from pydantic import Field

from admin_api.models.fields import Record
from gateway.services.rotation import Rotated, Step, Which


class OldSessionRecord(Record):
    process_id: int = Field(description="As pg_stat_activity has it.", examples=[4711])
    address: str = Field(examples=["10.2.0.7"])
    application: str = Field(examples=["psql"])
    state: str = Field(examples=["idle"])
    since: str


class RotatedRecord(Record):
    role: Which
    also: list[Which] = Field(description="What else of this target is the same login.")
    login: str = Field(description="The database role.", examples=["app_ro"])
    state: str = Field(
        description="done; failed: nothing was changed, or it was put back; half-done: both passwords are tried, and the next "
        "rotation goes on; stuck: neither works.",
        examples=["done"],
    )
    finished_earlier: bool = Field(description="It was begun by an earlier rotation that was broken off.")
    shared_with: list[str] = Field(description="Other targets with the same login: they have the new password, too.")
    old_refused: str | None = Field(
        description="The SQLSTATE with which the server refuses the former password.", examples=["28P01"]
    )
    old_sessions: list[OldSessionRecord] = Field(description="Of the admin login: who is still logged in.")
    ended_sessions: int
    notes: list[str]
    problem: str = Field(description="Why it is not done.")
    remedy: str


class RotationRecord(Record):
    target: str = Field(examples=["shop"])
    ok: bool = Field(description="Each of them is done.")
    logins: list[RotatedRecord]


def rotation_record(target: str, found: list[Rotated]) -> RotationRecord:
    ok = all(each.end is Step.DONE for each in found)
    return RotationRecord(target=target, ok=ok, logins=[_record(each) for each in found])


def _record(rotated: Rotated) -> RotatedRecord:
    trouble = rotated.trouble
    return RotatedRecord(
        role=rotated.which,
        also=list(rotated.also),
        login=rotated.login,
        state=rotated.end.value,
        finished_earlier=rotated.finished_earlier,
        shared_with=list(rotated.shared_with),
        old_refused=rotated.old_refused,
        old_sessions=[
            OldSessionRecord(
                process_id=each.process_id,
                address=each.address,
                application=each.application,
                state=each.state,
                since=each.since,
            )
            for each in rotated.old_sessions
        ],
        ended_sessions=rotated.ended_sessions,
        notes=list(rotated.notes),
        problem="" if trouble is None else trouble.problem,
        remedy="" if trouble is None else trouble.remedy,
    )
