"""An outbox message's payload as facts. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from gateway.access.model import Snapshot
from gateway.access.request_record import AccessRequest
from gateway.services.request_messages import Topic, messages_of

Json: TypeAlias = "Mapping[str, Json] | list[Json] | str | int | float | bool | None"


class PayloadError(Exception):
    """What no version of this program wrote. The text holds nothing of it."""


@dataclass(frozen=True, slots=True)
class Decided:
    """`by`: who, or "" where `rule` did."""

    by: str
    word: str
    comment: str = ""
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """A request as people are shown it. `state` is one of gateway.access.request_record.State. `kind`: target or environment.

    `wanted_from`: None: as soon as it is approved. `needed` and `said_yes` are of the present `step` of `steps`.
    """

    id: str
    number: int
    state: str
    requester: str
    holder: str
    place: str
    mode: str
    fingerprint: str
    duration_seconds: int
    kind: str = "target"
    database_role: str | None = None
    statements: int = 0
    reason: str = ""
    ticket: str | None = None
    wanted_from: datetime | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    decisions: tuple[Decided, ...] = ()
    ended_because: str = ""
    break_glass: bool = False
    awaits_review: bool = False
    reviewed_by: str | None = None
    approvers: tuple[str, ...] = ()
    step: int = 1
    steps: int = 1
    needed: int = 1
    said_yes: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    topic: Topic
    at: datetime
    request: Shown


def read(payload: str) -> Told:
    """Raises PayloadError."""
    try:
        found = json.loads(payload)
        return Told(
            Topic(str(found["type"]).removeprefix("access_request.")),
            datetime.fromisoformat(found["at"]),
            shown(found["request"]),
        )
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise PayloadError(f"the message cannot be read: {type(error).__name__}") from None


def shown_now(snapshot: Snapshot, request: AccessRequest, now: datetime) -> Shown:
    """A request of the store, by the very words in which messages tell of it."""
    (message,) = messages_of(snapshot, request, Topic.CREATED, now, only_to=[""])
    return read(message.payload).request


def shown(found: Mapping[str, Json]) -> Shown:
    """Raises LookupError, TypeError, ValueError for what is not there."""
    return Shown(
        id=str(found["id"]),
        number=int(_number(found["number"])),
        state=str(found["state"]),
        requester=str(found["requester"]),
        holder=str(found["holder"]),
        place=str(found["place"]),
        mode=str(found["mode"]),
        fingerprint=str(found["fingerprint"]),
        duration_seconds=int(_number(found["duration_seconds"])),
        kind=str(found.get("kind") or "target"),
        database_role=_text(found.get("database_role")),
        statements=int(_number(found.get("statements") or 0)),
        reason=str(found.get("reason") or ""),
        ticket=_text(found.get("ticket")),
        wanted_from=_instant(found.get("wanted_from")),
        starts_at=_instant(found.get("starts_at")),
        ends_at=_instant(found.get("ends_at")),
        decisions=tuple(_decided(each) for each in _list(found.get("decisions"))),
        ended_because=str(found.get("ended_because") or ""),
        break_glass=found.get("break_glass") is True,
        awaits_review=found.get("awaits_review") is True,
        reviewed_by=_reviewer(found.get("review")),
        approvers=tuple(str(each) for each in _list(found.get("approvers"))),
        step=int(_number(found.get("step") or 1)),
        steps=int(_number(found.get("steps") or 1)),
        needed=int(_number(found.get("needed") or 1)),
        said_yes=int(_number(found.get("said_yes") or 0)),
    )


def _decided(found: Json) -> Decided:
    if not isinstance(found, dict):
        raise TypeError
    return Decided(str(found.get("by") or ""), str(found["word"]), str(found.get("comment") or ""), _text(found.get("rule")))


def _reviewer(found: Json) -> str | None:
    return str(found.get("by") or "") if isinstance(found, dict) else None


def _list(found: Json) -> list[Json]:
    return found if isinstance(found, list) else []


def _number(found: Json) -> float:
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise TypeError
    return found


def _text(found: Json) -> str | None:
    return None if found is None else str(found)


def _instant(found: Json) -> datetime | None:
    return None if found is None else datetime.fromisoformat(str(found))
