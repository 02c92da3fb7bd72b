"""Environments, admin roles, accounts and claim mappings in a manifest: the rules and the events are those of their verbs."""

from dataclasses import replace
from typing import Any

import pytest
import yaml

from gateway.access.accounts import Identity, Standing
from gateway.access.model import OWNERS, Permission, TokenKind, TokenScope
from gateway.secret import Secret
from gateway.services import accounts, admin_roles, claim_mappings, environments, tokens
from gateway.services.manifest import Plan, apply_manifest, export_manifest, parse_manifest
from gateway.services.sign_in_proofs import is_password
from gateway.services.tokens import Bounds
from tests.services.test_manifest_apply import actions, apply, manifest, preview, refused
from tests.services.world import BY, PASSWORD_CANARY, World, in_days

SIGN_IN = "a password for signing in"
THEIR_NAME = {"issuer": "https://login.example", "subject": "00u1"}
PLACE = {"host": "db.example", "dbname": "x"}


async def held(world: World, role: str) -> dict[str, list[str]]:
    snapshot = await world.read()
    return admin_roles.permissions_by_name(snapshot, snapshot.admin_roles[role])


async def own(world: World, *names: str) -> None:
    await admin_roles.change_members(world.store, name=OWNERS, add=names, **BY)


# --- environments


async def test_an_old_file_means_what_it_meant(world: World) -> None:
    """Without these sections: new targets come into the first environment, and nothing of these kinds is touched."""
    await environments.create_environment(world.store, name="prod", **BY)
    await environments.move_to_environment(world.store, name="sales", environment="prod", **BY)
    await admin_roles.create_admin_role(world.store, name="dba", members=("alice",), **BY)
    before = await world.read()
    data = manifest(targets=[{"name": "new", **PLACE}, {"name": "sales"}, {"name": "closed"}])
    assert (await apply(world, data, prune=True)).not_named == 0
    after = await world.read()
    assert after.targets["new"].environment_id == "default"
    assert after.targets["sales"].environment_id == before.targets["sales"].environment_id
    assert (after.environments, after.admin_roles) == (before.environments, before.admin_roles)


async def test_a_target_comes_into_an_environment_and_moves(world: World) -> None:
    data = manifest(environments=[{"name": "prod"}], targets=[{"name": "new", "environment": "prod", **PLACE}])
    plan = await apply(world, data)
    assert [(change.kind, change.name) for change in plan.changes] == [("environment", "prod"), ("target", "new")]
    assert plan.changes[1].after["environment"] == "prod"
    assert await actions(world, plan) == [("environment.created", "prod"), ("target.created", "new")]
    prod = (await world.read()).environments["prod"].id
    assert (await world.read()).targets["new"].environment_id == prod
    assert (await apply(world, data)).changes == ()
    plan = await apply(world, manifest(targets=[{"name": "sales", "environment": "prod"}]))
    assert [(dict(change.before), dict(change.after)) for change in plan.changes] == [
        ({"environment": "default"}, {"environment": "prod"})
    ]
    assert await actions(world, plan) == [("target.environment_changed", "sales")]


async def test_an_environment_goes_when_it_is_empty_and_with_it_what_roles_held_there(world: World) -> None:
    data = manifest(
        environments=[{"name": "prod"}],
        roles=[{"name": "dba", "permissions": {"prod": ["deploy"], "default": ["read"]}}],
        targets=[{"name": "sales", "environment": "prod"}],
    )
    await apply(world, data)
    version = (await world.read()).admin_roles["dba"].version
    assert (await refused(world, manifest(environments=[]), prune=True)).rule == "environment-in-use"
    plan = await apply(
        world, manifest(environments=[], targets=[{"name": "sales", "environment": "default"}, {"name": "closed"}]), prune=True
    )
    assert ("environment.deleted", "prod") in await actions(world, plan)
    after = await world.read()
    assert set(after.environments) == {"default"}
    assert await held(world, "dba") == {"default": ["read"]}
    assert after.admin_roles["dba"].version > version
    (moved,) = [change for change in plan.changes if change.name == "sales"]
    assert moved.before == {"environment": "prod"}


# --- admin roles


