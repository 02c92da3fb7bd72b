"""What each admin sees of the whole, and what reviews are told."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from gateway.access.model import Permission, Snapshot
from gateway.audit.admin_event import AdminEvent, RecordedAdminEvent
from gateway.services.access_report import report
from gateway.services.actor import resolve_actor
from gateway.services.rights_shown import rights_of, why
from gateway.services.visible import visible, within_reach
from tests.matrix.world import ACTORS, NOW, allows, base

READ = ("app", "read_configuration")


def seen_by(actor: str) -> Snapshot:
    snapshot = base()
    return visible(snapshot, resolve_actor(f"user:{ACTORS[actor]}", snapshot, NOW))


def test_owners_see_the_very_same() -> None:
    snapshot = base()
    assert visible(snapshot, resolve_actor("user:boss", snapshot, NOW)) is snapshot


def test_others_see_what_their_permissions_show() -> None:
    whole = base()
    for permission in Permission:
        found, reads = seen_by(permission.value), allows(READ, permission.value)
        assert set(found.targets) == {"sales"}
        assert set(found.environments) == {"here", "hollow"}
        assert (found.targets["sales"] == whole.targets["sales"]) == reads
        assert (found.targets["sales"].host, bool(found.targets["sales"].roles)) == (
            ("sales.internal", True) if reads else ("", False)
        )
        assert {each.id for held in found.grants.values() for each in held} == ({"g-1", "g-3"} if reads else set())
        assert set(found.users) == ({"bob_b", "carl_c"} if reads else set()) | {ACTORS[permission.value]}
        assert bool(found.target_entries) == reads
        assert (found.global_entries, found.user_entries, found.tokens, found.credentials, found.accounts) == (
            (),
            {},
            {},
            {},
            {},
        )
        assert set(found.admin_roles) == {f"role_{permission}"}


def test_who_has_no_role_sees_only_what_is_theirs() -> None:
    found = seen_by("nothing")
    assert (set(found.users), found.targets, found.environments, found.groups) == ({"may_nothing"}, {}, {}, {})
    whole = base()
    bob = visible(whole, resolve_actor("user:bob_b", whole, NOW))
    assert set(bob.targets) == {"sales", "far"}
    assert {target.host for target in bob.targets.values()} == {""}
    assert {each.id for each in bob.grants[whole.users["bob_b"].id]} == {"g-1", "g-2"}
    assert (set(bob.tokens), len(bob.credentials), len(bob.accounts)) == ({"bobs"}, 1, 1)


def test_changes_are_worked_out_from_whole_rows() -> None:
    snapshot = base()
    for permission in Permission:
        reach = within_reach(snapshot, resolve_actor(f"user:may_{permission}", snapshot, NOW))
        assert reach.targets == {"sales": snapshot.targets["sales"]}
        assert reach.users == snapshot.users


def test_rights_are_told_with_their_roles() -> None:
    rights = rights_of(base(), "may_deploy", NOW)
    assert (rights.owner, rights.active, rights.roles) == (False, True, ("role_deploy",))
    here = next(each for each in rights.environments if each.environment == "here")
    assert [(each.gives.value, each.explicit) for each in here.holdings] == [
        ("basic_read", False),
        ("deploy", True),
        ("observability", False),
    ]
    yes = why(base(), "may_deploy", "sessions.list", target="sales", environment=None, now=NOW)
    assert (yes.allowed, {each.role for each in yes.because}) == (True, {"role_deploy"})
    no = why(base(), "may_deploy", "targets.delete", target="sales", environment=None, now=NOW)
    assert (no.allowed, no.because, no.givers) == (False, (), ("boss",))
    assert no.needed == (Permission.ADMIN, Permission.DESTROY)


def event(action: str, object_id: str, days_ago: float, **detail: Any) -> RecordedAdminEvent:
    happened = AdminEvent("os:root", action, object_id, "", "", detail)
    return RecordedAdminEvent(object_id + action, NOW - timedelta(days_ago), 1, 1, happened)


def test_a_review_is_told_who_could_reach_what_and_when() -> None:
    events = [
        event("grant.created", "g-1", 9, user="bob_b", target="sales", mode="read_only"),
        event("grant.created", "g-old", 8, user="carl_c", target="far", mode="read_write", valid_until=None),
        event("grant.revoked", "g-old", 5, user="carl_c", target="far", mode="read_write"),
    ]
    rows = report(base(), events, since=None, until=None, now=NOW)
    told = {(row.user, row.target, row.through): row for row in rows}
    assert told["bob_b", "sales", "self"].since == NOW - timedelta(9)
    assert told["carl_c", "sales", "group staff"].until is None
    assert told["may_tunnel", "sales", "role role_tunnel"].grant == "role:r-tunnel:e-here"
    assert told["boss", "far", "role owners"].environment == "there"
    gone = told["carl_c", "far", "self"]
    assert (gone.since, gone.until, gone.mode) == (NOW - timedelta(8), NOW - timedelta(5), "read_write")
    later = report(base(), events, since=NOW - timedelta(4), until=None, now=NOW)
    assert gone not in later
    assert told["bob_b", "sales", "self"] in later
    earlier = report(base(), events, since=None, until=NOW - timedelta(8.5), now=NOW)
    assert gone not in earlier
    off = replace(base().users["bob_b"], enabled=False)
    disabled = replace(base(), users={**base().users, "bob_b": off})
    assert {row.account for row in report(disabled, events, since=None, until=None, now=NOW) if row.user == "bob_b"} == {
        "disabled"
    }
