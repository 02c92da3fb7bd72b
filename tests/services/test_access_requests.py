"""Access requests as verbs: who may ask and decide, what a yes leads to, what ends it, and what is told of it."""

import asyncio
import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.access.accounts import Identity
from gateway.access.approvals import AutomaticRule, RuleKind
from gateway.access.asking import ModeWanted, RoleWanted, Scope, StatementsWanted
from gateway.access.model import Permission, TokenScope
from gateway.access.request_record import State, Word
from gateway.secret import Secret
from gateway.services import (
    access_requests,
    accounts,
    admin_roles,
    approval_policies,
    environments,
    grants,
    groups,
    targets,
    tokens,
    users,
)
from gateway.services.access_requests import Listing, WhichRequests
from gateway.services.actor import NotPermitted
from gateway.services.approval_terms import NamedStep
from gateway.services.errors import ServiceError
from gateway.services.targets import Place
from gateway.services.tokens import Bounds
from gateway.store.migrate import upgrade
from gateway.store.places import locate
from tests.support.requesting import ANY_TWO, BY, HOUR, ON_CALL, RO, RW, Desk, desk_at, fill, manage


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("requests") / "state"
    folder.mkdir()

    async def make() -> None:
        await upgrade(locate(_url(folder)))
        await fill(desk_at(_url(folder)))

    asyncio.run(make())
    return folder


@pytest.fixture
def desk(filled: Path, tmp_path: Path) -> Desk:
    shutil.copytree(filled, tmp_path / "state")
    return desk_at(_url(tmp_path / "state"))


def _url(folder: Path) -> str:
    return f"sqlite+aiosqlite:///{folder}/store.sqlite3"


def refused(rule: str):
    return pytest.raises(ServiceError, check=lambda error: error.rule == rule)


# -- the way of a request ----------------------------------------------------------------------------------------------


async def test_asked_approved_and_given_back(desk: Desk):
    request = await desk.ask()
    assert (request.number, request.state, request.names.place) == (1, State.PENDING, "shop")
    assert await desk.grants() == ()
    request = await desk.decide(request, "ben", comment="fine")
    (grant,) = await desk.grants()
    assert (request.state, request.ends_at) == (State.ACTIVE, desk.clock.now + timedelta(hours=1))
    assert (grant.request_id, grant.mode, grant.valid_from, grant.valid_until) == (
        request.id,
        RO,
        request.starts_at,
        request.ends_at,
    )
    desk.clock.go(minutes=5)
    assert (await desk.relinquish(request)).state is State.RELINQUISHED
    assert await desk.grants() == ()
    assert (await desk.store.read()).endings == {grant.id: "request 1 was given back"}
    assert await desk.events() == [("user:ana", "created"), ("user:ben", "approved"), ("user:ana", "relinquished")]
    assert await desk.events("grant.") == [("user:ben", "grant.created"), ("user:ana", "grant.revoked")]
    with refused("request-not-given"):
        await desk.relinquish(request)


async def test_what_others_are_told(desk: Desk):
    request = await desk.ask(ticket="OPS-1")
    snapshot = await desk.store.read()
    ids = {name: user.id for name, user in snapshot.users.items()}
    told = {each.destination for each in await desk.messages("created")}
    assert told == {"slack:C024BE91L", *(f"person:{ids[name]}" for name in ("ana", "ben", "cam", "dee"))}
    await desk.decide(request, "ben", Word.NO, comment="not today")
    messages = await desk.messages("denied")
    assert {each.destination for each in messages} == {"slack:C024BE91L", f"person:{ids['ana']}"}
    body = json.loads(messages[0].payload)
    assert body["type"] == "access_request.denied"
    facts = body["request"]
    assert (facts["state"], facts["ended_because"], facts["ticket"]) == ("denied", "not today", "OPS-1")
    assert [(each["by"], each["word"], each["comment"]) for each in facts["decisions"]] == [("ben", "deny", "not today")]
    assert (facts["requester"], facts["place"], facts["kind"], facts["number"]) == ("ana", "shop", "target", 1)
    assert {each.request_id for each in messages} == {request.id}