async def test_a_role_has_exactly_what_is_stated(world: World) -> None:
    data = manifest(roles=[{"name": "dba", "members": ["alice"], "permissions": {"default": ["deploy", "tunnel"]}}])
    plan = await apply(world, data)
    assert dict(plan.changes[0].after) == {"members": ["alice"], "permissions": {"default": ["deploy", "tunnel"]}}
    assert await actions(world, plan) == [("admin_role.created", "dba"), ("admin_role.permissions_granted", "dba")]
    assert (await apply(world, data)).changes == ()
    assert (await apply(world, manifest(roles=[{"name": "dba"}]))).changes == ()  # what is left out stays
    plan = await apply(
        world, manifest(roles=[{"name": "dba", "members": ["bob"], "permissions": {"default": ["read", "tunnel"]}}])
    )
    assert [action for action, _ in await actions(world, plan)] == [
        "admin_role.members_changed",
        "admin_role.permissions_granted",
        "admin_role.permissions_revoked",
    ]
    assert await held(world, "dba") == {"default": ["read", "tunnel"]}
    plan = await apply(world, manifest(roles=[]), prune=True)
    assert await actions(world, plan) == [("admin_role.deleted", "dba")]
    assert set((await world.read()).admin_roles) == {OWNERS}


async def test_the_last_owner_stays_in_preview_too(world: World) -> None:
    await own(world, "alice")
    for data, prune in (
        (manifest(roles=[{"name": OWNERS, "members": []}]), False),
        (manifest(roles=[{"name": OWNERS, "members": ["bob"]}]), False),  # who is disabled
        (manifest(users=[{"name": "alice", "enabled": False}]), False),
        (manifest(users=[{"name": "bob"}]), True),
    ):
        assert (await refused(world, data, prune=prune)).rule == "last-owner"
        with pytest.raises(Exception, match="no owner"):
            await preview(world, data, prune=prune)
    await apply(world, manifest(users=[{"name": "bob", "enabled": True}], roles=[{"name": OWNERS, "members": ["bob"]}]))
    assert (await world.read()).admin_roles[OWNERS].members == {(await world.read()).users["bob"].id}


async def test_owners_are_never_pruned_and_hold_nothing_by_name(world: World) -> None:
    await own(world, "alice")
    assert await apply(world, manifest(roles=[]), prune=True) == Plan((await world.read()).revision, (), 0)
    assert (
        await refused(world, manifest(roles=[{"name": OWNERS, "permissions": {"default": ["read"]}}]))
    ).rule == "owners-have-all"
    assert (await apply(world, manifest(roles=[{"name": OWNERS, "permissions": {}}]))).changes == ()


async def test_who_gives_to_themselves_is_audited_as_such(world: World) -> None:
    await own(world, "alice")
    data = parse_manifest(
        manifest(roles=[{"name": "dba", "members": ["alice"]}], grants=[{"user": "alice", "target": "closed"}])
    )
    plan = await apply_manifest(world.store, world.vault, data, actor="user:alice", reason="")
    told = {each.event.action: each.event.detail.get("self") for each in await world.events() if each.revision == plan.revision}
    assert told == {"admin_role.created": True, "grant.created": True}


async def test_nobody_but_owners_may(world: World) -> None:
    await admin_roles.create_admin_role(world.store, name="dba", members=("alice",), **BY)
    every = frozenset(Permission)
    await admin_roles.grant_permissions(world.store, name="dba", environment="default", permissions=every, **BY)
    for section in (
        {"environments": [{"name": "prod"}]},
        {"roles": [{"name": "mine", "members": ["alice"]}]},
        {"roles": [{"name": OWNERS, "members": ["alice"]}]},
        {"accounts": [{"user": "alice", "identity": THEIR_NAME}]},
        {"claim_mappings": [{"value": "x", "role": OWNERS}]},
    ):
        before = await world.read()
        with pytest.raises(Exception, match="may not do this"):
            await apply_manifest(world.store, world.vault, parse_manifest(manifest(**section)), actor="user:alice", reason="")
        assert await world.read() == before


# --- accounts


