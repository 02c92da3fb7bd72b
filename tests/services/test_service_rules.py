"""What the services refuse, by which rule; and what each verb does beyond its row."""

from dataclasses import replace
from datetime import timedelta
from ipaddress import IPv4Address
from itertools import chain

import pytest
import trustme

from gateway.access.authorize import authorize
from gateway.access.model import Denial, ListMode, TlsMode, TokenScope
from gateway.access.verifiers import make_verifier, parse_verifier, password_fits
from gateway.access_mode import GrantOption
from gateway.secret import Secret
from gateway.services import allowlist, grants, groups, lockdown, sessions, targets, tokens, users
from gateway.services.allowlist import Everybody, OfUser
from gateway.services.errors import ServiceError
from gateway.services.grants import GroupHolder, UserHolder
from gateway.services.naming import check_actor
from gateway.services.targets import Permitted
from tests.services.verbs import VERBS, LiveSessions, alices_grant
from tests.services.world import ALICE, ANALYSTS, BY, PLACE, RO, RW, in_days

TEMPORARY, NO_DDL = GrantOption.TEMPORARY_TABLES, GrantOption.NO_DDL
SALT = b"0123456789abcdef"
OWN_CA, OTHER_CA = (trustme.CA().cert_pem.bytes().decode() for _ in range(2))


def user(w, **facts):
    return users.create_user(w.store, **{"name": "carol", **facts}, **BY)


def login(w, **facts):
    asked = {"name": "sales", "mode": RO, "login": "app_ro", "password": Secret("a new one"), **facts}
    return targets.set_login(w.store, w.vault, **asked, **BY)


def permit(w, kind, item):
    return targets.permit(w.store, name="sales", kind=kind, item=item, **BY)


def grant(w, **facts):
    return grants.create_grant(w.store, **{"holder": ALICE, "target_name": "sales", "mode": RO, **facts}, **BY)


async def changed(w, **facts):
    found = alices_grant(await w.read())
    return await grants.update_grant(w.store, grant_id=found.id, **facts, **BY)


def listed(w, level, network):
    return allowlist.create_entry(w.store, level=level, network=network, **BY)


def token(w, **facts):
    asked = {"name": "deploy", "scope": TokenScope.ADMIN, "valid_until": in_days(1), **facts}
    return tokens.create_token(w.store, **asked, **BY)


def verifier(w, text):
    return users.set_verifier(w.store, name="alice", verifier=Secret(text), **BY)


def move(w, **changes):
    passwords = changes.pop("passwords", {})
    change = {"name": "sales", "change": lambda place: replace(place, **changes), "passwords": passwords}
    return targets.move_target(w.store, w.vault, **change, **BY)