async def test_for_an_environment_each_target_that_is_in_it_is_opened(desk: Desk):
    request = await desk.given(environment_name="prod")
    snapshot = await desk.store.read()
    opened = {grant.target_id for grant in await desk.grants()}
    assert opened == {snapshot.targets[name].id for name in ("shop", "crm")}
    await grants.revoke_grant(desk.store, grant_id=(await desk.grants())[0].id, actor="os:admin", reason="enough")
    assert (await desk.now(request)).state is State.REVOKED
    assert await desk.grants() == ()


async def test_for_another(desk: Desk):
    request = await desk.given(for_user="eve")
    assert [grant.request_id for grant in await desk.grants("eve")] == [request.id]
    assert (await desk.relinquish(request, "eve")).state is State.RELINQUISHED
    with refused("user-unknown"):
        await desk.ask(for_user="nobody")


async def test_it_begins_later_and_the_sweeper_writes_down_what_time_makes_of_it(desk: Desk):
    later = desk.clock.now + timedelta(hours=2)
    request = await desk.given(starts_at=later)
    assert request.state is State.APPROVED
    assert await desk.sweep() == ()
    desk.clock.go(hours=2)
    assert await desk.sweep() == (1,)
    assert (await desk.now(request)).state is State.ACTIVE
    desk.clock.go(minutes=50)
    assert await desk.sweep() == (1,)  # ten minutes are left
    assert len(await desk.messages("expiring")) == 1
    assert await desk.sweep() == ()
    desk.clock.go(minutes=10)
    assert await desk.sweep() == (1,)
    assert ((await desk.now(request)).state, await desk.grants()) == (State.EXPIRED, ())
    assert await desk.events() == [
        ("user:ana", "created"),
        ("user:ben", "approved"),
        *(("system", each) for each in ("active", "expiring", "expired")),
    ]
    assert await desk.sweep() == ()


async def test_nobody_decides_in_time(desk: Desk):
    request = await desk.ask()
    desk.clock.go(days=1)
    with refused("request-not-pending"):
        await desk.decide(request, "ben")
    assert await desk.sweep() == (1,)
    found = await desk.now(request)
    assert (found.state, found.ended_because) == (State.EXPIRED, "nobody decided in time")


async def test_the_very_same_is_asked_once(desk: Desk):
    first = await desk.ask()
    assert await desk.ask() == await desk.now(first)
    with refused("request-exists"):
        await desk.ask(duration_seconds=60)
    await desk.cancel(first)
    assert (await desk.ask(duration_seconds=60)).number == 2


async def test_escalation_is_told_and_lets_more_people_decide(desk: Desk):
    step = NamedStep(("user:ben",), 1, 600, ("user:eve",))
    await desk.policy(steps=(step,))
    request = await desk.ask()
    with refused("not-an-approver"):
        await desk.decide(request, "eve")
    desk.clock.go(minutes=10)
    assert await desk.sweep() == (1,)
    snapshot = await desk.store.read()
    assert f"person:{snapshot.users['eve'].id}" in {each.destination for each in await desk.messages("escalated")}
    assert await desk.sweep() == ()
    assert (await desk.decide(request, "eve")).state is State.ACTIVE


# -- what can be asked for ---------------------------------------------------------------------------------------------


async def test_what_is_not_there_and_what_nobody_opened_look_the_same(desk: Desk):
    found = []
    for name in ("elsewhere", "nothing"):
        with refused("not-askable") as refusal:
            await desk.ask(target_name=name)
        found.append(str(refusal.value).replace(name, "NAME"))
    assert found[0] == found[1]
    with refused("not-askable"):
        await desk.ask(environment_name="default")


