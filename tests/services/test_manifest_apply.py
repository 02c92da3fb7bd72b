"""Applying a manifest: the same rules and events as the verbs, whole or not at all, and doing it again does nothing."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.access.model import Permission, TlsMode
from gateway.access.verifiers import make_verifier, parse_verifier, password_fits
from gateway.access_mode import AccessMode, GrantOption
from gateway.secret import Secret
from gateway.services import targets, users
from gateway.services.errors import ServiceError
from gateway.services.manifest import (
    Action,
    Plan,
    apply_manifest,
    export_manifest,
    parse_manifest,
    preview_manifest,
    resolve_secrets,
)
from tests.services.world import BY, PASSWORD_CANARY, RO, RW, UPSTREAM_CANARY, World, in_days, opened

CONFIGS = Path(__file__).parents[2] / "configs"
PASSWORD = "a password to log in"
LATER = datetime(2095, 1, 1, tzinfo=UTC)

Data = dict[str, Any]


def manifest(**sections: Any) -> Data:
    return {"version": 1, **deepcopy(sections)}


async def apply(world: World, data: Mapping[str, Any], **options: Any) -> Plan:
    return await apply_manifest(world.store, world.vault, parse_manifest(data), **options, **BY)


async def preview(world: World, data: Mapping[str, Any], **options: Any) -> Plan:
    snapshot = await world.read()
    return await preview_manifest(snapshot, world.vault, parse_manifest(data), now=datetime.now(UTC), **options)


async def refused(world: World, data: Mapping[str, Any], **options: Any) -> ServiceError:
    """The refusal, and that it left no trace."""
    snapshot, events = await world.read(), await world.events()
    with pytest.raises(ServiceError) as raised:
        await apply(world, data, **options)
    assert await world.read() == snapshot
    assert await world.events() == events
    return raised.value


async def actions(world: World, plan: Plan) -> list[tuple[str, str]]:
    return [(each.event.action, each.event.object_name) for each in await world.events() if each.revision == plan.revision]


# --- one by one


async def test_a_user_is_made_and_can_log_in(world: World) -> None:
    until = in_days(3)
    carol = {"name": "carol", "password": PASSWORD, "valid_until": until, "enabled": False, "allowlist": "restrict"}
    plan = await apply(world, manifest(users=[carol]))
    user = (await world.read()).users["carol"]
    assert password_fits(PASSWORD, parse_verifier(user.verifier))
    assert (user.valid_until, user.enabled, user.allowlist.value) == (until, False, "restrict")
    (change,) = plan.changes
    assert (change.kind, change.action, change.name, change.before) == ("user", "create", "carol", {})
    assert change.after["password"] == "(changed)"
    assert await actions(world, plan) == [
        ("user.created", "carol"),
        ("user.disabled", "carol"),
        ("allowlist.mode_changed", "carol"),
    ]


async def test_a_password_that_is_right_is_no_change_and_another_ends_sessions(world: World) -> None:
    before = (await world.read()).users["alice"]
    assert (await apply(world, manifest(users=[{"name": "alice", "password": PASSWORD_CANARY}]))).changes == ()
    assert (await apply(world, manifest(users=[{"name": "alice"}]))).changes == ()
    (change,) = (await apply(world, manifest(users=[{"name": "alice", "password": PASSWORD}]))).changes
    assert (change.before, change.after) == ({"password": "(secret)"}, {"password": "(changed)"})
    assert (await world.read()).users["alice"].credential_version == before.credential_version + 1


async def test_a_verifier_is_taken_as_it_is(world: World) -> None:
    verifier = make_verifier(PASSWORD, bytes(16))
    data = manifest(users=[{"name": "alice", "verifier": verifier}, {"name": "carol", "verifier": verifier}])
    assert len((await apply(world, data)).changes) == 2
    assert {(await world.read()).users[name].verifier for name in ("alice", "carol")} == {verifier}
    assert (await apply(world, data)).changes == ()


async def test_left_out_fields_stay_and_stated_ones_are_made_so(world: World) -> None:
    await users.set_user_expiry(world.store, name="bob", valid_until=in_days(1), **BY)
    await apply(world, manifest(users=[{"name": "bob"}]))
    bob = (await world.read()).users["bob"]
    assert not bob.enabled  # the default would have let him in again
    plan = await apply(world, manifest(users=[{"name": "bob", "enabled": True, "valid_until": None}]))
    assert (await world.read()).users["bob"].valid_until is None
    assert await actions(world, plan) == [("user.enabled", "bob"), ("user.expiry_changed", "bob")]


async def test_members_are_exactly_those_who_are_named(world: World) -> None:
    data = manifest(
        users=[{"name": "carol", "password": PASSWORD}],
        groups=[{"name": "analysts", "members": ["alice", "carol"]}, {"name": "new", "members": ["bob", "carol"]}],
    )
    plan = await apply(world, data)
    assert [(c.name, dict(c.before), dict(c.after)) for c in plan.changes[1:]] == [
        ("analysts", {"members": ["bob"]}, {"members": ["alice", "carol"]}),
        ("new", {}, {"members": ["bob", "carol"]}),
    ]
    assert await actions(world, plan) == [
        ("user.created", "carol"),
        ("group.member_added", "analysts"),
        ("group.member_added", "analysts"),
        ("group.member_removed", "analysts"),
        ("group.created", "new"),
    ]
    assert (await apply(world, manifest(groups=[{"name": "analysts"}]))).changes == ()


TARGET = {
    "name": "new",
    "host": "10.0.0.5",
    "dbname": "x",
    "tls": "require",
    "max_sessions": 3,
    "open_ahead": 2,
    "rotate_every_days": 30,
    "enabled": False,
    "logins": {"read_only": {"login": "r", "password": UPSTREAM_CANARY}},
    "allowed_functions": ["a.b"],
    "allowed_schemas": ["public", "a"],
    "allowed_settings": ["a.b"],
}


async def test_a_target_is_made_with_all_that_belongs_to_it(world: World) -> None:
    plan = await apply(world, manifest(targets=[TARGET]))
    target = (await world.read()).targets["new"]
    assert (target.open_ahead, target.rotate_every_days) == (2, 30)
    assert (target.host, target.port, target.tls, target.max_sessions, target.enabled) == (
        "10.0.0.5",
        5432,
        "require",
        3,
        False,
    )
    assert world.vault.open(target.roles[RO]).reveal() == UPSTREAM_CANARY
    assert (target.allowed_functions, target.allowed_settings) == ({"a.b"}, {"a.b"})
    assert target.allowed_schemas == {"public", "a"}
    assert [action for action, _ in await actions(world, plan)] == [
        "target.created",
        "target.login_changed",
        "target.disabled",
        "target.max_sessions_changed",
        "target.open_ahead_changed",
        "target.rotate_every_changed",
        "target.function_allowed",
        "target.schema_allowed",
        "target.setting_allowed",
    ]
    assert UPSTREAM_CANARY not in f"{plan} {await world.events()}"
    assert (await apply(world, manifest(targets=[TARGET]), prune=True)).not_named == 2


async def test_an_upstream_password_that_is_right_is_no_change(world: World) -> None:
    def login(password: str, role: str = "app_ro") -> Data:
        return manifest(targets=[{"name": "sales", "logins": {"read_only": {"login": role, "password": password}}}])

    before = (await world.read()).targets["sales"]
    assert (await apply(world, login(UPSTREAM_CANARY))).changes == ()
    (change,) = (await apply(world, login("another one"))).changes
    assert dict(change.after) == {"logins.read_only.password": "(changed)"}
    after = (await world.read()).targets["sales"]
    assert after.roles[RO].id == before.roles[RO].id  # live sessions stay
    assert world.vault.open(after.roles[RO]).reveal() == "another one"
    (change,) = (await apply(world, login("another one", "other"))).changes
    assert dict(change.before) == {"logins.read_only": "app_ro", "logins.read_only.password": "(secret)"}
    assert (await world.read()).targets["sales"].roles[RO].id != before.roles[RO].id


async def test_a_login_that_cannot_be_opened_is_set_again(world: World) -> None:
    snapshot = await world.read()
    async with world.store.begin() as work:
        sales = snapshot.targets["sales"]
        broken = replace(sales, roles={RO: replace(sales.roles[RO], sealed_secret=b"\x01broken")})
        work.put(broken)
        from gateway.audit.admin_event import AdminEvent

        await work.commit(AdminEvent("os:x", "x.y", "z", "z", ""))
    data = manifest(targets=[{"name": "sales", "logins": {"read_only": {"login": "app_ro", "password": UPSTREAM_CANARY}}}])
    assert len((await apply(world, data)).changes) == 1
    assert (await apply(world, data)).changes == ()


async def test_logins_go_by_access_mode(world: World) -> None:
    rw = {"login": "app_rw", "password": UPSTREAM_CANARY}
    plan = await apply(world, manifest(targets=[{"name": "sales", "logins": {"read_write": rw}}]))
    assert set((await world.read()).targets["sales"].roles) == {RO, RW}
    plan = await apply(world, manifest(targets=[{"name": "sales", "logins": {"read_write": None}}]))
    assert set((await world.read()).targets["sales"].roles) == {RO}
    assert await actions(world, plan) == [("target.login_removed", "sales")]


async def test_sealed_passwords_do_not_move_to_another_host(world: World) -> None:
    """Whoever can write a file could otherwise have them sent to a server of their own."""
    moved = {"name": "sales", "host": "evil.example"}
    assert (await refused(world, manifest(targets=[moved]))).rule == "logins-would-move"
    assert (await refused(world, manifest(targets=[{**moved, "logins": {"read_only": {"login": "app_ro"}}}]))).rule == (
        "logins-would-move"
    )
    given = {"read_only": {"login": "app_ro", "password": UPSTREAM_CANARY}}
    await apply(world, manifest(targets=[{**moved, "logins": given}]))
    assert (await world.read()).targets["sales"].host == "evil.example"
    weaker = {"name": "sales", "tls": "require"}
    assert (await refused(world, manifest(targets=[weaker]))).rule == "logins-would-weaken"
    assert (await refused(world, manifest(targets=[{"name": "sales", "allow_md5": True}]))).rule == "logins-would-weaken"
    await apply(world, manifest(targets=[{**weaker, "logins": given}]))
    assert (await world.read()).targets["sales"].tls is TlsMode.REQUIRE
    await apply(world, manifest(targets=[{"name": "sales", "host": "db.example", "logins": {"read_only": None}}]))
    assert (await world.read()).targets["sales"].roles == {}


async def test_grants_and_entries_change_in_place(world: World) -> None:
    before = await world.read()
    data = manifest(
        grants=[{"user": "alice", "target": "sales", "mode": "read_only", "valid_until": LATER}],
        allowlist=[{"network": "10.0.0.0/8", "label": "office"}, {"network": "10.0.0.0/8", "user": "alice"}],
    )
    plan = await apply(world, data)
    assert await actions(world, plan) == [
        ("grant.changed", "alice on sales"),
        ("allowlist.entry_changed", "10.0.0.0/8"),
        ("allowlist.entry_created", "10.0.0.0/8"),
    ]
    after = await world.read()
    alice = after.users["alice"].id
    assert [(g.id, g.valid_until) for g in after.grants[alice]] == [(before.grants[alice][0].id, LATER)]
    assert [(e.id, e.label) for e in after.global_entries] == [(before.global_entries[0].id, "office")]
    assert (await apply(world, data)).changes == ()


async def test_what_a_grant_carries_changes_in_place_and_shows_in_the_differences(world: World) -> None:
    grant = {"user": "alice", "target": "sales", "mode": "read_write"}
    data = manifest(grants=[{**grant, "options": ["unfiltered-writes", "no-ddl"], "max_changed_rows": 1000}])
    (made,) = (await apply(world, data)).changes
    assert made.after == {"valid_until": None, "options": ["no-ddl", "unfiltered-writes"], "max_changed_rows": 1000}
    assert (await apply(world, data)).changes == ()
    assert (await apply(world, manifest(grants=[grant]))).changes == ()  # what is left out stays
    plan = await apply(world, manifest(grants=[{**grant, "options": ["no-ddl"]}]))
    (change,) = plan.changes
    assert (change.action, change.name) == (Action.CHANGE, "alice on sales, read_write")
    assert (change.before, change.after) == ({"options": ["no-ddl", "unfiltered-writes"]}, {"options": ["no-ddl"]})
    (event,) = [each.event for each in await world.events() if each.revision == plan.revision]
    assert event.action == "grant.changed"
    assert event.detail == {
        "user": "alice",
        "target": "sales",
        "mode": "read_write",
        "valid_until": None,
        "options": ("no-ddl",),
        "max_changed_rows": 1000,
        "before_valid_until": None,
        "before_options": ("no-ddl", "unfiltered-writes"),
        "before_max_changed_rows": 1000,
    }
    (change,) = (await apply(world, manifest(grants=[{**grant, "options": [], "max_changed_rows": None}]))).changes
    assert change.after == {"options": [], "max_changed_rows": None}
    (_, held) = (await world.read()).grants[(await world.read()).users["alice"].id]
    assert (held.options, held.max_changed_rows) == (frozenset(), None)


async def test_an_expired_grant_gives_way_to_a_new_one(world: World) -> None:
    grant = {"user": "alice", "target": "sales", "mode": "read_write"}
    await apply(world, manifest(grants=[{**grant, "valid_until": in_days(0.5)}]))
    old = next(g for g in (await world.read()).grants[(await world.read()).users["alice"].id] if g.mode is RW)
    later = replace(world, store=world.at(in_days(1)))
    same = manifest(grants=[{**grant, "valid_until": old.valid_until}])
    assert (await apply(later, same)).changes == ()  # over, and just that is stated
    assert (await refused(later, manifest(grants=[{**grant, "valid_until": in_days(0.7)}]))).rule == "expiry-in-the-past"
    plan = await apply(later, manifest(grants=[grant]))
    assert await actions(world, plan) == [("grant.created", "alice on sales")]
    new = next(g for g in (await world.read()).grants[old.holder_id] if g.mode is RW)
    assert (new.id != old.id, new.valid_until) == (True, None)


async def test_an_expired_entry_gives_way_to_a_new_one(world: World) -> None:
    entry = {"network": "192.0.2.7", "label": "laptop"}
    await apply(world, manifest(allowlist=[{**entry, "valid_until": in_days(0.5)}]))
    assert (await apply(world, manifest(allowlist=[entry]))).changes == ()  # a live one keeps its end
    later = replace(world, store=world.at(in_days(1)))
    plan = await apply(later, manifest(allowlist=[entry]))
    assert await actions(world, plan) == [("allowlist.entry_created", "192.0.2.7/32")]
    assert [e.valid_until for e in (await world.read()).global_entries if e.label] == [None]


async def test_pruning_only_reaches_kinds_that_have_a_section(world: World) -> None:
    keep_alice = manifest(users=[{"name": "alice"}])
    assert (await apply(world, keep_alice)).not_named == 1
    version = (await world.read()).groups["analysts"].version
    plan = await apply(world, keep_alice, prune=True)
    assert await actions(world, plan) == [("user.deleted", "bob")]
    after = await world.read()
    assert set(after.users) == {"alice"}
    assert set(after.targets) == {"sales", "closed"}
    assert after.global_entries
    analysts = after.groups["analysts"]
    assert (analysts.members, analysts.version > version) == (frozenset(), True)
    assert after.grants[analysts.id]


async def test_pruning_everything_lists_what_hangs_on_it_once(world: World) -> None:
    plan = await apply(world, manifest(users=[], groups=[], targets=[], grants=[], allowlist=[]), prune=True)
    assert [(c.kind.value, c.action, c.name) for c in plan.changes] == [
        ("user", Action.REMOVE, "alice"),
        ("user", Action.REMOVE, "bob"),
        ("group", Action.REMOVE, "analysts"),
        ("target", Action.REMOVE, "closed"),
        ("target", Action.REMOVE, "sales"),
        ("allowlist", Action.REMOVE, "10.0.0.0/8 (global)"),
    ]
    after = await world.read()
    assert [after.users, after.groups, after.targets, after.grants, after.global_entries] == [{}, {}, {}, {}, ()]
    assert len(after.tokens) == 2  # no kind of object in a file


async def test_a_pruned_name_can_be_taken_in_the_same_file(world: World) -> None:
    data = manifest(users=[{"name": "Alice", "password": PASSWORD}])
    assert (await refused(world, data)).rule == "user-exists"
    await apply(world, data, prune=True)
    assert set((await world.read()).users) == {"Alice"}


async def test_who_looked_at_another_revision_is_refused(world: World) -> None:
    data = manifest(users=[{"name": "alice", "enabled": False}])
    seen = (await preview(world, data)).revision
    await users.enable_user(world.store, name="bob", **BY)
    assert (await refused(world, data, expected_revision=seen)).rule == "changed-meanwhile"
    with pytest.raises(ServiceError):
        await preview(world, data, expected_revision=seen)
    await apply(world, data, expected_revision=(await preview(world, data)).revision)
    assert not (await world.read()).users["alice"].enabled


async def test_of_two_at_once_nothing_is_lost(world: World) -> None:
    def data(name: str) -> Data:
        return manifest(users=[{"name": name, "password": PASSWORD}])

    revision = (await world.read()).revision
    results = await asyncio.gather(
        *(apply(world, data(f"new{n}"), expected_revision=revision) for n in range(4)), return_exceptions=True
    )
    done = [each for each in results if isinstance(each, Plan)]
    assert len(done) == 1
    assert len((await world.read()).users) == 3


@pytest.mark.parametrize(
    ("data", "rule", "said"),
    [
        ({"users": [{"name": "carol"}]}, "password-missing", 'user "carol": a new user needs a password'),
        ({"users": [{"name": "carol", "password": "short"}]}, "password-invalid", 'user "carol"'),
        ({"users": [{"name": "alice", "verifier": "md5abc"}]}, "verifier-invalid", 'user "alice"'),
        ({"users": [{"name": "4", "password": PASSWORD}]}, "user-name-invalid", ""),
        ({"users": [{"name": "ALICE", "password": PASSWORD}]}, "user-exists", ""),
        ({"users": [{"name": "alice"}, {"name": "Alice"}]}, "manifest-duplicate", "Alice"),
        ({"users": [{"name": "alice", "valid_until": "2001-01-01"}]}, "expiry-in-the-past", ""),
        ({"groups": [{"name": "g", "members": ["alicia"]}]}, "user-unknown", 'group "g"'),
        ({"groups": [{"name": "g:h"}]}, "group-name-invalid", ""),
        ({"targets": [{"name": "new"}]}, "place-missing", ""),
        ({"targets": [{"name": "new", "host": "a b", "dbname": "x"}]}, "host-invalid", ""),
        ({"targets": [{"name": "sales", "ca_pem": "none"}]}, "ca-invalid", ""),
        ({"targets": [{"name": "sales", "allowed_functions": ["f"]}]}, "function-name-invalid", ""),
        ({"targets": [{"name": "sales", "logins": {"read_write": {"login": "x"}}}]}, "password-missing", "login x"),
        ({"targets": [{"name": "sales", "logins": {"read_only": {"login": "x"}}}]}, "password-missing", "login x"),
        ({"grants": [{"user": "alise", "target": "sales"}]}, "user-unknown", ""),
        ({"grants": [{"group": "alice", "target": "sales"}]}, "group-unknown", ""),
        ({"grants": [{"user": "alice", "target": "sale"}]}, "target-unknown", ""),
        ({"grants": [{"user": "alice", "target": "sales"}] * 2}, "manifest-duplicate", ""),
        ({"grants": [{"user": "bob", "target": "sales", "valid_until": "2001-01-01"}]}, "expiry-in-the-past", ""),
        (
            {"grants": [{"user": "bob", "target": "sales", "options": ["no-ddl"]}]},
            "option-not-for-mode",
            "grant of bob on sales",
        ),
        ({"grants": [{"user": "alice", "target": "sales", "max_changed_rows": 5}]}, "option-not-for-mode", "a ceiling"),
        ({"allowlist": [{"network": "10.0.0.1/8"}]}, "network-invalid", "did you mean"),
        ({"allowlist": [{"network": "10.0.0.1", "user": "nobody"}]}, "user-unknown", ""),
        ({"allowlist": [{"network": "10.0.0.1"}, {"network": "10.0.0.1/32"}]}, "manifest-duplicate", ""),
        ({"allowlist": [{"network": "10.0.0.1", "label": "a\nb"}]}, "text-invalid", ""),
    ],
)
async def test_the_rules_are_those_of_the_verbs(world: World, data: Data, rule: str, said: str) -> None:
    """With something before it that would succeed, of which nothing stays."""
    first = {"users": [], **data}
    first["users"] = [*first["users"], {"name": "zoe", "password": PASSWORD}, {"name": "bob", "enabled": True}]
    error = await refused(world, manifest(**first))
    assert error.rule == rule
    assert said in error.message


async def test_a_grant_for_who_is_pruned_is_refused(world: World) -> None:
    data = manifest(users=[{"name": "alice"}], grants=[{"user": "bob", "target": "sales"}])
    assert (await refused(world, data, prune=True)).rule == "user-unknown"


async def test_actor_and_reason_are_checked_and_written(world: World) -> None:
    data = parse_manifest(manifest(users=[{"name": "alice", "enabled": False}]))
    with pytest.raises(ServiceError):
        await apply_manifest(world.store, world.vault, data, actor="os:ana", reason="two\nlines")
    await apply_manifest(world.store, world.vault, data, actor="os:ci", reason="as reviewed")
    last = (await world.events())[-1].event
    assert (last.actor, last.reason, last.action) == ("os:ci", "as reviewed", "user.disabled")


# --- the example and the export


async def test_the_example_applies(world: World) -> None:
    data = yaml.safe_load((CONFIGS / "manifest.example.yaml").read_text())
    files = {"app_ro.password": "the role's password\n"}
    env = {"ANA_PASSWORD": PASSWORD, "SHOP_RW_PASSWORD": UPSTREAM_CANARY, "ANA_SIGN_IN": PASSWORD}
    resolved = resolve_secrets(data, read_env=env.get, read_file=files.__getitem__)
    plan = await apply(world, resolved, prune=True)
    assert len(plan.changes) > 10
    assert (await apply(world, resolved, prune=True)).changes == ()
    after = await world.read()
    assert (set(after.users), set(after.groups), set(after.targets)) == ({"ana_diaz", "ben_okoro"}, {"analysts"}, {"shop"})
    assert password_fits("correct horse battery", parse_verifier(after.users["ben_okoro"].verifier))
    assert world.vault.open(after.targets["shop"].roles[RO]).reveal() == "the role's password"


async def test_an_export_holds_no_secret_and_changes_nothing(world: World) -> None:
    await targets.set_max_sessions(world.store, name="sales", max_sessions=7, **BY)
    snapshot = await world.read()
    text = yaml.safe_dump(export_manifest(snapshot), sort_keys=False)
    for secret in (PASSWORD_CANARY, UPSTREAM_CANARY, "SCRAM", "verifier", "password"):
        assert secret not in text
    again = resolve_secrets(yaml.safe_load(text), read_env={}.get, read_file=str)
    assert (await apply(world, again, prune=True)) == Plan(snapshot.revision, (), 0)
    assert await world.read() == snapshot


# --- properties

NAMES = ("ann", "ben", "cid", "dan")
instants = st.none() | st.datetimes(datetime(2090, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
modes = st.sampled_from([mode.value for mode in AccessMode])
lists = st.sampled_from(["inherit", "restrict"])
passwords = st.sampled_from([f"password number {n}" for n in range(3)])
networks = st.sampled_from(["10.0.0.0/8", "192.0.2.7", "192.0.2.7/32", "2001:db8::/32"])


def part(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Data]:
    return st.fixed_dictionaries(fields)


def named(names: tuple[str, ...], fields: st.SearchStrategy[Data]) -> st.SearchStrategy[list[Data]]:
    chosen = st.dictionaries(st.sampled_from(names), fields, max_size=len(names))
    return chosen.map(lambda found: [{"name": name, **each} for name, each in found.items()])


def subset(items: tuple[str, ...]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(items), unique=True) if items else st.just([])


@st.composite
def whole_manifests(draw: st.DrawFn) -> Data:
    """All sections, every field stated, with a password wherever one can stand."""
    user = part(password=passwords, enabled=st.booleans(), valid_until=instants, allowlist=lists)
    people = draw(named(NAMES, user))
    user_names = tuple(each["name"] for each in people)
    groups = draw(named(("one", "two"), part(members=subset(user_names))))
    places = ("default", *draw(subset(("blue", "green"))))
    login = st.none() | part(login=st.sampled_from(["app", "other"]), password=passwords)
    target = part(
        environment=st.sampled_from(places),
        host=st.sampled_from(["db.example", "192.0.2.1"]),
        port=st.integers(1, 65535),
        dbname=st.sampled_from(["x", "é"]),
        tls=st.sampled_from(["disable", "verify-full"]),
        ca_pem=st.none(),
        allow_md5=st.booleans(),
        enabled=st.booleans(),
        max_sessions=st.none() | st.integers(1, 100),
        open_ahead=st.integers(0, 20),
        rotate_every_days=st.none() | st.integers(1, 400),
        allowlist=lists,
        logins=part(read_only=login, read_write=login),
        allowed_functions=subset(("a.b", "a.*")),
        allowed_schemas=subset(("public", "a")),
        allowed_settings=subset(("a.b",)),
    )
    target_names = ("east", "west")
    databases = draw(named(target_names, target))
    target_names = tuple(each["name"] for each in databases)
    carried = {
        "read_only": part(options=subset(("temporary-tables",)), max_changed_rows=st.none()),
        "read_write": part(options=subset(tuple(GrantOption)), max_changed_rows=st.none() | st.integers(1, 3)),
    }
    holders = [("user", name) for name in user_names] + [("group", each["name"]) for each in groups]
    rights = [
        {kind: name, "target": target, "mode": mode, "valid_until": draw(instants), **draw(carried[mode])}
        for kind, name in holders
        for target in target_names
        for mode in ("read_only", "read_write")
        if draw(st.booleans())
    ]
    owners = [{}, *({"user": name} for name in user_names), *({"target": name} for name in target_names)]
    entries = [
        {"network": network, **owner, "label": draw(st.sampled_from(["", "somewhere"])), "valid_until": draw(instants)}
        for owner in owners
        for network in draw(st.lists(networks, unique_by=lambda text: text.removesuffix("/32"), max_size=2))
    ]
    held = st.dictionaries(st.sampled_from(places), subset(tuple(Permission)))
    roles = draw(named(("dba", "ops"), part(members=subset(user_names), permissions=held)))
    accounts = [
        {"user": name, "identity": {"issuer": "https://login.example", "subject": name}, "managed": draw(st.booleans())}
        for name in draw(subset(user_names))
    ]
    objects = [{"group": each["name"]} for each in groups] + [{"role": each["name"]} for each in roles]
    return manifest(
        environments=[{"name": name} for name in places],
        users=people,
        groups=groups,
        roles=roles,
        accounts=accounts,
        targets=databases,
        grants=rights,
        allowlist=entries,
        claim_mappings=[{"value": "theirs", **each} for each in objects if draw(st.booleans())],
    )


@contextmanager
def empty_world(template: Path) -> Iterator[World]:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(template, Path(folder) / "state")
        yield opened(Path(folder) / "state")


@pytest.fixture(scope="module")
def nothing(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without an object in it."""
    folder = tmp_path_factory.mktemp("nothing") / "state"
    shutil.copytree(template, folder)
    sections = {name: [] for name in ("users", "groups", "targets", "grants", "allowlist")}
    asyncio.run(apply(opened(folder), manifest(**sections), prune=True))
    return folder


few = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


async def exported(world: World) -> Data:
    return export_manifest(await world.read())  # type: ignore[return-value]


@few
@given(first=whole_manifests(), second=whole_manifests())
def test_what_comes_out_depends_on_the_file_alone(nothing: Path, first: Data, second: Data) -> None:
    """After `--prune`, whatever was there before; doing it again does nothing; and what is exported says the same."""

    async def check() -> None:
        with empty_world(nothing) as world, empty_world(nothing) as other:
            await apply(world, first)
            foreseen = await preview(world, second, prune=True)
            done = await apply(world, second, prune=True)
            assert foreseen.changes == done.changes
            assert foreseen.revision + bool(done.changes) == done.revision
            assert (await apply(world, second, prune=True)).changes == ()
            await apply(other, second)
            assert await exported(world) == await exported(other)
            snapshot = await world.read()
            assert (await apply(world, export_manifest(snapshot), prune=True)).changes == ()
            assert await world.read() == snapshot
            for each in second["users"]:
                assert password_fits(each["password"], parse_verifier(snapshot.users[each["name"]].verifier))
            for each in second["targets"]:
                for mode, login in each["logins"].items():
                    role = snapshot.targets[each["name"]].roles.get(AccessMode(mode))
                    assert (role is None) == (login is None)
                    assert role is None or world.vault.open(role).reveal() == login["password"]

    asyncio.run(check())