REFUSED = [
    ("user-name-invalid", lambda w: user(w, name="1abc")),
    ("user-name-invalid", lambda w: user(w, name="аlice")),  # Cyrillic
    ("user-name-invalid", lambda w: user(w, name="a" * 64)),
    ("user-name-invalid", lambda w: user(w, name="alice\n")),
    ("user-exists", lambda w: user(w, name="Alice")),
    ("group-unknown", lambda w: user(w, groups=("analysts", "analyst"))),
    ("password-invalid", lambda w: user(w, password=Secret("short"))),
    ("password-invalid", lambda w: users.set_password(w.store, name="alice", password=Secret("x" * 257), **BY)),
    ("password-invalid", lambda w: users.set_password(w.store, name="alice", password=Secret("long enough\0"), **BY)),
    ("verifier-invalid", lambda w: verifier(w, "md5c7f5")),
    ("verifier-unusual", lambda w: verifier(w, make_verifier("another password", SALT, 4097))),
    ("verifier-unusual", lambda w: verifier(w, make_verifier("another password", SALT[1:]))),
    ("expiry-in-the-past", lambda w: users.set_user_expiry(w.store, name="alice", valid_until=in_days(0), **BY)),
    ("user-unknown", lambda w: users.delete_user(w.store, name="alise", **BY)),
    ("user-disabled-already", lambda w: users.disable_user(w.store, name="bob", **BY)),
    ("user-enabled-already", lambda w: users.enable_user(w.store, name="alice", **BY)),
    ("group-name-invalid", lambda w: groups.create_group(w.store, name="a group", **BY)),
    ("group-exists", lambda w: groups.create_group(w.store, name="Analysts", **BY)),
    ("user-unknown", lambda w: groups.create_group(w.store, name="ops", members=("alice", "eve"), **BY)),
    ("group-unknown", lambda w: groups.delete_group(w.store, name="ops", **BY)),
    ("member-already", lambda w: groups.add_member(w.store, group_name="analysts", user_name="bob", **BY)),
    ("user-unknown", lambda w: groups.add_member(w.store, group_name="analysts", user_name="eve", **BY)),
    ("member-unknown", lambda w: groups.remove_member(w.store, group_name="analysts", user_name="alice", **BY)),
    ("target-name-invalid", lambda w: targets.create_target(w.store, name="sales:rw", place=PLACE, **BY)),
    ("target-exists", lambda w: targets.create_target(w.store, name="SALES", place=PLACE, **BY)),
    ("nothing-to-change", lambda w: move(w)),
    ("logins-would-move", lambda w: move(w, host="elsewhere.example")),
    ("logins-would-move", lambda w: move(w, port=5433)),
    ("logins-would-move", lambda w: move(w, host="elsewhere.example", tls=TlsMode.DISABLE)),
    *(("logins-would-weaken", lambda w, tls=tls: move(w, tls=tls)) for tls in TlsMode if tls is not TlsMode.VERIFY_FULL),
    ("logins-would-weaken", lambda w: move(w, ca_pem=OTHER_CA)),
    ("logins-would-weaken", lambda w: move(w, allow_md5=True)),
    ("login-unknown", lambda w: move(w, port=5433, passwords={RW: Secret("known")})),
    ("upstream-password-invalid", lambda w: move(w, port=5433, passwords={RO: Secret("")})),
    ("max-sessions-invalid", lambda w: targets.set_max_sessions(w.store, name="sales", max_sessions=0, **BY)),
    ("open-ahead-invalid", lambda w: targets.set_open_ahead(w.store, name="sales", open_ahead=-1, **BY)),
    ("open-ahead-invalid", lambda w: targets.set_open_ahead(w.store, name="sales", open_ahead=1001, **BY)),
    ("nothing-to-change", lambda w: targets.set_open_ahead(w.store, name="sales", open_ahead=0, **BY)),
    ("nothing-to-change", lambda w: targets.set_max_sessions(w.store, name="sales", max_sessions=None, **BY)),
    ("login-unknown", lambda w: targets.remove_login(w.store, name="sales", mode=RW, **BY)),
    ("name-invalid", lambda w: login(w, login="app\0ro")),
    ("upstream-password-invalid", lambda w: login(w, password=Secret(""))),
    ("function-name-invalid", lambda w: permit(w, Permitted.FUNCTION, "f")),
    ("function-name-invalid", lambda w: permit(w, Permitted.FUNCTION, "*.*")),
    ("function-allowed-already", lambda w: permit(w, Permitted.FUNCTION, "shop.f")),
    ("function-not-allowed", lambda w: targets.forbid(w.store, name="sales", kind=Permitted.FUNCTION, item="shop.g", **BY)),
    ("schema-name-invalid", lambda w: permit(w, Permitted.SCHEMA, "pg_temp")),
    ("setting-name-invalid", lambda w: permit(w, Permitted.SETTING, "role")),
    ("grant-exists", lambda w: grant(w)),
    ("grant-exists", lambda w: grant(w, holder=ANALYSTS)),
    ("target-unknown", lambda w: grant(w, target_name="sale")),
    ("user-unknown", lambda w: grant(w, holder=UserHolder("analysts"))),
    ("group-unknown", lambda w: grant(w, holder=GroupHolder("alice"))),
    ("option-not-for-mode", lambda w: grant(w, holder=UserHolder("bob"), options=frozenset({TEMPORARY, NO_DDL}))),
    ("option-not-for-mode", lambda w: grant(w, holder=UserHolder("bob"), options=frozenset({GrantOption.UNFILTERED_WRITES}))),
    ("option-not-for-mode", lambda w: grant(w, holder=UserHolder("bob"), options=frozenset({GrantOption.REPORT_ONLY}))),
    ("option-not-for-mode", lambda w: grant(w, holder=UserHolder("bob"), max_changed_rows=5)),
    ("max-changed-rows-invalid", lambda w: grant(w, mode=RW, max_changed_rows=0)),
    ("max-changed-rows-invalid", lambda w: grant(w, mode=RW, max_changed_rows=10**9 + 1)),
    ("grant-exists", lambda w: grant(w, options=frozenset({TEMPORARY}))),
    ("option-not-for-mode", lambda w: changed(w, options=frozenset({NO_DDL}))),
    ("option-not-for-mode", lambda w: changed(w, max_changed_rows=5)),
    ("max-changed-rows-invalid", lambda w: changed(w, max_changed_rows=-1)),
    ("nothing-to-change", lambda w: changed(w)),
    ("nothing-to-change", lambda w: changed(w, valid_until=None, options=frozenset(), max_changed_rows=None)),
    ("expiry-in-the-past", lambda w: changed(w, valid_until=in_days(-1), options=frozenset({TEMPORARY}))),
    ("grant-unknown", lambda w: grants.revoke_grant(w.store, grant_id="x", **BY)),
    ("grant-unknown", lambda w: grants.update_grant(w.store, grant_id="x", valid_until=None, **BY)),
    ("grant-unknown", lambda w: grants.revoke_grants(w.store, holder=UserHolder("bob"), target_name="sales", **BY)),
    ("grant-unknown", lambda w: grants.revoke_grants(w.store, holder=ALICE, target_name="sales", mode=RW, **BY)),
    ("network-invalid", lambda w: listed(w, Everybody(), "10.0.0.1/8")),
    ("network-listed", lambda w: listed(w, Everybody(), "10.0.0.0/8")),
    ("entry-unknown", lambda w: allowlist.delete_network(w.store, level=OfUser("alice"), network="10.0.0.0/8", **BY)),
    ("entry-unknown", lambda w: allowlist.delete_entry(w.store, entry_id="x", **BY)),
    ("list-mode-global", lambda w: allowlist.set_list_mode(w.store, level=Everybody(), mode=ListMode.INHERIT, **BY)),
    ("list-mode-unchanged", lambda w: allowlist.set_list_mode(w.store, level=OfUser("alice"), mode=ListMode.INHERIT, **BY)),
    ("token-name-invalid", lambda w: token(w, name="pgb token")),
    ("token-exists", lambda w: token(w, name="CI")),
    ("expiry-in-the-past", lambda w: token(w, valid_until=in_days(-1))),
    ("token-unknown", lambda w: tokens.revoke_token(w.store, name="c", **BY)),
    ("session-id-invalid", lambda w: sessions.terminate_session(w.store, session_id="\x1b[2J", **BY)),
    ("session-id-invalid", lambda w: sessions.terminate_sessions(w.store, session_ids=("s-1", ""), **BY)),
    ("session-unknown", lambda w: sessions.terminate_sessions(w.store, session_ids=(), **BY)),
    ("session-unknown", lambda w: sessions.cancel_session(w.store, LiveSessions("s-2"), session_id="s-1", **BY)),
    ("lockdown-unknown", lambda w: lockdown.lift_lockdown(w.store, **BY)),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "call"), REFUSED, ids=[f"{n}-{row[0]}" for n, row in enumerate(REFUSED)])