async def test_askable_is_what_policies_open(desk: Desk):
    async def places(name: str) -> set[tuple[str | None, str]]:
        found = await access_requests.askable(desk.store, actor=f"user:{name}", now=desk.clock.now)
        return {(each.target, each.mode.value) for each in found}

    both = {"read_only", "read_write"}
    assert await places("ana") == {(name, mode) for name in (None, "shop", "crm") for mode in both}
    await users.update_user(desk.store, name="eve", read_only=True, **BY)
    assert await places("eve") == {(name, "read_only") for name in (None, "shop", "crm")}
    with refused("user-read-only"):
        await desk.ask(ModeWanted(RW), by="eve")


@pytest.mark.parametrize(
    ("more", "rule"),
    [
        ({"duration_seconds": 8 * HOUR + 1}, "request-too-long"),
        ({"duration_seconds": 59}, "request-too-short"),
        ({"reason": "two\nlines"}, "text-invalid"),
        ({"ticket": "x" * 201}, "ticket-invalid"),
        ({"by": "os:admin"}, "nobody-signed-in"),
        ({"environment_name": "prod", "right": RoleWanted("reporting", RO)}, "target-missing"),
        ({"right": RoleWanted("reporting", RO)}, "not-askable"),
        ({"right": StatementsWanted(("select from where",), Scope.EXACT, RO)}, "syntax-error"),
        ({"right": StatementsWanted(("do $$ begin end $$",), Scope.RELATIONS, RO)}, None),
    ],
)
async def test_what_cannot_be_asked(desk: Desk, more: dict, rule: str | None):
    with pytest.raises(ServiceError) as refusal:
        await desk.ask(**more)
    assert rule in (None, refusal.value.rule)
    assert await desk.events() == []


async def test_a_reason_and_a_ticket_where_the_policy_wants_them(desk: Desk):
    await desk.policy(reason_required=True, ticket_required=True)
    with refused("reason-required"):
        await desk.ask(reason=" ")
    with refused("ticket-required"):
        await desk.ask()


async def test_a_database_role_where_logins_are_managed_and_the_policy_lists_it(desk: Desk):
    await manage(desk, "shop")
    right = RoleWanted("reporting", RO)
    with refused("not-askable"):
        await desk.ask(right)
    await desk.policy(database_roles=frozenset({"reporting"}))
    await desk.given(right=right)
    assert [(each.database_role, each.mode) for each in await desk.grants()] == [("reporting", RO)]


@pytest.mark.parametrize("scope", Scope)
async def test_statements_are_opened_and_nothing_else(desk: Desk, scope: Scope):
    right = StatementsWanted(("UPDATE app.orders SET state = 'paid' WHERE id = 7",), scope, RO)
    request = await desk.ask(right)
    assert request.wanted.mode is RW
    brief = await access_requests.review_of(desk.store, request=1, actor="user:ben", now=desk.clock.now)
    assert [each.kind for each in brief.statements] == ["update"]
    assert "7" not in (await desk.messages("created"))[0].payload.partition('"statements"')[2][:4]
    await desk.decide(request, "ben")
    (grant,) = await desk.grants()
    assert grant.only is not None
    assert bool(grant.only.statements) == (scope is Scope.EXACT)
    assert {(each.command, each.schema, each.table) for each in grant.only.operations} == (
        set() if scope is Scope.EXACT else {("update", "app", "orders")}
    )
    for message in (*await desk.messages("created"), *await desk.messages("approved")):
        assert "paid" not in message.payload


async def test_what_an_approver_looks_at(desk: Desk):
    await desk.relinquish(await desk.given())
    await desk.given(target_name="crm", duration_seconds=2 * HOUR)
    request = await desk.ask(ModeWanted(RW), target_name="crm")
    brief = await access_requests.review_of(desk.store, request=request.number, actor="user:ben", now=desk.clock.now)
    (opened,) = brief.opened
    assert (opened.target, opened.mode, opened.now, opened.is_new) == ("crm", RW, RO, True)
    assert [each.number for each in brief.history] == [2, 1]
    assert (brief.approved_before, brief.denied_before) == (2, 0)
    with refused("request-unknown"):
        await access_requests.review_of(desk.store, request=request.number, actor="user:eve", now=desk.clock.now)


# -- R12: nobody decides about their own -------------------------------------------------------------------------------