@few
@given(first=whole_manifests(), second=whole_manifests(), section=st.sampled_from(["users", "groups", "grants", "allowlist"]))
def test_a_file_with_one_fault_changes_nothing(nothing: Path, first: Data, second: Data, section: str) -> None:
    faults: dict[str, Data] = {
        "users": {"name": "zoe"},
        "groups": {"name": "all", "members": ["nobody"]},
        "grants": {"user": "nobody", "target": "east"},
        "allowlist": {"network": "10.0.0.1/8"},
    }
    second[section].append(faults[section])

    async def check() -> None:
        with empty_world(nothing) as world:
            await apply(world, first)
            await refused(world, second, prune=True)

    asyncio.run(check())


@few
@given(first=whole_manifests(), second=whole_manifests())
def test_without_pruning_nothing_goes_and_every_change_is_audited(nothing: Path, first: Data, second: Data) -> None:
    async def check() -> None:
        with empty_world(nothing) as world:
            await apply(world, first)
            before = await exported(world)
            plan = await apply(world, second)
            after = await exported(world)
            assert {each.action for each in plan.changes} <= {Action.CREATE, Action.CHANGE}
            for section in ("users", "groups", "targets", "environments", "roles"):
                assert {each["name"] for each in before[section]} <= {each["name"] for each in after[section]}
            events = [each for each in await world.events() if each.revision == plan.revision] if plan.changes else []
            assert len(events) >= len(plan.changes)
            told = repr(events) + repr(plan)
            assert not any(each["password"] in told for each in (*first["users"], *second["users"]))

    asyncio.run(check())


