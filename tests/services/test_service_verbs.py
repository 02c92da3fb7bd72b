"""Every operator verb: one audit event, one revision, no secret in it; a refusal leaves no trace."""

import asyncio
import inspect
import itertools
import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib import import_module

import pytest
import trustme

from gateway.access.authorize import authorize
from gateway.access.model import Denial, ListMode, TlsMode
from gateway.access.verifiers import parse_verifier, password_fits
from gateway.access_mode import AccessMode
from gateway.secret import Secret
from gateway.services import allowlist, grants, sessions, targets, users
from gateway.services.allowlist import Everybody, OfTarget, OfUser
from gateway.services.errors import ServiceError
from gateway.services.targets import Permitted, Place
from gateway.store.events import read_events
from gateway.store.migrate import upgrade
from gateway.store.unit_of_work import SqlStore
from gateway.store.vault import SealedVault, ensure_key

BY = {"actor": "os:admin", "reason": "ticket 17"}
CANARY = "upstream-canary-55d0"
PASSWORD = "person-canary-8a41"
PLACE = Place("db.example", 5432, "prod")
RO, RW = AccessMode.READ_ONLY, AccessMode.READ_WRITE


@dataclass(frozen=True)
class World:
    url: str
    store: SqlStore
    vault: SealedVault

    async def events(self):
        return await read_events(self.url)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Made once: each test gets a copy of the files."""
    folder = tmp_path_factory.mktemp("template")
    asyncio.run(fill(opened(folder)))
    return folder


@pytest.fixture
def world(template, tmp_path):
    shutil.copytree(template, tmp_path / "state")
    return opened(tmp_path / "state")


def opened(folder):
    ensure_key(folder / "master.key")
    url = f"sqlite+aiosqlite:///{folder}/store.sqlite3"
    return World(url, SqlStore(url), SealedVault.load(folder / "master.key"))


async def fill(made):
    await upgrade(made.url)
    store = made.store
    for name in ("alice", "bob"):
        await users.create_user(store, name=name, password=Secret(PASSWORD), **BY)
    await users.disable_user(store, name="bob", **BY)
    for name in ("sales", "closed"):
        await targets.create_target(store, name=name, place=PLACE, **BY)
        await set_login(made, name=name, login="app_ro")
    await targets.disable_target(store, name="closed", **BY)
    await targets.permit(store, name="sales", kind=Permitted.FUNCTION, item="shop.f", **BY)
    await grants.create_grant(store, user_name="alice", target_name="sales", mode=RO, **BY)
    await allowlist.create_entry(store, level=Everybody(), network="10.0.0.0/8", **BY)


def set_login(world, **changes):
    asked = {"name": "sales", "mode": RO, "login": "app_ro", "password": Secret(CANARY), **changes}
    return targets.set_login(world.store, world.vault, **asked, **BY)


async def grant_id(world):
    return (await world.store.read()).grants[(await world.store.read()).users["alice"].id][0].id


async def entry_id(world):
    return (await world.store.read()).global_entries[0].id


def moved(place):
    return replace(place, host="elsewhere.example", tls=TlsMode.REQUIRE, allow_md5=True)


# verb -> (the action that the audit names, a call of it that succeeds in `world`)
VERBS = {
    users.create_user: ("user.created", lambda w: users.create_user(w.store, name="carol", **BY)),
    users.set_password: ("user.password_changed", lambda w: users.set_password(w.store, name="alice", **BY)),
    users.disable_user: ("user.disabled", lambda w: users.disable_user(w.store, name="alice", **BY)),
    users.enable_user: ("user.enabled", lambda w: users.enable_user(w.store, name="bob", **BY)),
    users.set_user_expiry: (
        "user.expiry_changed",
        lambda w: users.set_user_expiry(w.store, name="alice", valid_until=datetime.now(UTC) + timedelta(1), **BY),
    ),
    users.delete_user: ("user.deleted", lambda w: users.delete_user(w.store, name="alice", **BY)),
    targets.create_target: ("target.created", lambda w: targets.create_target(w.store, name="new", place=PLACE, **BY)),
    targets.move_target: ("target.changed", lambda w: targets.move_target(w.store, name="sales", change=moved, **BY)),
    targets.set_login: ("target.login_changed", set_login),
    targets.remove_login: ("target.login_removed", lambda w: targets.remove_login(w.store, name="sales", mode=RO, **BY)),
    targets.disable_target: ("target.disabled", lambda w: targets.disable_target(w.store, name="sales", **BY)),
    targets.enable_target: ("target.enabled", lambda w: targets.enable_target(w.store, name="closed", **BY)),
    targets.permit: (
        "target.schema_allowed",
        lambda w: targets.permit(w.store, name="sales", kind=Permitted.SCHEMA, item="shop", **BY),
    ),
    targets.forbid: (
        "target.function_disallowed",
        lambda w: targets.forbid(w.store, name="sales", kind=Permitted.FUNCTION, item="shop.f", **BY),
    ),
    targets.delete_target: ("target.deleted", lambda w: targets.delete_target(w.store, name="sales", **BY)),
    grants.create_grant: (
        "grant.created",
        lambda w: grants.create_grant(w.store, user_name="alice", target_name="sales", mode=RW, **BY),
    ),
    grants.revoke_grants: (
        "grant.revoked",
        lambda w: grants.revoke_grants(w.store, user_name="alice", target_name="sales", **BY),
    ),
    allowlist.create_entry: (
        "allowlist.entry_created",
        lambda w: allowlist.create_entry(w.store, level=OfUser("alice"), network="2001:db8::/32", **BY),
    ),
    allowlist.delete_network: (
        "allowlist.entry_deleted",
        lambda w: allowlist.delete_network(w.store, level=Everybody(), network="10.0.0.0/8", **BY),
    ),
    allowlist.set_list_mode: (
        "allowlist.mode_changed",
        lambda w: allowlist.set_list_mode(w.store, level=OfTarget("sales"), mode=ListMode.RESTRICT, **BY),
    ),
    sessions.terminate_session: (
        "session.terminated",
        lambda w: sessions.terminate_session(w.store, session_id="s-1", **BY),
    ),
}


async def revoke_by_id(world):
    return await grants.revoke_grant(world.store, grant_id=await grant_id(world), **BY)


async def delete_by_id(world):
    return await allowlist.delete_entry(world.store, entry_id=await entry_id(world), **BY)


VERBS |= {
    grants.revoke_grant: ("grant.revoked", revoke_by_id),
    allowlist.delete_entry: ("allowlist.entry_deleted", delete_by_id),
}


def test_no_verb_is_missing_here():
    modules = [import_module(f"gateway.services.{name}") for name in ("users", "targets", "grants", "allowlist", "sessions")]
    public = {
        function
        for module in modules
        for name, function in inspect.getmembers(module, inspect.iscoroutinefunction)
        if not name.startswith("_") and function.__module__ == module.__name__
    }
    assert public == set(VERBS)


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
async def test_a_verb_leaves_exactly_one_event_and_one_revision(world, verb):
    action, call = VERBS[verb]
    before, snapshot = await world.events(), await world.store.read()
    await call(world)
    after = await world.events()
    assert len(after) == len(before) + 1
    assert (await world.store.read()).revision == snapshot.revision + 1
    event = after[-1].event
    assert (event.action, event.actor, event.reason) == (action, "os:admin", "ticket 17")
    assert event.object_id
    assert event.object_name


async def test_no_event_holds_a_secret(world):
    for _, call in VERBS.values():
        try:
            await call(world)
        except (ServiceError, LookupError):
            continue  # an earlier verb took away what this one wants
    snapshot, events = await world.store.read(), await world.events()
    written = repr(events)
    assert len(events) > 15
    for secret in (CANARY, PASSWORD, "SCRAM-SHA-256", "StoredKey"):
        assert secret not in written
    for target in snapshot.targets.values():
        assert not any(role.sealed_secret.hex() in written for role in target.roles.values())


REFUSED = [
    ("user-name-invalid", lambda w: users.create_user(w.store, name="1abc", **BY)),
    ("user-name-invalid", lambda w: users.create_user(w.store, name="аlice", **BY)),  # Cyrillic
    ("user-name-invalid", lambda w: users.create_user(w.store, name="a" * 64, **BY)),
    ("user-name-invalid", lambda w: users.create_user(w.store, name="alice\n", **BY)),
    ("user-exists", lambda w: users.create_user(w.store, name="Alice", **BY)),
    ("password-length", lambda w: users.create_user(w.store, name="carol", password=Secret("short"), **BY)),
    ("password-length", lambda w: users.set_password(w.store, name="alice", password=Secret("x" * 257), **BY)),
    ("password-characters", lambda w: users.set_password(w.store, name="alice", password=Secret("long enough\0"), **BY)),
    ("expiry-in-the-past", lambda w: users.set_user_expiry(w.store, name="alice", valid_until=datetime.now(UTC), **BY)),
    ("user-unknown", lambda w: users.delete_user(w.store, name="alise", **BY)),
    ("user-disabled-already", lambda w: users.disable_user(w.store, name="bob", **BY)),
    ("user-enabled-already", lambda w: users.enable_user(w.store, name="alice", **BY)),
    ("text-invalid", lambda w: users.delete_user(w.store, name="alice", actor="a", reason="two\nlines")),
    ("target-name-invalid", lambda w: targets.create_target(w.store, name="sales:rw", place=PLACE, **BY)),
    ("target-exists", lambda w: targets.create_target(w.store, name="SALES", place=PLACE, **BY)),
    ("nothing-to-change", lambda w: targets.move_target(w.store, name="sales", change=lambda place: place, **BY)),
    ("login-unknown", lambda w: targets.remove_login(w.store, name="sales", mode=RW, **BY)),
    ("name-invalid", lambda w: set_login(w, login="app\0ro")),
    ("upstream-password-invalid", lambda w: set_login(w, password=Secret(""))),
    ("function-name-invalid", lambda w: targets.permit(w.store, name="sales", kind=Permitted.FUNCTION, item="f", **BY)),
    ("function-name-invalid", lambda w: targets.permit(w.store, name="sales", kind=Permitted.FUNCTION, item="*.*", **BY)),
    ("function-allowed-already", lambda w: targets.permit(w.store, name="sales", kind=Permitted.FUNCTION, item="shop.f", **BY)),
    ("function-not-allowed", lambda w: targets.forbid(w.store, name="sales", kind=Permitted.FUNCTION, item="shop.g", **BY)),
    ("schema-name-invalid", lambda w: targets.permit(w.store, name="sales", kind=Permitted.SCHEMA, item="pg_temp", **BY)),
    ("setting-name-invalid", lambda w: targets.permit(w.store, name="sales", kind=Permitted.SETTING, item="role", **BY)),
    ("grant-exists", lambda w: grants.create_grant(w.store, user_name="alice", target_name="sales", mode=RO, **BY)),
    ("target-unknown", lambda w: grants.create_grant(w.store, user_name="alice", target_name="sale", mode=RO, **BY)),
    ("grant-unknown", lambda w: grants.revoke_grant(w.store, grant_id="x", **BY)),
    ("grant-unknown", lambda w: grants.revoke_grants(w.store, user_name="bob", target_name="sales", **BY)),
    ("network-invalid", lambda w: allowlist.create_entry(w.store, level=Everybody(), network="10.0.0.1/8", **BY)),
    ("network-listed", lambda w: allowlist.create_entry(w.store, level=Everybody(), network="10.0.0.0/8", **BY)),
    ("entry-unknown", lambda w: allowlist.delete_network(w.store, level=OfUser("alice"), network="10.0.0.0/8", **BY)),
    ("entry-unknown", lambda w: allowlist.delete_entry(w.store, entry_id="x", **BY)),
    ("list-mode-global", lambda w: allowlist.set_list_mode(w.store, level=Everybody(), mode=ListMode.INHERIT, **BY)),
    ("list-mode-unchanged", lambda w: allowlist.set_list_mode(w.store, level=OfUser("alice"), mode=ListMode.INHERIT, **BY)),
    ("session-id-invalid", lambda w: sessions.terminate_session(w.store, session_id="\x1b[2J", **BY)),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "call"), REFUSED, ids=[f"{n}-{row[0]}" for n, row in enumerate(REFUSED)])
async def test_a_refusal_names_its_rule_and_changes_nothing(world, rule, call):
    before = await world.store.read(), await world.events()
    with pytest.raises(ServiceError) as caught:
        await call(world)
    assert caught.value.rule == rule
    assert (await world.store.read(), await world.events()) == before


@pytest.mark.parametrize(
    "host",
    ["", "h port=1", "h'", "a,b", "/tmp", "host=x", "a\r\nb", "u@host", "-x", "a..b", "fe80::1%eth0", "[::1]", "h:1", "a" * 254],
)  # fmt: skip
async def test_a_host_is_one_typed_field(world, host):
    with pytest.raises(ServiceError):
        await targets.create_target(world.store, name="new", place=replace(PLACE, host=host), **BY)


@pytest.mark.parametrize("host", ["localhost", "db-1.internal", "under_score", "10.0.0.1", "::1", "2001:db8::1", "db.example."])
async def test_usual_hosts_are_taken(world, host):
    await targets.create_target(world.store, name="new", place=replace(PLACE, host=host), **BY)


async def test_a_ca_file_must_hold_a_certificate(world):
    good = trustme.CA().cert_pem.bytes().decode()
    await targets.create_target(world.store, name="new", place=replace(PLACE, ca_pem=good), **BY)
    for wrong in ("", "text", good.replace("MII", "XXX")):
        with pytest.raises(ServiceError, match="certificate"):
            await targets.create_target(world.store, name="other", place=replace(PLACE, ca_pem=wrong), **BY)


async def test_generated_passwords_are_long_different_and_fit(world):
    made = [await users.create_user(world.store, name=f"user{number}", **BY) for number in range(5)]
    assert {len(each.generated.reveal()) for each in made} == {64}
    assert len({each.generated.reveal() for each in made}) == 5
    for each in made:
        assert password_fits(each.generated.reveal(), parse_verifier(each.user.verifier))
    assert len({parse_verifier(each.user.verifier).salt for each in made}) == 5


async def test_an_upstream_password_opens_for_the_role_and_rotates_in_place(world):
    before = (await world.store.read()).targets["sales"]
    await set_login(world, password=Secret("rotated"))
    after = (await world.store.read()).targets["sales"]
    assert after.roles[RO].id == before.roles[RO].id
    assert world.vault.open(after.roles[RO]).reveal() == "rotated"
    assert after.revision == before.revision + 1
    await set_login(world, login="another")
    assert (await world.store.read()).targets["sales"].roles[RO].id != before.roles[RO].id


def authorized(snapshot, **facts):
    from ipaddress import IPv4Address

    asked = {"user_name": "alice", "target_name": "sales", "mode": RO, "address": IPv4Address("10.1.1.1"), **facts}
    return authorize(snapshot, now=datetime.now(UTC), session_id="s-1", **asked)


TAKES_AWAY = [
    users.set_password, users.disable_user, users.delete_user, targets.remove_login, targets.disable_target,
    targets.delete_target, grants.revoke_grant, grants.revoke_grants, allowlist.delete_entry, allowlist.delete_network,
    allowlist.set_list_mode, sessions.terminate_session,
]  # fmt: skip


@pytest.mark.parametrize("verb", TAKES_AWAY, ids=lambda verb: verb.__name__)
async def test_what_takes_a_right_away_denies_the_live_session(world, verb):
    lease = authorized(await world.store.read())
    facts = {"user_id": lease.user.id, "credential_version": lease.user.credential_version}
    await VERBS[verb][1](world)
    assert isinstance(authorized(await world.store.read(), **facts), Denial)


async def test_a_grant_is_replaced_when_asked_or_expired(world):
    soon = datetime.now(UTC) + timedelta(hours=1)
    asked = {"user_name": "alice", "target_name": "sales", "mode": RO, **BY}
    old = await grant_id(world)
    named = await grants.create_grant(world.store, valid_until=soon, replace_live=True, **asked)
    assert named.grant.id != old
    later = SqlStore(world.url, clock=lambda: soon)
    await grants.create_grant(later, **asked)
    assert len((await world.store.read()).grants) == 1


async def test_an_expired_entry_may_be_listed_again(world):
    soon = datetime.now(UTC) + timedelta(hours=1)
    asked = {"level": OfUser("alice"), "network": "192.0.2.0/24", **BY}
    await allowlist.create_entry(world.store, valid_until=soon, **asked)
    await allowlist.create_entry(SqlStore(world.url, clock=lambda: soon), **asked)
    assert len(list(itertools.chain(*(await world.store.read()).user_entries.values()))) == 1