async def test_r12_nobody_decides_about_their_own_request(desk: Desk):
    """Ana is an approver, and so is her second account, by the same address in other letters."""
    request = await desk.ask()
    for word in Word:
        for name in ("ana", "ana_second"):
            with refused("self-approval"):
                await desk.decide(request, name, word)
    for_another = await desk.ask(for_user="ben")
    with refused("self-approval"):
        await desk.decide(for_another, "ben")


async def test_r12_nor_by_an_account_that_gets_another_address_first(desk: Desk):
    request = await desk.ask()
    await users.update_user(desk.store, name="ana_second", email="somebody@example.org", **BY)
    await accounts.link_identity(desk.store, name="ana", identity=Identity("https://login.example", "a-1"), **BY)
    with refused("self-approval"):  # ana is still known as she was when she asked
        await users.update_user(desk.store, name="cam", email="ana@example.org", **BY)
        await desk.decide(request, "cam")


async def test_r12_nor_by_a_token(desk: Desk):
    """Not by her own, nor by one of another's that she made, nor by nobody's."""
    request = await desk.ask()
    until = desk.clock.now + timedelta(days=1)
    await admin_roles.change_members(desk.store, name="owners", add=("ana",), remove=(), **BY)
    made = {"scope": TokenScope.ADMIN, "valid_until": until, "reason": ""}
    await tokens.create_token(desk.store, name="anas", actor="user:ana", **made)
    await tokens.create_token(desk.store, name="of-ben", bounds=Bounds("ben"), actor="user:ana", **made)
    await tokens.create_token(desk.store, name="nobodys", actor="os:admin", **made)
    await tokens.create_token(desk.store, name="bens", actor="user:ben", **made)
    for name, rule in (("anas", "self-approval"), ("of-ben", "not-by-this-token"), ("nobodys", "nobody-signed-in")):
        with refused(rule):
            await desk.decide(request, f"token:{name}")
    assert (await desk.decide(request, "token:bens")).state is State.ACTIVE


async def test_r12_nor_by_a_token_with_less_than_its_owner_has(desk: Desk):
    request = await desk.ask()
    cut = Bounds(permissions=frozenset({Permission.READ}))
    until = desk.clock.now + timedelta(days=1)
    await tokens.create_token(
        desk.store, name="cut", bounds=cut, scope=TokenScope.ADMIN, valid_until=until, actor="user:ben", reason=""
    )
    with refused("not-permitted"):
        await desk.decide(request, "token:cut")


async def test_r12_a_role_that_is_gained_after_the_request_does_not_count(desk: Desk):
    request = await desk.ask()
    await groups.add_member(desk.store, group_name="approvers", user_name="max", **BY)
    with refused("not-an-approver"):
        await desk.decide(request, "max")
    assert (await desk.decide(await desk.ask(ModeWanted(RW)), "max")).state is State.ACTIVE


async def test_who_is_no_approver_does_not_even_see_it(desk: Desk):
    request = await desk.ask()
    with refused("request-unknown"):
        await desk.decide(request, "eve")
    with refused("request-unknown"):
        await access_requests.show_request(desk.store, request=1, actor="user:eve", now=desk.clock.now)
    shown = await access_requests.show_request(desk.store, request=1, actor="user:ben", now=desk.clock.now)
    assert (shown.may_decide, shown.approvers) == (True, ("ben", "cam", "dee"))


# -- R13, R14: what is approved is what was asked -----------------------------------------------------------------------


async def test_r13_a_yes_is_to_what_was_looked_at(desk: Desk):
    request = await desk.ask()
    await desk.cancel(request)
    longer = await desk.ask(duration_seconds=8 * HOUR)
    with refused("request-changed"):
        await desk.decide(longer, "ben", fingerprint=request.wanted.fingerprint)
    assert await desk.grants() == ()