async def test_a_first_password_is_taken_and_never_replaced(world: World) -> None:
    data = manifest(accounts=[{"user": "alice", "password": SIGN_IN}])
    plan = await apply(world, data)
    (change,) = plan.changes
    assert (change.kind, change.after["password"]) == ("account", "(changed)")
    assert await actions(world, plan) == [("account.created", "alice")]
    alice = (await world.read()).users["alice"].id
    stored = (await world.read()).accounts[alice].password_hash
    assert is_password(stored, Secret(SIGN_IN))
    assert stored is not None
    told = f"{plan} {await world.events()}"
    assert not any(secret in told for secret in (SIGN_IN, stored))
    again = manifest(accounts=[{"user": "alice", "password": "another one for signing in"}])
    assert (await apply(world, again)).changes == ()
    assert (await world.read()).accounts[alice].password_hash == stored


async def test_a_new_user_signs_in_by_the_same_file(world: World) -> None:
    data = manifest(
        users=[{"name": "carol", "password": PASSWORD_CANARY}],
        accounts=[{"user": "carol", "password": SIGN_IN, "identity": THEIR_NAME}],
    )
    plan = await apply(world, data)
    assert await actions(world, plan) == [("user.created", "carol"), ("account.created", "carol"), ("account.linked", "carol")]


async def test_identities_are_linked_changed_and_taken_off(world: World) -> None:
    data = manifest(accounts=[{"user": "alice", "identity": THEIR_NAME, "managed": True}])
    plan = await apply(world, data)
    assert await actions(world, plan) == [("account.linked", "alice")]
    assert (await apply(world, data)).changes == ()
    alice = (await world.read()).users["alice"].id
    token = (
        await tokens.create_token(
            world.store, name="signed-in", scope=TokenScope.ADMIN, valid_until=in_days(1), bounds=Bounds(user="alice"), **BY
        )
    ).token
    await _make_sign_in(world, token.name)
    plan = await apply(world, manifest(accounts=[{"user": "alice", "identity": {**THEIR_NAME, "subject": "00u2"}}]))
    assert await actions(world, plan) == [("account.unlinked", "alice"), ("account.linked", "alice")]
    after = await world.read()
    assert after.accounts[alice].identity == Identity("https://login.example", "00u2")
    assert (after.accounts[alice].managed, after.accounts[alice].standing) == (False, Standing.GOOD)
    assert "signed-in" not in after.tokens  # another identity ends sign-ins
    plan = await apply(world, manifest(accounts=[{"user": "alice", "managed": True}]))
    assert await actions(world, plan) == [("account.managed", "alice")]
    plan = await apply(world, manifest(accounts=[{"user": "alice", "identity": None}]))
    assert await actions(world, plan) == [("account.unlinked", "alice")]
    assert (await world.read()).accounts[alice].managed is False


async def _make_sign_in(world: World, name: str) -> None:
    """As if it had been made by signing in."""
    from gateway.audit.admin_event import AdminEvent

    async with world.store.begin() as work:
        work.put(replace(work.snapshot.tokens[name], kind=TokenKind.SESSION))
        await work.commit(AdminEvent("os:x", "x.y", "z", "z", ""))


async def test_accounts_go_by_pruning_and_their_users_stay(world: World) -> None:
    await accounts.create_account(world.store, name="alice", password=Secret(SIGN_IN), **BY)
    assert (await apply(world, manifest(accounts=[]))).not_named == 1
    plan = await apply(world, manifest(accounts=[]), prune=True)
    assert await actions(world, plan) == [("account.deleted", "alice")]
    assert ((await world.read()).accounts, "alice" in (await world.read()).users) == ({}, True)


async def test_accounts_of_who_goes_are_not_spoken_of_twice(world: World) -> None:
    await accounts.create_account(world.store, name="bob", password=Secret(SIGN_IN), **BY)
    plan = await apply(world, manifest(users=[{"name": "alice"}], accounts=[]), prune=True)
    assert await actions(world, plan) == [("user.deleted", "bob")]


# --- claim mappings


