"""Chains of rights, and whose yes counts: pure parts that the verbs stand on."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.access.approvals import Step
from gateway.access.extension import Span, chained, span_of
from gateway.access.request_record import AccessRequest, Decision, State, Word
from gateway.access.requests import decide, relinquish
from tests.core.test_access_requests import BEN, CAM, DEE, NOW, ONE, asked, given_by, says

START = datetime(2026, 11, 22, tzinfo=UTC)


def span(first: int, length: int) -> Span:
    return Span(START + timedelta(minutes=first), START + timedelta(minutes=first + length))


spans = st.builds(span, st.integers(0, 60), st.integers(1, 20))


@given(spans, st.lists(spans, max_size=8))
def test_a_chain_is_all_that_is_reached_without_a_gap(one: Span, others: list[Span]) -> None:
    whole = chained(one, others)
    minutes = {at for each in others for at in range(*_minutes(each))} | set(range(*_minutes(one)))
    first, last = _minutes(whole)
    assert minutes >= set(range(first, last))
    assert not any(end == first or begin == last for begin, end in map(_minutes, others) if (begin, end) != (first, last))
    assert chained(whole, others) == whole
    assert chained(one, others[::-1]) == whole


def test_what_was_given_back_counts_until_then() -> None:
    given_back = relinquish(given_by(asked(), BEN), NOW + timedelta(minutes=11))
    assert isinstance(given_back, AccessRequest)
    assert span_of(given_back) == Span(NOW + timedelta(minutes=1), NOW + timedelta(minutes=11))
    assert span_of(asked()) is None


def test_the_yes_of_who_may_not_say_it_any_more_is_not_counted() -> None:
    request = asked(replace(ONE, steps=(Step(frozenset({"approvers"}), 2), Step(frozenset({"security"})))))
    second = given_by(request, BEN, CAM)
    assert second.step == 1
    found = decide(second, says(DEE), NOW, frozenset({"cam"}))  # ben was removed meanwhile
    assert isinstance(found, AccessRequest)
    assert (found.state, found.step) == (State.PENDING, 0)
    assert found.starts_at is None
    all_there = decide(second, Decision(DEE, Word.YES, NOW, request.wanted.fingerprint), NOW, frozenset({"ben", "cam"}))
    assert isinstance(all_there, AccessRequest)
    assert all_there.state is State.ACTIVE


def _minutes(each: Span) -> tuple[int, int]:
    first, last = (int((at - START).total_seconds() // 60) for at in (each.starts_at, each.ends_at))
    return first, last