async def test_r14_a_yes_to_one_request_opens_nothing_of_another(desk: Desk):
    one, other = await desk.ask(), await desk.ask(target_name="crm")
    with refused("request-changed"):
        await desk.decide(other, "ben", fingerprint=one.wanted.fingerprint)
    await desk.decide(one, "ben")
    snapshot = await desk.store.read()
    assert [grant.target_id for grant in await desk.grants()] == [snapshot.targets["shop"].id]
    with refused("request-not-pending"):
        await desk.decide(one, "cam")
    await desk.relinquish(one)
    with refused("request-not-pending"):
        await desk.decide(one, "cam")


# -- R16: as many as it takes ------------------------------------------------------------------------------------------


async def test_r16_the_same_approver_twice_is_one(desk: Desk):
    await desk.policy(steps=ANY_TWO)
    request = await desk.decide(await desk.ask(), "ben")
    assert request.state is State.PENDING
    with refused("decided-already"):
        await desk.decide(request, "ben")
    assert (await desk.decide(request, "cam")).state is State.ACTIVE


async def test_r16_two_accounts_of_one_approver_are_one(desk: Desk):
    await desk.policy(steps=ANY_TWO)
    request = await desk.decide(await desk.ask(), "ben")
    await users.update_user(desk.store, name="cam", email="BEN@example.org", **BY)
    with refused("decided-already"):
        await desk.decide(request, "cam")


@pytest.mark.parametrize("how", ["group", "deleted", "disabled", "policy"])
async def test_r16_the_yes_of_an_approver_who_is_removed_does_not_count(desk: Desk, how: str):
    await desk.policy(steps=(NamedStep(("user:ben", "group:approvers"), 2),))
    await groups.remove_member(desk.store, group_name="approvers", user_name="ben", **BY)
    request = await desk.decide(await desk.ask(), "ben")
    match how:
        case "group" | "policy":
            await desk.policy(steps=ANY_TWO)
        case "deleted":
            await users.delete_user(desk.store, name="ben", **BY)
        case "disabled":
            await users.disable_user(desk.store, name="ben", **BY)
    assert (await desk.decide(request, "cam")).state is State.PENDING
    assert await desk.grants() == ()
    assert (await desk.decide(request, "dee")).state is State.ACTIVE


async def test_r16_a_step_that_lost_its_approver_is_waited_for_again(desk: Desk):
    await desk.policy(steps=(NamedStep(("user:ben", "user:cam")), NamedStep(("user:dee",))))
    request = await desk.decide(await desk.ask(), "ben")
    assert request.step == 1
    await users.disable_user(desk.store, name="ben", **BY)
    request = await desk.decide(request, "dee")
    assert (request.state, request.step) == (State.PENDING, 0)
    assert (await desk.decide(request, "cam")).state is State.ACTIVE


# -- R17: no chain of rights without end -------------------------------------------------------------------------------


async def test_r17_a_chain_past_the_maximum_is_refused(desk: Desk):
    await desk.given(duration_seconds=5 * HOUR)
    desk.clock.go(hours=4, minutes=30)
    with refused("request-too-long"):
        await desk.ask(duration_seconds=4 * HOUR)
    second = await desk.given(duration_seconds=3 * HOUR)  # 7.5 hours in all
    assert second.state is State.ACTIVE
    desk.clock.go(hours=2, minutes=30)
    await desk.sweep()
    with refused("request-too-long"):  # the first one is over, and is a link of the chain all the same
        await desk.ask(duration_seconds=2 * HOUR)
    desk.clock.go(hours=1)
    assert (await desk.given(duration_seconds=5 * HOUR)).state is State.ACTIVE


async def test_r17_nor_by_asking_for_the_environment_or_by_letting_others_ask(desk: Desk):
    await desk.given(duration_seconds=5 * HOUR)
    with refused("request-too-long"):
        await desk.ask(environment_name="prod", duration_seconds=9 * HOUR)
    desk.clock.go(hours=4)
    with refused("request-too-long"):
        await desk.ask(environment_name="prod", duration_seconds=5 * HOUR)
    with refused("request-too-long"):
        await desk.ask(by="eve", for_user="ana", duration_seconds=5 * HOUR)


