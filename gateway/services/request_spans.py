"""How long somebody would have a right, with what they have of it already; and whether it was given before. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from gateway.access.extension import Span, chained, is_like, span_of, wanted_span
from gateway.access.request_record import AccessRequest, State, Word
from gateway.durations import write_duration
from gateway.services.errors import ServiceError


def check_span(request: AccessRequest, earlier: Sequence[AccessRequest], now: datetime) -> None:
    """Raises ServiceError when the right would last longer than the policy allows, together with what it prolongs.

    `earlier`: requests for the same holder. Of rights taken in an emergency, those alone may last no longer than one may.
    """
    policy = request.policy
    _check(request, _like(request, earlier), policy.max_seconds, now)
    if request.break_glass and policy.break_glass is not None:
        taken = [each for each in _like(request, earlier) if each.break_glass]
        _check(request, taken, policy.break_glass.within_seconds, now)


def by_rules_alone_seconds(request: AccessRequest, earlier: Sequence[AccessRequest], now: datetime) -> float:
    """For how long, before this and without a gap, rules have given the same: what a rule gave it does not prolong."""
    given = [each for each in _like(request, earlier) if not each.approver_ids and not each.break_glass]
    span = wanted_span(request.wanted, now)
    return chained(span, _spans(given)).seconds - span.seconds


def approved_before_at(request: AccessRequest, earlier: Iterable[AccessRequest]) -> datetime | None:
    """When people last approved the same under the same policy; None: never, or it was denied or taken away since."""
    same = [each for each in earlier if each.policy.id == request.policy.id and each.wanted.likeness == request.wanted.likeness]
    for each in sorted(same, key=lambda each: each.number, reverse=True):
        if each.state in (State.DENIED, State.REVOKED):
            return None
        if each.approver_ids and each.starts_at is not None:
            return max(decision.at for decision in each.decisions if decision.word is Word.YES and decision.rule is None)
    return None


def _check(request: AccessRequest, like: Sequence[AccessRequest], most: int, now: datetime) -> None:
    span = wanted_span(request.wanted, now)
    whole = chained(span, _spans(like))
    if whole.seconds > most:
        left = max(0, most - int(whole.seconds - span.seconds))
        raise ServiceError(
            "request-too-long",
            f"with what is given already, it would be more than {write_duration(most)} without a gap",
            f"Ask for {write_duration(left)} at most, or once the former right has ended."
            if left
            else "Ask once that has ended.",
        )


def _like(request: AccessRequest, earlier: Iterable[AccessRequest]) -> list[AccessRequest]:
    place = request.policy.environment_id
    return [each for each in earlier if each.id != request.id and is_like(each, request.wanted, place)]


def _spans(requests: Iterable[AccessRequest]) -> list[Span]:
    return [span for each in requests if (span := span_of(each)) is not None]
