"""Short-lived credentials and certificate names: who may issue for whom, what is kept, what is refused."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.access.model import DEFAULT_ENVIRONMENT, AdminRole, Permission, TokenScope, UserKind
from gateway.access.verifiers import parse_verifier, password_fits
from gateway.audit.admin_event import AdminEvent
from gateway.services import users
from gateway.services.actor import NotPermitted
from gateway.services.certificates import set_certificate_names
from gateway.services.credentials import find_credential, issue_credential, revoke_credential
from gateway.services.errors import ServiceError
from gateway.services.tokens import create_token
from gateway.settings import Credentials as Rules
from tests.services.world import BY, RW, World, in_days

ALICE = {"actor": "user:alice", "reason": "on call"}


def issue(world: World, *, store=None, **facts):
    return issue_credential(store or world.store, **{"target": "sales", "rules": Rules(), **ALICE, **facts})


async def refusal(call) -> str:
    with pytest.raises(ServiceError) as caught:
        await call
    return caught.value.rule


async def test_a_person_issues_for_themselves(world: World):
    issued = await issue(world)
    credential, password = issued.credential, issued.password.reveal()
    assert re.fullmatch(r"alice~[0-9a-f]{8}", issued.login)
    assert password_fits(password, parse_verifier(credential.verifier))
    assert credential.valid_until - credential.created_at == timedelta(hours=1)
    assert credential.sessions_until == credential.valid_until
    snapshot = await world.read()
    assert snapshot.credentials == {credential.handle: credential}
    assert find_credential(snapshot, issued.login) == find_credential(snapshot, credential.id) == credential
    event = (await world.events())[-1].event
    assert (event.action, event.object_name, event.actor) == ("credential.issued", issued.login, "user:alice")
    assert password.encode() not in b"".join(path.read_bytes() for path in world.folder.iterdir())
    assert password not in repr(issued)


async def test_what_a_person_may_not_reach_is_refused_in_the_words_of_a_login(world: World):
    assert await refusal(issue(world, target="nowhere")) == "target-unknown"
    assert await refusal(issue(world, mode=RW)) == "mode-not-granted"
    await users.disable_user(world.store, name="alice", **BY)
    assert await refusal(issue(world)) == "not-permitted"
    assert await refusal(issue(world, user="alice", **BY)) == "user-disabled"


async def test_owners_issue_for_others_and_nobody_else_does(world: World):
    assert (await issue(world, user="alice", **BY)).login.startswith("alice~")
    assert await refusal(issue(world, user="bob")) == "not-permitted"
    assert await refusal(issue(world, user="nobody")) == "not-permitted"
    assert await refusal(issue(world, **BY)) == "credential-for-nobody"


@pytest.mark.parametrize(
    ("facts", "rule"),
    [
        ({"seconds": 59}, "credential-lifetime"),
        ({"seconds": 12 * 3600 + 1}, "credential-lifetime"),
        ({"max_sessions": 11}, "credential-sessions"),
        ({"network": "10.0.0.1/8"}, "network-invalid"),
        ({"rules": Rules(max_per_user=1)}, "too-many-credentials"),
    ],
)
async def test_bounds(world: World, facts, rule):
    await issue(world)
    assert await refusal(issue(world, **facts)) == rule


async def test_sessions_may_be_let_to_outlive_it(world: World):
    credential = (await issue(world, rules=Rules(sessions_outlive_seconds=600))).credential
    assert credential.sessions_until - credential.valid_until == timedelta(minutes=10)


async def test_a_token_that_was_cut_down_opens_no_databases(world: World):
    """A token of alice's: whole, it issues for her; made for less, it does not."""
    alice = (await world.read()).users["alice"]

    async def by_token(name: str, **cut):
        made = await create_token(world.store, name=name, scope=TokenScope.ADMIN, valid_until=in_days(1), **BY)
        async with world.store.begin() as work:  # as a sign-in of hers leaves it
            work.put(replace(made.token, user_id=alice.id, **cut))
            await work.commit(AdminEvent("os:admin", "token.changed", made.token.id, name, "", {}))
        return await issue(world, actor=f"token:{name}")

    assert (await by_token("whole")).login.startswith("alice~")
    for name, cut in {
        "here": {"environments": frozenset({DEFAULT_ENVIRONMENT})},
        "deploys": {"permissions": frozenset({Permission.DEPLOY})},
        "looks": {"scope": TokenScope.READ},
    }.items():
        with pytest.raises(NotPermitted):
            await by_token(name, **cut)


async def test_tunnel_in_the_environment_is_enough(world: World):
    """A standing right to read is one, as at a login."""
    await users.enable_user(world.store, name="bob", **BY)
    bob = (await world.read()).users["bob"]
    role = AdminRole("r-1", "connects", {DEFAULT_ENVIRONMENT: frozenset({Permission.TUNNEL})}, frozenset({bob.id}))
    async with world.store.begin() as work:
        work.put(role)
        await work.commit(AdminEvent("os:admin", "role.created", role.id, role.name, "", {}))
    assert (await issue(world, actor="user:bob")).login.startswith("bob~")


async def test_revoked_by_its_person_or_an_owner(world: World):
    first, second = await issue(world), await issue(world)
    await users.enable_user(world.store, name="bob", **BY)
    assert (
        await refusal(revoke_credential(world.store, credential=first.login, actor="user:bob", reason=""))
        == "credential-unknown"
    )
    await revoke_credential(world.store, credential=first.login, **ALICE)
    assert await refusal(revoke_credential(world.store, credential=first.login, **ALICE)) == "credential-unknown"
    await revoke_credential(world.store, credential=second.credential.id, **BY)
    assert not (await world.read()).credentials


async def test_one_that_is_long_over_goes_when_the_next_comes(world: World):
    now = datetime.now(UTC)
    await issue(world, store=world.at(now - timedelta(hours=26)))
    await issue(world, store=world.at(now - timedelta(hours=2)))
    last = await issue(world)
    left = (await world.read()).credentials
    assert len(left) == 2
    assert last.credential.handle in left


async def test_what_hangs_on_a_person_or_target_goes_with_it(world: World):
    await issue(world)
    await users.delete_user(world.store, name="alice", **BY)
    assert not (await world.read()).credentials


async def test_certificates_are_for_machines(world: World):
    names = {"cn:etl", "uri:spiffe://prod/etl"}

    def put(name: str = "alice", given=frozenset(names)):
        return set_certificate_names(world.store, name=name, certificate_names=given, **BY)

    assert await refusal(put()) == "certificates-for-machines"
    await users.update_user(world.store, name="alice", kind=UserKind.MACHINE, **BY)
    assert (await put()).certificate_names == names
    assert (await world.read()).users["alice"].certificate_names == names
    assert await refusal(put()) == "nothing-to-change"
    await users.update_user(world.store, name="bob", kind=UserKind.MACHINE, **BY)
    assert await refusal(put("bob")) == "certificate-name-exists"
    for wrong in ("etl", "cn:", "cn: etl", "mail:a@b", "cn:a\nb", "dns:" + "x" * 600):
        assert await refusal(put("bob", {wrong})) == "certificate-name-invalid"
    assert (await put(given=())).certificate_names == frozenset()
