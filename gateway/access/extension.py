"""A right that is asked for again before it ends: the time of the whole chain counts, not that of its last link. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.access.asking import Wanted
from gateway.access.request_record import AccessRequest


@dataclass(frozen=True, slots=True)
class Span:
    """From when until when somebody has, had or would have a right."""

    starts_at: datetime
    ends_at: datetime

    @property
    def seconds(self) -> float:
        return (self.ends_at - self.starts_at).total_seconds()


def span_of(request: AccessRequest) -> Span | None:
    """None: nothing was given, or nothing of it was left once it could have begun."""
    if request.starts_at is None or request.ends_at is None:
        return None
    ends_at = request.ends_at if request.ended_at is None else min(request.ends_at, request.ended_at)
    return Span(request.starts_at, ends_at) if request.starts_at < ends_at else None


def wanted_span(wanted: Wanted, now: datetime) -> Span:
    """What would be given, were it approved now."""
    starts_at = max(now, wanted.starts_at or now)
    return Span(starts_at, starts_at + timedelta(seconds=wanted.duration_seconds))


def chained(span: Span, others: Iterable[Span]) -> Span:
    """The span with all that it overlaps or touches, and what these do."""
    left = list(others)
    while touching := [each for each in left if each.starts_at <= span.ends_at and span.starts_at <= each.ends_at]:
        left = [each for each in left if each not in touching]
        starts = min(span.starts_at, *(each.starts_at for each in touching))
        span = Span(starts, max(span.ends_at, *(each.ends_at for each in touching)))
    return span


def is_like(request: AccessRequest, wanted: Wanted, environment_id: str) -> bool:
    """Whether it is for the same right of the same person, where one of the two places lies in the other."""
    other = request.wanted
    if (other.holder_id, other.right) != (wanted.holder_id, wanted.right) or request.policy.environment_id != environment_id:
        return False
    return None in (other.target_id, wanted.target_id) or other.target_id == wanted.target_id