async def test_a_refusal_names_its_rule_and_changes_nothing(world, rule, call):
    before = await world.read(), await world.events()
    with pytest.raises(ServiceError) as caught:
        await call(world)
    assert caught.value.rule == rule
    assert caught.value.message
    assert (await world.read(), await world.events()) == before


@pytest.mark.parametrize("actor", ["system", "os:ana", "os:1000", "os:DOMAIN\\ana", "os:müller", "token:ci", "user:ana"])
def test_usual_actors_are_taken(actor):
    check_actor(actor)


@pytest.mark.parametrize(
    "actor",
    ["", "ana", "root", "os:", "os:a b", "os:a\n", "os:\x1b[2J", "os:" + "a" * 129, "token:", "token:a b", "token:1", "System",
     "system:x", "web:ana", "os:a\u202eb"],
)  # fmt: skip
def test_other_actors_are_not(actor):
    with pytest.raises(ServiceError) as caught:
        check_actor(actor)
    assert caught.value.rule == "actor-invalid"
    assert caught.value.message.isprintable()


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


async def test_a_verifier_is_a_password_that_nobody_here_knows(world):
    before = (await world.read()).users["alice"]
    after = await verifier(world, make_verifier("another password", SALT))
    assert password_fits("another password", parse_verifier(after.verifier))
    assert after.credential_version == before.credential_version + 1
    with pytest.raises(ServiceError, match="already"):
        await verifier(world, after.verifier)