async def test_r17_two_that_wait_are_not_both_given(desk: Desk):
    own, others = await desk.ask(duration_seconds=5 * HOUR), await desk.ask(by="eve", for_user="ana", duration_seconds=5 * HOUR)
    await desk.decide(own, "ben")
    desk.clock.go(hours=4)
    with refused("request-too-long"):
        await desk.decide(others, "ben")
    assert (await desk.now(others)).state is State.PENDING


async def test_r17_a_rule_does_not_prolong_what_a_rule_gave(desk: Desk):
    await desk.policy(rules=(AutomaticRule(RuleKind.SHORT_READ, HOUR),))
    first = await desk.ask()
    assert (first.state, first.decisions[0].rule) == (State.ACTIVE, "short-read")
    desk.clock.go(minutes=30)
    assert (await desk.ask()).state is State.PENDING


# -- R18: emergencies --------------------------------------------------------------------------------------------------


async def test_r18_an_emergency_is_told_everywhere_ends_and_is_looked_at(desk: Desk):
    request = await desk.ask(ModeWanted(RW), break_glass=True, duration_seconds=HOUR)
    assert (request.state, request.break_glass, request.awaits_review) == (State.ACTIVE, True, True)
    assert await desk.events() == [("user:ana", "created"), ("user:ana", "break_glass")]
    ids = {name: user.id for name, user in (await desk.store.read()).users.items()}
    told = {each.destination for each in await desk.messages("break_glass")}
    assert told == {"slack:C024BE91L", *(f"person:{ids[name]}" for name in ("ana", "ben", "cam", "dee"))}
    with refused("review-not-due"):
        await desk.review(request, "ben")
    desk.clock.go(minutes=50)
    with refused("request-too-long"):
        await desk.ask(ModeWanted(RW), break_glass=True, duration_seconds=HOUR, reason="once more")
    await desk.sweep()
    desk.clock.go(minutes=10)
    assert await desk.sweep() == (1,)
    assert await desk.grants() == ()
    due = {each.destination for each in await desk.messages("review_due")}
    assert due == {"slack:C024BE91L", *(f"person:{ids[name]}" for name in ("ben", "cam", "dee"))}
    unreviewed = Listing(awaits_review=True)
    assert [each.request.number for each in await _list(desk, "os:admin", unreviewed)] == [1]
    for name in ("ana", "ana_second"):
        with refused("self-approval"):
            await desk.review(request, name)
    reviewed = await desk.review(request, "ben")
    assert reviewed.review is not None
    assert (reviewed.review.name, reviewed.awaits_review) == ("ben", False)
    assert await _list(desk, "os:admin", unreviewed) == []
    with refused("reviewed-already"):
        await desk.review(request, "cam")
    assert (await desk.events())[-1] == ("user:ben", "reviewed")


@pytest.mark.parametrize(
    ("more", "rule"),
    [
        ({"by": "ben"}, "break-glass-not-open"),
        ({"for_user": "eve"}, "break-glass-not-open"),
        ({"reason": ""}, "reason-required"),
        ({"duration_seconds": HOUR + 1}, "request-too-long"),
    ],
)
async def test_r18_an_emergency_is_not_for_everything(desk: Desk, more: dict, rule: str):
    with refused(rule):
        await desk.ask(**{"break_glass": True, "duration_seconds": HOUR, **more})
    assert await desk.grants() == ()


async def test_an_emergency_takes_the_place_of_what_waits(desk: Desk):
    waiting = await desk.ask()
    taken = await desk.ask(break_glass=True, reason="the shop is down")
    assert ((await desk.now(waiting)).state, taken.state) == (State.CANCELLED, State.ACTIVE)


# -- rules -------------------------------------------------------------------------------------------------------------