async def test_mappings_come_and_go(world: World) -> None:
    data = manifest(
        roles=[{"name": "dba"}], claim_mappings=[{"value": "theirs", "group": "analysts"}, {"value": "theirs", "role": "dba"}]
    )
    plan = await apply(world, data)
    assert [change.name for change in plan.changes[1:]] == ["theirs to group analysts", "theirs to role dba"]
    assert (await apply(world, data)).changes == ()
    plan = await apply(world, manifest(claim_mappings=[{"value": "theirs", "role": "dba"}]), prune=True)
    assert await actions(world, plan) == [("claim_mapping.deleted", "theirs")]
    plan = await apply(world, manifest(roles=[], claim_mappings=[]), prune=True)
    assert await actions(world, plan) == [("admin_role.deleted", "dba")]  # and with it the mapping
    assert (await world.read()).claim_mappings == ()


async def test_a_deleted_role_takes_its_mappings_along(world: World) -> None:
    await admin_roles.create_admin_role(world.store, name="dba", **BY)
    await claim_mappings.create_mapping(world.store, value="theirs", role="dba", **BY)
    await admin_roles.delete_admin_role(world.store, name="dba", **BY)
    assert (await world.read()).claim_mappings == ()


# --- together


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        ({"environments": [{"name": "a:b"}]}, "environment-name-invalid"),
        ({"environments": [{"name": "Default"}]}, "environment-exists"),
        ({"environments": [{"name": "a"}, {"name": "A"}]}, "manifest-duplicate"),
        ({"targets": [{"name": "sales", "environment": "prod"}]}, "environment-unknown"),
        ({"roles": [{"name": "a b"}]}, "admin-role-name-invalid"),
        ({"roles": [{"name": "Owners"}]}, "admin-role-exists"),
        ({"roles": [{"name": "dba", "members": ["nobody"]}]}, "user-unknown"),
        ({"roles": [{"name": "dba", "permissions": {"prod": ["read"]}}]}, "environment-unknown"),
        ({"accounts": [{"user": "alice"}]}, "password-missing"),
        ({"accounts": [{"user": "nobody", "identity": THEIR_NAME}]}, "user-unknown"),
        ({"accounts": [{"user": "alice", "password": "short"}]}, "password-length"),
        ({"accounts": [{"user": "alice", "password": SIGN_IN, "managed": True}]}, "account-not-linked"),
        ({"accounts": [{"user": name, "identity": THEIR_NAME} for name in ("alice", "bob")]}, "identity-exists"),
        ({"claim_mappings": [{"value": "x", "group": "nobody"}]}, "group-unknown"),
        ({"claim_mappings": [{"value": "x", "role": "nobody"}]}, "admin-role-unknown"),
        ({"claim_mappings": [{"value": "x", "role": OWNERS}] * 2}, "manifest-duplicate"),
    ],
)
async def test_the_rules_are_those_of_the_verbs(world: World, data: dict[str, Any], rule: str) -> None:
    assert (await refused(world, manifest(users=[{"name": "bob", "enabled": True}], **data))).rule == rule


async def test_an_export_has_them_without_any_secret_and_changes_nothing(world: World) -> None:
    await environments.create_environment(world.store, name="prod", **BY)
    await environments.move_to_environment(world.store, name="sales", environment="prod", **BY)
    await own(world, "alice")
    await admin_roles.create_admin_role(world.store, name="dba", members=("bob",), **BY)
    some = frozenset({Permission.READ})
    await admin_roles.grant_permissions(world.store, name="dba", environment="prod", permissions=some, **BY)
    await claim_mappings.create_mapping(world.store, value="theirs", role="dba", **BY)
    await accounts.create_account(world.store, name="alice", password=Secret(SIGN_IN), **BY)
    await accounts.link_identity(world.store, name="bob", identity=Identity(**THEIR_NAME), managed=True, **BY)
    snapshot = await world.read()
    exported = export_manifest(snapshot)
    assert exported["environments"] == [{"name": "default"}, {"name": "prod"}]
    assert exported["accounts"] == [
        {"user": "alice", "identity": None, "managed": False},
        {"user": "bob", "identity": THEIR_NAME, "managed": True},
    ]
    text = yaml.safe_dump(exported)
    assert not any(word in text for word in ("argon2", "hash", "password", SIGN_IN, "secret"))
    assert await apply(world, yaml.safe_load(text), prune=True) == Plan(snapshot.revision, (), 0)
    assert await world.read() == snapshot