async def test_an_upstream_password_opens_for_the_role_and_rotates_in_place(world):
    before = (await world.read()).targets["sales"]
    await login(world, password=Secret("rotated"))
    after = (await world.read()).targets["sales"]
    assert after.roles[RO].id == before.roles[RO].id
    assert world.vault.open(after.roles[RO]).reveal() == "rotated"
    assert after.revision == before.revision + 1
    await login(world, login="another")
    assert (await world.read()).targets["sales"].roles[RO].id != before.roles[RO].id


async def test_logins_move_only_with_their_passwords(world):
    """Whoever may change targets, but knows no upstream password, cannot have one sent to a server of their own."""
    before = (await world.read()).targets["sales"].roles[RO]
    assert (await move(world, dbname="other")).roles[RO] == before
    with pytest.raises(ServiceError, match="would then be used with elsewhere") as refused:
        await move(world, host="elsewhere.example")
    assert "Give their passwords again in the same change (read_only)" in refused.value.hint
    moved = await move(world, host="elsewhere.example", tls=TlsMode.REQUIRE, passwords={RO: Secret("given again")})
    assert (moved.roles[RO].id, moved.roles[RO].login) == (before.id, before.login)
    assert world.vault.open(moved.roles[RO]).reveal() == "given again"
    (event,) = [each.event for each in await world.events() if each.event.detail.get("passwords_given")]
    assert (event.action, event.detail["passwords_given"], event.detail["tls"]) == ("target.changed", "read_only", "require")
    assert "given again" not in str(event)
    await targets.set_login(world.store, world.vault, name="sales", mode=RW, login="app_rw", password=Secret("second"), **BY)
    with pytest.raises(ServiceError, match="would then be used with"):
        await move(world, port=5433, passwords={RO: Secret("given again")})
    for mode in (RO, RW):
        await targets.remove_login(world.store, name="sales", mode=mode, **BY)
    assert (await move(world, host="db.example", tls=TlsMode.DISABLE)).roles == {}


async def test_a_login_stays_where_its_protection_does_not_get_weaker(world):
    await targets.remove_login(world.store, name="sales", mode=RO, **BY)
    await move(world, tls=TlsMode.REQUIRE, ca_pem=OWN_CA + OTHER_CA, allow_md5=True)
    await login(world)
    for stronger in ({"tls": TlsMode.VERIFY_CA}, {"tls": TlsMode.VERIFY_FULL}, {"ca_pem": OWN_CA}, {"allow_md5": False}):
        assert RO in (await move(world, **stronger)).roles
    for weaker in ({"ca_pem": OWN_CA + OTHER_CA}, {"ca_pem": None}):
        with pytest.raises(ServiceError, match="other certificate authorities"):
            await move(world, **weaker)


