"""Users as hosted panels have them: the rules for new ones, protected ones, who only reads, and one's own password."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address

import pytest

from gateway.access.authorize import authorize
from gateway.access.model import Denial, Lease, UserKind
from gateway.access.user_rules import UserRules
from gateway.access.verifiers import make_verifier, parse_verifier, password_fits
from gateway.secret import Secret
from gateway.services import grants, users
from gateway.services.errors import ServiceError
from gateway.services.manifest import apply_manifest, export_manifest, parse_manifest
from tests.services.world import ALICE, BY, PASSWORD_CANARY, RO, RW, World, in_days

NEW = make_verifier("what alice chose herself", b"0123456789abcdef")


def authorized(snapshot, mode=RO, **asked):
    facts = {"user_name": "alice", "target_name": "sales", "address": IPv4Address("10.1.1.1"), "session_id": "s-1", **asked}
    return authorize(snapshot, mode=mode, now=datetime.now(UTC), **facts)


async def refused(work) -> tuple[str, str]:
    with pytest.raises(ServiceError) as caught:
        await work
    return caught.value.rule, caught.value.message


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"name": "carol"}, "Name must contain between 6 and 32 characters"),
        ({"name": "carol.jones"}, "Name must start with a letter and contain only A-Z a-z 0-9 _"),
        ({"password": Secret("x" * 23)}, "Password must contain between 24 and 64 characters"),
        ({"password": Secret("x" * 30 + '"')}, "Password must not contain \" or '"),
    ],
)
async def test_the_rules_of_the_settings_hold_for_new_users(world: World, facts, message):
    asked = {"name": "my_user", **facts}
    assert (await refused(users.create_user(world.store, rules=UserRules(), **asked, **BY)))[1] == message
    assert "my_user" not in (await world.read()).users


async def test_who_is_there_already_is_not_held_against_them(world: World):
    """alice and bob are too short for the rules."""
    await users.set_password(world.store, name="alice", rules=UserRules(), **BY)
    await users.update_user(world.store, name="alice", email="alice@example.com", **BY)
    file = parse_manifest({"version": 1, "users": [{"name": "bob", "password": PASSWORD_CANARY, "enabled": True}]})
    await apply_manifest(world.store, world.vault, file, rules=UserRules(), **BY)
    assert (await world.read()).users["bob"].enabled


async def test_a_second_user_of_the_name(world: World):
    assert await refused(users.create_user(world.store, name="Alice", **BY)) == ("user-exists", 'User "alice" already exists')


async def test_a_generated_password_fits(world: World):
    made = await users.create_user(world.store, name="my_user", rules=UserRules(), kind=UserKind.MACHINE, read_only=True, **BY)
    assert made.generated is not None
    assert len(made.generated.reveal()) == 64
    user = (await world.read()).users["my_user"]
    assert password_fits(made.generated.reveal(), parse_verifier(user.verifier))
    assert (user.kind, user.read_only, user.protected, user.email) == (UserKind.MACHINE, True, False, None)


async def test_a_protected_user_stays_and_keeps_its_password(world: World):
    await users.update_user(world.store, name="alice", protected=True, **BY)
    before = await world.read()
    file = parse_manifest({"version": 1, "users": [{"name": "alice", "password": "another long password"}]})
    others = parse_manifest({"version": 1, "users": []})
    for work in (
        users.delete_user(world.store, name="alice", **BY),
        users.set_password(world.store, name="alice", **BY),
        users.set_verifier(world.store, name="alice", verifier=Secret(NEW), **BY),
        own(world, before.users["alice"]),
        apply_manifest(world.store, world.vault, file, **BY),
        apply_manifest(world.store, world.vault, others, prune=True, **BY),
    ):
        rule, message = await refused(work)
        assert rule == "user-protected"
        assert 'User "alice" is protected' in message
    assert await world.read() == before
    await users.disable_user(world.store, name="alice", **BY)  # but it can be locked out
    unprotect = {"name": "alice", "protected": False, "password": "another long password"}
    await apply_manifest(world.store, world.vault, parse_manifest({"version": 1, "users": [unprotect]}), **BY)
    await users.delete_user(world.store, name="alice", **BY)


async def test_who_only_reads_never_writes_whatever_is_granted(world: World):
    await grants.create_grant(world.store, holder=ALICE, target_name="sales", mode=RW, **BY)
    writes = authorized(await world.read(), RW)
    assert isinstance(writes, Lease | Denial)
    await users.update_user(world.store, name="alice", read_only=True, **BY)
    denial = authorized(await world.read(), RW)
    assert isinstance(denial, Denial)
    assert (denial.rule, denial.sqlstate) == ("user-read-only", "42501")
    assert isinstance(authorized(await world.read(), RO), Lease)
    unknown = authorized(await world.read(), RW, target_name="nowhere")
    assert isinstance(unknown, Denial)
    assert unknown.rule == "target-unknown"
    assert ":rw" not in unknown.hint


async def test_what_changed_is_in_the_audit(world: World):
    await users.update_user(world.store, name="alice", read_only=True, email="alice@example.com", **BY)
    event = (await world.events())[-1].event
    assert event.action == "user.changed"
    assert dict(event.detail) == {
        "read_only": True, "read_only_before": False, "email": "alice@example.com", "email_before": None,
    }  # fmt: skip
    assert (await refused(users.update_user(world.store, name="alice", read_only=True, **BY)))[0] == "nothing-to-change"
    assert (await refused(users.update_user(world.store, name="alice", email="nobody", **BY)))[0] == "email-invalid"
    await users.update_user(world.store, name="alice", email="", **BY)
    assert (await world.read()).users["alice"].email is None


def own(world, user, **facts):
    asked = {"user_id": user.id, "credential_version": user.credential_version, "verifier": Secret(NEW), **facts}
    signed = {"actor": f"user:{user.name}", "reason": "in session s-1"}
    return users.set_own_verifier(world.store, **{**asked, **signed, **facts})


async def test_ones_own_password(world: World):
    alice = (await world.read()).users["alice"]
    changed = await own(world, alice)
    assert (changed.verifier, changed.credential_version) == (NEW, alice.credential_version + 1)
    event = (await world.events())[-1].event
    assert (event.actor, event.action, event.object_name) == ("user:alice", "user.password_changed", "alice")
    assert NEW not in repr(event)
    ended = authorized(await world.read(), credential_version=alice.credential_version, user_id=alice.id)
    assert isinstance(ended, Denial)
    assert ended.rule == "password-changed"


async def test_ones_own_password_is_nobody_elses(world: World):
    snapshot = await world.read()
    alice, bob = snapshot.users["alice"], snapshot.users["bob"]
    assert (await refused(own(world, alice, actor="user:bob")))[0] in ("not-permitted", "user-unknown")
    assert (await refused(own(world, alice, user_id=bob.id)))[0] in ("not-permitted", "user-unknown")
    assert (await refused(own(world, bob)))[0] == "not-permitted"  # disabled
    assert (await refused(own(world, alice, user_id="gone")))[0] == "user-unknown"
    assert (await refused(own(world, alice, credential_version=alice.credential_version + 1)))[0] == "password-changed"
    assert (await refused(own(world, alice, verifier=Secret("plain"))))[0] == "verifier-invalid"
    assert (await world.read()) == snapshot


async def test_a_machines_password_is_its_administrators_matter(world: World):
    await users.update_user(world.store, name="alice", kind=UserKind.MACHINE, **BY)
    assert (await refused(own(world, (await world.read()).users["alice"])))[0] == "user-is-machine"


async def test_an_export_holds_all_of_it(world: World):
    await users.update_user(
        world.store, name="alice", kind=UserKind.MACHINE, read_only=True, protected=True, email="etl@example.com", **BY
    )
    exported = export_manifest(await world.read())
    alice = next(user for user in exported["users"] if user["name"] == "alice")
    assert {name: alice[name] for name in ("kind", "read_only", "protected", "email")} == {
        "kind": "machine", "read_only": True, "protected": True, "email": "etl@example.com",
    }  # fmt: skip
    before = await world.read()
    await apply_manifest(world.store, world.vault, parse_manifest(exported), **BY)
    assert await world.read() == before
    plain = {**alice, "kind": "person", "read_only": False, "protected": False, "email": None}
    await apply_manifest(world.store, world.vault, parse_manifest({"version": 1, "users": [plain]}), **BY)
    user = (await world.read()).users["alice"]
    assert replace(user, version=0) == replace(
        before.users["alice"], version=0, kind=UserKind.PERSON, read_only=False, protected=False, email=None
    )


async def test_last_logins_need_no_revision_and_never_move_back(world: World):
    snapshot = await world.read()
    alice = snapshot.users["alice"]
    now = datetime.now(UTC)
    assert await world.store.last_logins() == {}
    await world.store.record_logins({alice.id: now, "somebody who was deleted": now})
    await world.store.record_logins({alice.id: now - timedelta(seconds=5)})
    assert await world.store.last_logins() == {alice.id: now}
    await world.store.record_logins({alice.id: in_days(1)})
    assert (await world.read()).revision == snapshot.revision
    await users.delete_user(world.store, name="alice", **BY)
    assert await world.store.last_logins() == {}