async def test_again_stands_on_what_people_approved(desk: Desk):
    await desk.policy(rules=(AutomaticRule(RuleKind.AGAIN, 2 * HOUR, 7 * 86_400),))
    assert (await desk.ask()).state is State.PENDING
    request = await desk.decide(await desk.ask(), "ben")
    desk.clock.go(days=1)
    await desk.sweep()
    again = await desk.ask(duration_seconds=2 * HOUR, reason="once more")
    assert (again.state, again.decisions[0].rule) == (State.ACTIVE, "again")
    assert ("system", "approved") in await desk.events()
    await desk.revoke(again)
    assert (await desk.ask()).state is State.PENDING
    assert request.number == 1


async def test_on_call(desk: Desk):
    await desk.policy(rules=(ON_CALL,), on_call="PABC123")
    request = await desk.ask()
    (question,) = await desk.messages("on_call")
    assert question.destination == "on-call:PABC123"
    answer = {"store": desk.store, "request_id": request.id, "actor": "system"}
    assert (await access_requests.approve_on_call(schedule="POTHER", **answer)).state is State.PENDING
    with pytest.raises(NotPermitted):
        await access_requests.approve_on_call(schedule="PABC123", **{**answer, "actor": "user:ana"})
    given = await access_requests.approve_on_call(schedule="PABC123", **answer)
    assert (given.state, given.decisions[0].rule) == (State.ACTIVE, "on-call")
    assert (await desk.events())[-1] == ("system", "approved")
    assert (await access_requests.approve_on_call(schedule="PABC123", **answer)).version == given.version


async def test_on_call_is_not_asked_for_more_than_its_rule_gives_nor_for_others(desk: Desk):
    await desk.policy(rules=(ON_CALL,), on_call="PABC123")
    await desk.ask(duration_seconds=HOUR + 1)
    other = await desk.ask(for_user="eve")
    assert await desk.messages("on_call") == []
    found = await access_requests.approve_on_call(desk.store, request_id=other.id, schedule="PABC123")
    assert found.state is State.PENDING


# -- ends --------------------------------------------------------------------------------------------------------------


async def test_revoked_by_an_admin_or_by_who_approved_it(desk: Desk):
    request = await desk.given()
    with refused("not-permitted"):
        await desk.revoke(request, "cam")
    (grant,) = await desk.grants()
    assert (await desk.revoke(request, "ben", "wrong target")).state is State.REVOKED
    assert (await desk.store.read()).endings[grant.id] == "request 1 was revoked by ben: wrong target"
    second = await desk.given()
    assert (await desk.revoke(second)).state is State.REVOKED


async def test_an_owner_at_the_machine_may_deny_and_revoke_but_not_approve(desk: Desk):
    request = await desk.ask()
    with refused("nobody-signed-in"):
        await desk.decide(request, "os:admin")
    assert (await desk.decide(request, "os:admin", Word.NO, comment="closed")).state is State.DENIED


async def test_revoking_the_grant_revokes_the_request(desk: Desk):
    request = await desk.given()
    (grant,) = await desk.grants()
    with refused("grant-of-request"):
        await grants.update_grant(desk.store, grant_id=grant.id, valid_until=None, **BY)
    await grants.revoke_grants(
        desk.store, holder=grants.UserHolder("ana"), target_name="shop", actor="os:admin", reason="enough"
    )
    assert (await desk.now(request)).state is State.REVOKED
    assert (await desk.store.read()).endings[grant.id] == "request 1 was revoked: enough"


async def test_a_new_account_or_target_under_an_old_name_inherits_nothing(desk: Desk):
    given, waiting = await desk.given(), await desk.ask(target_name="crm")
    await users.delete_user(desk.store, name="ana", **BY)
    assert ((await desk.now(given)).state, (await desk.now(waiting)).state) == (State.REVOKED, State.ERRORED)
    await users.create_user(desk.store, name="ana", password=Secret("of-ana-1234567890"), **BY)
    assert await desk.grants() == ()
    with refused("request-not-pending"):
        await desk.decide(waiting, "ben")
    eves, waits = await desk.given(by="eve"), await desk.ask(ModeWanted(RW), by="eve")
    await targets.delete_target(desk.store, name="shop", **BY)
    assert ((await desk.now(eves)).state, (await desk.now(waits)).state) == (State.REVOKED, State.ERRORED)
    await targets.create_target(desk.store, name="shop", place=Place("db.example", 5432, "shop"), **BY)
    assert await desk.grants("eve") == ()