def authorized(snapshot, **facts):
    asked = {"user_name": "alice", "target_name": "sales", "mode": RO, "address": IPv4Address("10.1.1.1"), **facts}
    return authorize(snapshot, now=in_days(0), session_id="s-1", **asked)


TAKES_AWAY = [
    users.set_password, users.set_verifier, users.disable_user, users.delete_user, targets.remove_login,
    targets.disable_target, targets.delete_target, grants.revoke_grant, grants.revoke_grants, allowlist.delete_entry,
    allowlist.delete_network, allowlist.set_list_mode, sessions.terminate_session, sessions.terminate_sessions,
    lockdown.lock_down,
]  # fmt: skip


@pytest.mark.parametrize("verb", TAKES_AWAY, ids=lambda verb: verb.__name__)
async def test_what_takes_a_right_away_denies_the_live_session(world, verb):
    lease = authorized(await world.read())
    facts = {"user_id": lease.user.id, "credential_version": lease.user.credential_version}
    await VERBS[verb](world)
    assert isinstance(authorized(await world.read(), **facts), Denial)


GROUP_LOSES = [
    lambda w: groups.remove_member(w.store, group_name="analysts", user_name="carol", **BY),
    lambda w: grants.revoke_grants(w.store, holder=ANALYSTS, target_name="sales", **BY),
    lambda w: groups.delete_group(w.store, name="analysts", **BY),
]


@pytest.mark.parametrize("lose", GROUP_LOSES)
async def test_a_member_has_what_the_group_holds_as_long_as_both_last(world, lose):
    await user(world)
    assert authorized(await world.read(), user_name="carol").rule == "target-unknown"
    await groups.add_member(world.store, group_name="analysts", user_name="carol", **BY)
    assert not isinstance(authorized(await world.read(), user_name="carol"), Denial)
    await lose(world)
    assert authorized(await world.read(), user_name="carol").rule == "target-unknown"


async def test_a_group_changes_its_version_when_a_member_is_deleted(world):
    before = (await world.read()).groups["analysts"]
    await users.delete_user(world.store, name="bob", **BY)
    after = (await world.read()).groups["analysts"]
    assert after.members == frozenset()
    assert after.version > before.version


async def test_a_deleted_group_leaves_its_members_and_no_grants(world):
    await groups.delete_group(world.store, name="analysts", **BY)
    snapshot = await world.read()
    assert set(snapshot.users) == {"alice", "bob"}
    assert len(list(chain(*snapshot.grants.values()))) == 1
    assert snapshot.memberships == {}


async def test_a_shortened_grant_ends_the_lease_sooner_and_a_lengthened_one_later(world):
    found = alices_grant(await world.read())
    for end in (in_days(1), in_days(0.5), in_days(2), None):
        await grants.update_grant(world.store, grant_id=found.id, valid_until=end, **BY)
        assert authorized(await world.read()).valid_until == end
    with pytest.raises(ServiceError, match="already"):
        await grants.update_grant(world.store, grant_id=found.id, valid_until=None, **BY)


async def test_any_part_of_what_a_grant_carries_can_be_changed_and_the_audit_has_both_sides(world):
    named = await grant(world, mode=RW, options=frozenset(GrantOption), max_changed_rows=7)
    created = (await world.events())[-1].event
    assert created.detail == {
        "user": "alice",
        "target": "sales",
        "mode": "read_write",
        "valid_until": None,
        "replaced": None,
        "options": ("no-ddl", "report-only", "temporary-tables", "unfiltered-writes"),
        "max_changed_rows": 7,
    }
    soon = in_days(1)
    for facts in (
        {"options": frozenset({NO_DDL})},
        {"max_changed_rows": None},
        {"valid_until": soon},
        {"options": frozenset(), "max_changed_rows": 5, "valid_until": None},
    ):
        before = named.grant
        named = await grants.update_grant(world.store, grant_id=before.id, expected_version=before.version, **facts, **BY)
        assert named.grant == replace(before, version=named.grant.version, **facts)
        detail = dict((await world.events())[-1].event.detail)
        assert (detail["options"], detail["before_options"]) == (names(named.grant.options), names(before.options))
        rows = (named.grant.max_changed_rows, before.max_changed_rows)
        assert (detail["max_changed_rows"], detail["before_max_changed_rows"]) == rows
        ends = [None if each is None else each.isoformat() for each in (named.grant.valid_until, before.valid_until)]
        assert [detail["valid_until"], detail["before_valid_until"]] == ends