def test_a_secret_is_not_in_the_way_of_comparing() -> None:
    assert Secret(PASSWORD) != Secret(PASSWORD)  # why passwords are held against verifiers, and not against each other


def test_thousands_of_objects_take_seconds(nothing: Path) -> None:
    many = 2000
    verifier = make_verifier(PASSWORD, bytes(16))
    data = manifest(
        users=[{"name": f"user{n}", "verifier": verifier} for n in range(many)],
        groups=[{"name": "all", "members": [f"user{n}" for n in range(many)]}],
        targets=[{"name": "t", "host": "h", "dbname": "d"}],
        grants=[{"user": f"user{n}", "target": "t"} for n in range(many)],
        allowlist=[{"network": f"10.{n // 256}.{n % 256}.0/24"} for n in range(many)],
    )

    async def check() -> None:
        with empty_world(nothing) as world:
            loop = asyncio.get_running_loop()
            started = loop.time()
            assert len((await apply(world, data)).changes) == 3 * many + 2
            assert (await apply(world, data, prune=True)).changes == ()
            assert loop.time() - started < 30

    asyncio.run(check())


def test_time_is_the_stores(nothing: Path) -> None:
    async def check() -> None:
        with empty_world(nothing) as world:
            past = replace(world, store=world.at(datetime.now(UTC) - timedelta(days=400)))
            until = datetime.now(UTC) - timedelta(days=300)
            await apply(past, manifest(users=[{"name": "ann", "password": PASSWORD, "valid_until": until}]))
            export = await exported(world)
            assert (await apply(world, export)).changes == ()  # over meanwhile, and still the same

    asyncio.run(check())