async def test_an_environment_or_a_policy_that_goes_ends_what_waits(desk: Desk):
    waiting = await desk.ask(environment_name="prod")
    given = await desk.given(target_name="crm")
    await approval_policies.delete_policy(desk.store, name="prod", **BY)
    assert ((await desk.now(waiting)).state, (await desk.now(given)).state) == (State.ERRORED, State.ACTIVE)
    with refused("not-askable"):
        await desk.ask()


async def test_a_target_that_was_moved_is_not_opened_by_its_former_approvers(desk: Desk):
    request = await desk.ask()
    await environments.move_to_environment(desk.store, name="shop", environment="default", **BY)
    found = await desk.decide(request, "ben")
    assert (found.state, await desk.grants()) == (State.ERRORED, ())
    assert len(await desk.messages("errored")) == 2


async def test_the_right_ends_with_the_approvers_right_to_approve(desk: Desk):
    await desk.policy(bound_to_approvers=True)
    request = await desk.given()
    ids = {name: user.id for name, user in (await desk.store.read()).users.items()}
    (grant,) = await desk.grants()
    assert [each.user_id for each in grant.backers] == [ids["ben"]]
    assert await desk.sweep() == ()
    await groups.remove_member(desk.store, group_name="approvers", user_name="ben", **BY)
    assert await desk.sweep() == (1,)
    found = await desk.now(request)
    assert (found.state, found.ended_because) == (State.REVOKED, "ben, who approved it, may not approve any more")
    assert (await desk.events())[-1] == ("system", "revoked")


async def test_only_its_people_take_it_back(desk: Desk):
    request = await desk.ask()
    for name in ("ben", "os:admin"):
        with refused("not-permitted"):
            await desk.cancel(request, name)
    assert (await desk.cancel(request)).state is State.CANCELLED


async def test_a_standing_grant_does_not_take_the_place_of_a_requests(desk: Desk):
    await desk.given()
    await grants.create_grant(desk.store, holder=grants.UserHolder("ana"), target_name="shop", mode=RO, replace_live=True, **BY)
    assert len(await desk.grants()) == 2


# -- looking -----------------------------------------------------------------------------------------------------------


async def _list(desk: Desk, actor: str, listing: Listing):
    return await access_requests.list_requests(desk.store, listing, actor=actor, now=desk.clock.now)


async def test_lists(desk: Desk):
    for number in range(3):
        await desk.relinquish(await desk.given(target_name=("shop", "crm")[number % 2]))
    waiting = await desk.ask()

    async def numbers(actor: str, **listing: object) -> list[int]:
        return [each.request.number for each in await _list(desk, actor, Listing(**listing))]

    assert await numbers("user:ana") == [4, 3, 2, 1]
    assert await numbers("user:eve") == []
    assert await numbers("user:ben", which=WhichRequests.TO_DECIDE) == [4]
    assert await numbers("user:ana", which=WhichRequests.TO_DECIDE) == []
    assert await numbers("user:ben", which=WhichRequests.MINE) == []
    assert await numbers("os:admin", target="crm") == [2]
    assert await numbers("os:admin", states=frozenset({State.PENDING}), user="ana") == [4]
    assert await numbers("os:admin", before=3, limit=1) == [2]
    desk.clock.go(days=2)
    assert await numbers("os:admin", states=frozenset({State.EXPIRED})) == [waiting.number]  # though nobody wrote it down


async def test_admins_of_a_place_see_its_requests(desk: Desk):
    await desk.ask()
    await admin_roles.create_admin_role(desk.store, name="readers", members=("eve",), **BY)
    await admin_roles.grant_permissions(
        desk.store, name="readers", environment="prod", permissions=frozenset({Permission.READ}), **BY
    )
    assert len(await _list(desk, "user:eve", Listing())) == 1
    with refused("not-permitted"):
        await desk.revoke(await desk.ask(), "eve")