def names(options):
    return tuple(sorted(options))


async def test_a_lease_carries_what_its_grant_does(world):
    await changed(world, options=frozenset({TEMPORARY}))
    assert authorized(await world.read()).options == {TEMPORARY}
    await changed(world, options=frozenset())
    assert authorized(await world.read()).options == frozenset()


async def test_a_grant_that_is_replaced_leaves_nothing_of_what_it_carried(world):
    await changed(world, options=frozenset({TEMPORARY}))
    named = await grant(world, replace_live=True)
    assert (named.grant.options, named.grant.max_changed_rows) == (frozenset(), None)


async def test_an_expired_grant_is_not_brought_back(world):
    soon = in_days(0.1)
    found = alices_grant(await world.read())
    await grants.update_grant(world.store, grant_id=found.id, valid_until=soon, **BY)
    later = world.at(soon)
    with pytest.raises(ServiceError) as caught:
        await grants.update_grant(later, grant_id=found.id, valid_until=None, **BY)
    assert caught.value.rule == "grant-expired"


async def test_a_grant_is_replaced_when_asked_or_expired(world):
    soon = in_days(0.1)
    old = alices_grant(await world.read())
    named = await grant(world, valid_until=soon, replace_live=True)
    assert named.grant.id != old.id
    asked = {"holder": ALICE, "target_name": "sales", "mode": RO, **BY}
    await grants.create_grant(world.at(soon), **asked)
    assert alices_grant(await world.read()).valid_until is None


async def test_grants_are_named_by_their_holders(world):
    named = [(grants.holder_text(each.holder), each.target_name) for each in grants.name_grants(await world.read())]
    assert named == [('user "alice"', "sales"), ('group "analysts"', "sales")]
    assert [each.event.object_name for each in (await world.events())[-5:-3]] == ["alice on sales", "group analysts on sales"]


async def test_an_expired_entry_may_be_listed_again(world):
    soon = in_days(0.1)
    asked = {"level": OfUser("alice"), "network": "192.0.2.0/24", **BY}
    await allowlist.create_entry(world.store, valid_until=soon, **asked)
    await allowlist.create_entry(world.at(soon + timedelta(seconds=1)), **asked)
    assert len(list(chain(*(await world.read()).user_entries.values()))) == 1


@pytest.mark.parametrize("reason", ["an intruder", ""])
async def test_a_lockdown_holds_until_it_is_lifted(world, reason):
    await lockdown.lock_down(world.store, actor="os:admin", reason=reason)
    assert authorized(await world.read()).rule == "lockdown"
    with pytest.raises(ServiceError) as caught:
        await lockdown.lock_down(world.store, **BY)
    assert caught.value.rule == "lockdown-already"
    await lockdown.lift_lockdown(world.store, **BY)
    assert not isinstance(authorized(await world.read()), Denial)
    lifted = (await world.events())[-1].event
    assert (lifted.action, dict(lifted.detail)) == ("gateway.lockdown_lifted", {"before": reason})


async def test_a_cancel_reaches_the_gateway(world):
    live = LiveSessions("s-1", "s-2")
    await sessions.cancel_session(world.store, live, session_id="s-2", **BY)
    assert live.cancelled == ["s-2"]
    assert not isinstance(authorized(await world.read()), Denial)


async def test_a_cancel_that_cannot_be_written_down_is_not_done(world):
    live = LiveSessions("s-1")
    with pytest.raises(ServiceError):
        await sessions.cancel_session(world.store, live, session_id="s-1", actor="os:admin", reason="two\nlines")
    assert live.cancelled == []
