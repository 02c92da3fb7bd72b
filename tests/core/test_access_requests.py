"""Requests for access: whatever people do, in whatever order, nobody gets what was not asked for, or was not approved."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access import requests
from gateway.access.approvals import (
    ApprovalPolicy,
    AutomaticRule,
    BreakGlass,
    Circumstances,
    Electors,
    Person,
    RuleKind,
    Step,
    automatic,
)
from gateway.access.asking import ModeWanted, RoleWanted, Scope, StatementsWanted, Wanted
from gateway.access.request_record import ENDED, GIVEN, AccessRequest, Decision, State, Word
from gateway.access.requests import Asking, Refused
from gateway.access_mode import AccessMode

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)

ANA = Person("ana", frozenset({"ana@example.org"}), frozenset({"analysts"}))
ANAS_SECOND = Person("ana2", frozenset({"ana@example.org"}), frozenset({"approvers"}))
BEN = Person("ben", frozenset({"ben@example.org"}), frozenset({"approvers"}))
CAM = Person("cam", frozenset(), frozenset({"approvers", "security"}))
DEE = Person("dee", frozenset(), frozenset({"security"}))
NEW = Person("new", frozenset(), frozenset({"approvers"}))
PEOPLE = (ANA, ANAS_SECOND, BEN, CAM, DEE, NEW)

READ = Wanted("ana", ModeWanted(AccessMode.READ_ONLY), 3600, "monthly report", target_id="shop")
ROLE = RoleWanted("reporting", AccessMode.READ_ONLY)
ONE = ApprovalPolicy("p", "production", "prod", frozenset(AccessMode), (Step(frozenset({"approvers"})),))
TWO_STEPS = replace(ONE, steps=(Step(frozenset({"approvers"}), 2), Step(frozenset({"security"}))))
POLICIES = (ONE, TWO_STEPS, replace(ONE, steps=(Step(frozenset({"dee"}), 1, 600, frozenset({"approvers"})),)))


def electorate(policy: ApprovalPolicy) -> tuple[Electors, ...]:
    """As it was when somebody asked: all but NEW, who got the role later."""

    def among(ids: frozenset[str]) -> frozenset[str]:
        return frozenset(each.user_id for each in PEOPLE if each is not NEW and not each.ids.isdisjoint(ids))

    return tuple(Electors(among(step.approvers), among(step.escalation)) for step in policy.steps)


def asked(policy: ApprovalPolicy = ONE, wanted: Wanted = READ, requester: Person = ANA, holder: Person = ANA) -> AccessRequest:
    found = requests.ask("r1", Asking(requester, holder), wanted, policy, electorate(policy), NOW)
    assert isinstance(found, AccessRequest)
    return found


def says(person: Person, word: Word = Word.YES, wanted: Wanted = READ) -> Decision:
    return Decision(person, word, NOW, wanted.fingerprint)


def decide(request: AccessRequest, decision: Decision, now: datetime, gone: str = "") -> AccessRequest | Refused:
    """Of those who decided before, everybody still may but `gone`."""
    standing = frozenset(each.person.user_id for each in request.decisions) - {gone}
    return requests.decide(request, decision, now, standing)


def rule_of(found: AccessRequest | Refused) -> str:
    assert isinstance(found, Refused)
    return found.rule


def given_by(request: AccessRequest, *people: Person, now: datetime = NOW + MINUTE) -> AccessRequest:
    for person in people:
        found = decide(request, says(person, wanted=request.wanted), now)
        assert isinstance(found, AccessRequest), found
        request = found
    return request


# -- what is asked -----------------------------------------------------------------------------------------------------

rights = st.one_of(
    st.builds(ModeWanted, st.sampled_from(AccessMode)),
    st.builds(RoleWanted, st.text(max_size=5), st.sampled_from(AccessMode)),
    st.builds(
        StatementsWanted,
        st.lists(st.text(max_size=5), max_size=3).map(tuple),
        st.sampled_from(Scope),
        st.sampled_from(AccessMode),
    ),
)
wants = st.builds(
    Wanted,
    st.sampled_from(["ana", "ben"]),
    rights,
    st.integers(1, 3),
    st.text(max_size=5),
    target_id=st.sampled_from(["shop", "crm"]),
    starts_at=st.none() | st.just(NOW),
    ticket=st.none() | st.text(max_size=3),
)


@given(wants, wants)
def test_two_requests_have_one_fingerprint_only_if_they_are_the_same(one: Wanted, other: Wanted) -> None:
    assert (one.fingerprint == other.fingerprint) == (one == other)


@given(wants)
def test_the_same_again_is_alike(wanted: Wanted) -> None:
    again = replace(wanted, reason="once more", duration_seconds=99, ticket="T-2", starts_at=None)
    assert again.likeness == wanted.likeness
    assert replace(wanted, target_id="other").likeness != wanted.likeness


def test_a_request_is_for_one_thing_and_some_time() -> None:
    for wrong in ({"environment_id": "prod"}, {"target_id": None}, {"duration_seconds": 0}):
        with pytest.raises(ValueError, match="a request is for"):
            replace(READ, **wrong)


@pytest.mark.parametrize(
    ("policy", "wanted", "rule"),
    [
        (ONE, replace(READ, duration_seconds=86_401), "request-too-long"),
        (replace(ONE, reason_required=True), replace(READ, reason=" \n"), "reason-required"),
        (replace(ONE, ticket_required=True), READ, "ticket-required"),
        (replace(ONE, modes=frozenset({AccessMode.READ_WRITE})), READ, "request-not-open"),
    ],
)
def test_what_cannot_be_asked(policy: ApprovalPolicy, wanted: Wanted, rule: str) -> None:
    assert rule_of(requests.ask("r1", Asking(ANA, ANA), wanted, policy, electorate(policy), NOW)) == rule


# -- who decides -------------------------------------------------------------------------------------------------------


def test_approved_for_exactly_the_time_asked() -> None:
    found = given_by(asked(), BEN)
    assert (found.state, found.starts_at, found.ends_at) == (State.ACTIVE, NOW + MINUTE, NOW + MINUTE + HOUR)
    assert found.approver_ids == {"ben"}


def test_it_may_begin_later() -> None:
    later = replace(READ, starts_at=NOW + 5 * HOUR)
    found = given_by(asked(wanted=later), BEN)
    assert found.state is State.APPROVED
    assert requests.as_of(found, NOW + 5 * HOUR).state is State.ACTIVE
    assert requests.as_of(found, NOW + 6 * HOUR).state is State.EXPIRED


@pytest.mark.parametrize("person", [ANA, ANAS_SECOND])
def test_r12_nobody_decides_about_their_own(person: Person) -> None:
    """Nor by a second account, nor when somebody else asked for them, nor when they asked for somebody else."""
    for request in (asked(), asked(requester=BEN), asked(wanted=replace(READ, holder_id="ben"), holder=BEN)):
        for word in Word:
            assert rule_of(decide(request, says(person, word, request.wanted), NOW)) == "self-approval"


def test_r12_a_membership_that_is_younger_than_the_request_does_not_count() -> None:
    assert rule_of(decide(asked(), says(NEW), NOW + HOUR)) == "not-an-approver"


def test_who_is_not_asked() -> None:
    assert rule_of(decide(asked(), says(DEE), NOW)) == "not-an-approver"


def test_what_was_looked_at_is_what_is_decided() -> None:
    other = replace(READ, duration_seconds=86_000)
    assert rule_of(decide(asked(wanted=other), says(BEN), NOW)) == "request-changed"


def test_steps_and_numbers() -> None:
    request = asked(TWO_STEPS)
    assert rule_of(decide(request, says(DEE), NOW)) == "not-an-approver"  # not yet
    half = given_by(request, BEN)
    assert half.state is State.PENDING
    assert rule_of(decide(half, says(BEN), NOW)) == "decided-already"
    second = given_by(half, CAM)
    assert (second.state, second.step) == (State.PENDING, 1)
    assert rule_of(decide(second, says(CAM), NOW)) == "decided-already"  # one person, one step
    assert given_by(second, DEE).state is State.ACTIVE
    denied = decide(second, says(DEE, Word.NO), NOW)
    assert isinstance(denied, AccessRequest)
    assert denied.state is State.DENIED


def test_escalation() -> None:
    request = asked(POLICIES[2])
    assert rule_of(decide(request, says(BEN), NOW + 9 * MINUTE)) == "not-an-approver"
    assert given_by(request, BEN, now=NOW + 10 * MINUTE).state is State.ACTIVE


# -- rules and emergencies ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "wanted", "about", "holds"),
    [
        (AutomaticRule(RuleKind.SHORT_READ, 3600), READ, Circumstances(), True),
        (AutomaticRule(RuleKind.SHORT_READ, 3599), READ, Circumstances(), False),
        (
            AutomaticRule(RuleKind.SHORT_READ, 3600),
            replace(READ, right=ModeWanted(AccessMode.READ_WRITE)),
            Circumstances(),
            False,
        ),
        (
            AutomaticRule(RuleKind.SHORT_READ, 3600),
            replace(READ, right=RoleWanted("x", AccessMode.READ_ONLY)),
            Circumstances(),
            False,
        ),
        (AutomaticRule(RuleKind.AGAIN, 3600, 60), READ, Circumstances(NOW - MINUTE), True),
        (AutomaticRule(RuleKind.AGAIN, 3600, 59), READ, Circumstances(NOW - MINUTE), False),
        (AutomaticRule(RuleKind.AGAIN, 3600, 60), READ, Circumstances(NOW + MINUTE), False),
        (AutomaticRule(RuleKind.AGAIN, 3600, 60), READ, Circumstances(), False),
        (AutomaticRule(RuleKind.ON_CALL, 3600), READ, Circumstances(on_call=True), True),
        (AutomaticRule(RuleKind.ON_CALL, 3600), READ, Circumstances(on_call=None), False),
        (AutomaticRule(RuleKind.ON_CALL, 3600), READ, Circumstances(on_call=False), False),
    ],
)
def test_automatic_rules(rule: AutomaticRule, wanted: Wanted, about: Circumstances, holds: bool) -> None:
    policy = replace(ONE, rules=(rule,))
    assert (automatic(policy, wanted, about, NOW) is rule) == holds


def test_approved_by_a_rule() -> None:
    found = requests.approve_by_rule(asked(), "short-read", NOW)
    assert isinstance(found, AccessRequest)
    assert (found.state, found.approver_ids, found.decisions[0].rule) == (State.ACTIVE, frozenset(), "short-read")


GLASS = replace(ONE, break_glass=BreakGlass(frozenset({"analysts"}), 3600))


def test_break_glass() -> None:
    found = requests.break_glass(asked(GLASS), NOW)
    assert isinstance(found, AccessRequest)
    assert (found.state, found.break_glass) == (State.ACTIVE, True)


def test_nothing_comes_of_a_request_that_waited_too_long() -> None:
    late = NOW + 24 * HOUR
    assert rule_of(decide(asked(GLASS), says(BEN), late)) == "request-not-pending"
    assert rule_of(requests.break_glass(asked(GLASS), late)) == "request-not-pending"
    assert rule_of(requests.approve_by_rule(asked(GLASS), "short-read", late)) == "request-not-pending"


@pytest.mark.parametrize(
    ("request_", "rule"),
    [
        (asked(ONE), "break-glass-not-open"),
        (asked(GLASS, requester=BEN), "break-glass-not-open"),
        (asked(GLASS, replace(READ, starts_at=NOW + HOUR)), "break-glass-not-open"),
        (asked(GLASS, replace(READ, duration_seconds=3601)), "request-too-long"),
        (asked(GLASS, replace(READ, reason="")), "reason-required"),
    ],
)
def test_break_glass_is_not_for_everything(request_: AccessRequest, rule: str) -> None:
    assert rule_of(requests.break_glass(request_, NOW)) == rule


# -- in any order ------------------------------------------------------------------------------------------------------

acts = st.one_of(
    st.tuples(st.just("decide"), st.sampled_from(PEOPLE), st.sampled_from(Word)),
    st.tuples(st.sampled_from(["cancel", "relinquish", "revoke", "fail", "as_of"]), st.none(), st.none()),
)


def apply(request: AccessRequest, act: tuple[str, Person | None, Word | None], now: datetime) -> AccessRequest | Refused:
    match act:
        case ("decide", Person() as person, Word() as word):
            return decide(request, says(person, word), now)
        case ("cancel", *_):
            return requests.cancel(request, now)
        case ("relinquish", *_):
            return requests.relinquish(request, now)
        case ("revoke", *_):
            return requests.revoke(request, "because", now)
        case ("fail", *_):
            return requests.fail(request, "broken", now)
        case _:
            return requests.as_of(request, now)


@given(st.sampled_from(POLICIES), st.lists(st.tuples(acts, st.integers(-30, 90)), max_size=12))
def test_whatever_people_do(policy: ApprovalPolicy, script: list[tuple[tuple[str, Person | None, Word | None], int]]) -> None:
    """Minutes pass between the acts, and the clock may step back."""
    request, now = asked(policy), NOW
    for act, minutes in script:
        now += minutes * MINUTE
        found = apply(request, act, now)
        if isinstance(found, Refused):
            continue
        if request.state in ENDED:
            assert found == request
        if request.ends_at is not None:
            assert (found.starts_at, found.ends_at) == (request.starts_at, request.ends_at)
        if found.state in GIVEN:
            assert found.starts_at is not None
            assert found.ends_at == found.starts_at + HOUR
            assert now < found.ends_at
            for number, step in enumerate(policy.steps):
                yes = {each.person.user_id for each in found.decisions if each.step == number and each.word is Word.YES}
                assert len(yes) >= step.needed
            assert not found.approver_ids & {"ana", "ana2", "new"}
        request = found
