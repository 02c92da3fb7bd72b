"""Who else is in a target's database."""

from pydantic import Field

from admin_api.models.fields import Record, Request, Shown
from gateway.custody.presence import Present
from gateway.ports import TargetObservation
from gateway.services.outside_history import History, Usage, Verdict
from gateway.services.outside_use import Now


class NewObservation(Request):
    every_seconds: int = Field(300, description="10 s to 24 h.", examples=[300])
    keep_days: int = Field(30, description="What was seen is kept for so long.", examples=[30])


class ObservationRecord(Record):
    every_seconds: int
    keep_days: int


class OutsideSessionRecord(Record):
    process_id: int
    role: str
    database: str
    address: str = Field(description='"local": a socket of the server\'s own machine; empty: the server does not tell.')
    application: str = Field(description="What the client says of itself.")
    state: str
    replicates: bool
    started_at: str


class UsageRecord(Record):
    """One role, from one place, by one program."""

    role: str
    database: str
    address: str
    application: str
    now: int = Field(description="Sessions at this moment.")
    peak: int = Field(description="The most that were seen at once.")
    first_seen: Shown
    last_seen: Shown
    counts: list[int | None] = Field(description="The most in each of 24 parts of the time; null: nobody looked then.")


class OutsideUseRecord(Record):
    target: str
    at: Shown
    begin: Shown = Field(description="What was seen since is told.")
    admin: str = Field(description="The admin login: whose password is to change.")
    ours: int = Field(description="Sessions there that are the gateway's.")
    gateway_known: bool = Field(description="The gateway could be asked which sessions are its own.")
    addresses_hidden: bool = Field(description="The admin login may not see where others come from.")
    sessions: list[OutsideSessionRecord]
    usages: list[UsageRecord]
    looks: int
    since: Shown | None = Field(description="The first look of these.")
    last_failure: str
    last_failed_at: Shown | None
    observation: ObservationRecord | None
    ready: bool = Field(description="Nobody would notice when the admin password changes, as far as was seen.")
    verdict: str
    next: str = Field(description="The command that comes next.")


def outside_use_record(
    target: str, now: Now, begin: Shown, history: History, verdict: Verdict, observation: TargetObservation | None
) -> OutsideUseRecord:
    return OutsideUseRecord(
        target=target,
        at=now.at,
        begin=begin,
        admin=now.admin,
        ours=now.ours,
        gateway_known=now.gateway_known,
        addresses_hidden=now.hidden,
        sessions=[_session(each) for each in now.others],
        usages=[_usage(each) for each in history.usages],
        looks=history.looks,
        since=history.since,
        last_failure=history.last_failure,
        last_failed_at=history.last_failed_at,
        observation=None if observation is None else observation_record(observation),
        ready=verdict.ready,
        verdict=verdict.text,
        next=verdict.command,
    )


def observation_record(observation: TargetObservation) -> ObservationRecord:
    return ObservationRecord(every_seconds=observation.every_seconds, keep_days=observation.keep_days)


def _session(present: Present) -> OutsideSessionRecord:
    return OutsideSessionRecord(
        process_id=present.process_id,
        role=present.role,
        database=present.database,
        address=present.address,
        application=present.application,
        state=present.state,
        replicates=present.replicates,
        started_at=present.started_at,
    )


def _usage(usage: Usage) -> UsageRecord:
    return UsageRecord(
        role=usage.use.role,
        database=usage.use.database,
        address=usage.use.address,
        application=usage.use.application,
        now=usage.now,
        peak=usage.peak,
        first_seen=usage.first_seen,
        last_seen=usage.last_seen,
        counts=list(usage.counts),
    )
