"""Access requests, policies, endings and messages in a store: they come back as they were put, together with their change."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.access.approvals import ApprovalPolicy, AutomaticRule, BreakGlass, Electors, Person, RuleKind, Step
from gateway.access.asking import ModeWanted, RoleWanted, Scope, StatementsWanted, Wanted
from gateway.access.model import Grant
from gateway.access.request_record import AccessRequest, Decision, Names, Review, State, Word
from gateway.access.requested import Backer, Command, Only, Operation
from gateway.access_mode import AccessMode
from gateway.audit.admin_event import AdminEvent
from gateway.ports import GrantEnding, OutboxMessage, RequestFilter
from gateway.store.errors import StoreConflictError
from gateway.store.outbox_rows import outbox_row, to_message
from tests.support.snapshots import SALES

NOW = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
HOUR = timedelta(hours=1)
EVENT = AdminEvent("user:ana", "access_request.created", "r", "request 1", "")
ANA = Person("u-ana", frozenset({"ana@example.org"}), frozenset({"g-analysts"}))
POLICY = ApprovalPolicy(
    "p",
    "production",
    "prod",
    frozenset(AccessMode),
    (Step(frozenset({"r-dba", "u-ben"}), 2, 600, frozenset({"owners"})), Step(frozenset({"u-cam"}))),
    (AutomaticRule(RuleKind.AGAIN, 3600, 86_400),),
    break_glass=BreakGlass(frozenset({"g-oncall"}), 1800),
    database_roles=frozenset({'odd "role"', "reporting"}),
    announce=("slack:C024BE91L", "mail:dba@example.com"),
    on_call="P538IZH",
    bound_to_approvers=True,
)
RIGHTS = (
    ModeWanted(AccessMode.READ_WRITE),
    RoleWanted("reporting", AccessMode.READ_ONLY),
    StatementsWanted(("SELECT 'ü\n'",), Scope.EXACT, AccessMode.READ_ONLY),
)


def request(number: int, right: ModeWanted | RoleWanted | StatementsWanted = RIGHTS[0], **more: object) -> AccessRequest:
    wanted = Wanted(ANA.user_id, right, 3600, "why", target_id="t-sales", starts_at=NOW, ticket="T-1")
    electorate = (Electors(frozenset({"u-ben"}), frozenset({"u-dee"})), Electors(frozenset({"u-cam"})))
    plain = AccessRequest(
        f"r-{number}", ANA, ANA, wanted, POLICY, electorate, State.PENDING, NOW, NOW + HOUR, 0, NOW, number=number
    )
    return replace(plain, **more)


async def stored(place, *rows: AccessRequest) -> list[AccessRequest]:
    async with place.store.begin() as work:
        for row in rows:
            work.put(row)
        version = await work.commit(EVENT)
    return [replace(row, version=version) for row in rows]


async def test_they_come_back_as_they_were_put(place):
    yes = Decision(Person("u-ben"), Word.YES, NOW, "f" * 64, 0, "fine", None, "ben")
    given = request(
        4,
        state=State.ACTIVE,
        decisions=(yes, replace(yes, rule="again", step=1)),
        starts_at=NOW,
        ends_at=NOW + HOUR,
        break_glass=True,
        names=Names("ana", "ana", "sales"),
        escalated_step=1,
        told_expiring=True,
        review=Review("u-ben", "ben", NOW, "seen"),
    )
    put = [*(request(number, right) for number, right in enumerate(RIGHTS, start=1)), given]
    put = await stored(place, *put)
    assert await place.store.access_requests(RequestFilter()) == put[::-1]
    assert await place.store.access_request(4) == await place.store.access_request("r-4") == put[3]
    assert await place.store.access_request(5) is None
    async with place.store.begin() as work:
        assert await work.next_request_number() == 5
        assert await work.access_request("r-2") == put[1]
        assert await work.access_requests(RequestFilter(before=3, limit=1)) == [put[1]]
        work.put(replace(put[1], state=State.DENIED, ended_at=NOW, ended_because="no"))
        await work.commit(EVENT)
    found = await place.store.access_request(2)
    assert found is not None
    assert (found.state, found.ended_because) == (State.DENIED, "no")


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (RequestFilter(states=frozenset({State.PENDING})), [1]),
        (RequestFilter(person_id="u-ana"), [3, 2, 1]),
        (RequestFilter(requester_id="u-ana"), [2, 1]),
        (RequestFilter(holder_id="u-ana"), [3, 1]),
        (RequestFilter(environments=frozenset({"prod"})), [3, 2, 1]),
        (RequestFilter(environments=frozenset()), []),
        (RequestFilter(target_id="t-other"), []),
        (RequestFilter(awaits_review=True), [2]),
        (RequestFilter(likeness=request(9).wanted.likeness, limit=1), [3]),
    ],
)
async def test_filters(place, wanted, numbers):
    other = Person("u-other")
    two = request(2, state=State.EXPIRED, break_glass=True, holder=other)
    await stored(place, request(1), two, request(3, state=State.DENIED, requester=other))
    assert [each.number for each in await place.store.access_requests(wanted)] == numbers


async def test_a_number_is_given_once(place):
    await stored(place, request(1))
    with pytest.raises(StoreConflictError):
        await stored(place, replace(request(1), id="another"))


async def test_what_a_grant_has_from_a_request(place):
    only = Only(operations=frozenset({Operation(Command.UPDATE, "public", 'Odd "one"')}))
    async with place.store.begin() as work:
        work.put(SALES)
        await work.commit(EVENT)
    await place.add_user("alice")
    async with place.store.begin() as work:
        alice = work.snapshot.users["alice"].id
        backers = (Backer("u-ben", ("r-dba", "u-ben")),)
        grant = Grant("g", alice, SALES.id, AccessMode.READ_ONLY, NOW, 0, frozenset(), None)
        grant = replace(grant, request_id="r-1", backers=backers, only=only, database_role="reporting")
        other = replace(grant, id="h", only=Only(statements=frozenset({"ab"})), backers=())
        for row in (grant, other, POLICY, GrantEnding("gone", "request 7 was given back")):
            work.put(row)
        version = await work.commit(EVENT)
    snapshot = await place.store.read()
    assert {each.id: each for each in snapshot.grants[alice]} == {
        "g": replace(grant, version=version),
        "h": replace(other, version=version),
    }
    assert snapshot.approval_policies == {"production": replace(POLICY, version=version)}
    assert snapshot.endings == {"gone": "request 7 was given back"}
    async with place.store.begin() as work:
        work.remove(work.snapshot.approval_policies["production"])
        await work.commit(EVENT)
    assert (await place.store.read()).approval_policies == {}


async def test_messages_are_there_with_their_change_and_in_order(place):
    message = OutboxMessage("m-1", "access_request.created", "slack:C1", '{"type":"x"}', NOW, NOW, "r-1")
    async with place.store.begin() as work:
        work.put(message)  # left without a commit: nobody is told
    for ids in (["m-1", "m-2"], ["m-3"]):
        async with place.store.begin() as work:
            for each in ids:
                work.put(replace(message, id=each))
            await work.commit(EVENT)
    async with place.store.begin() as work:
        work.put(message)
        with pytest.raises(StoreConflictError):  # the same message is there once
            await work.commit(EVENT)
    assert to_message(outbox_row(message, 3)) == replace(message, sequence=3)
    async with place.store.begin() as work:
        assert await work._last_message() == 0  # it looks only for a change that has something to tell
        work.put(replace(message, id="m-4"))
        assert await work._last_message() == 3
