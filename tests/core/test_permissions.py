"""What permissions add up to, what a standing right is, and that the documents say what the data does."""

from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gateway.access.authorize import authorize, renew
from gateway.access.model import AdminRole, Denial, Lease, Permission, Snapshot
from gateway.access.permissions import Scope, all_verbs, effective, explain, matrix, without_counterpart
from gateway.access_mode import AccessMode
from gateway.services.permissions_page import as_markdown
from tests.matrix.world import base

DOCUMENT = Path(__file__).parents[2] / "docs" / "permissions.md"
some = st.frozensets(st.sampled_from(Permission))


@given(some, some)
def test_permissions_add_up(one: frozenset[Permission], other: frozenset[Permission]) -> None:
    assert effective(one | other) == effective(one) | effective(other)
    assert effective(effective(one)) == effective(one) >= one


def test_what_includes_what() -> None:
    assert effective({Permission.ADMIN}) == set(Permission)
    assert effective({Permission.DEPLOY}) == {Permission.DEPLOY, Permission.OBSERVABILITY, Permission.BASIC_READ}
    assert effective({Permission.SENSITIVE}) == {Permission.SENSITIVE, Permission.READ, Permission.BASIC_READ}
    assert effective({Permission.TUNNEL}) == {Permission.TUNNEL, Permission.BASIC_READ}
    assert effective(()) == frozenset()


@given(some)
def test_more_permissions_never_allow_less(held: frozenset[Permission]) -> None:
    for verb in all_verbs().values():
        if not effective(held).isdisjoint(verb.allowed_by):
            assert all(not effective(held | {more}).isdisjoint(verb.allowed_by) for more in Permission)
            assert explain([("role", held)], verb)


def test_every_row_is_a_row_once() -> None:
    nothing = {(resource, action) for resource, action, _ in without_counterpart()}
    assert nothing.isdisjoint(matrix())
    assert all(Permission.ADMIN in allowed for allowed in matrix().values())
    places = [verb for verb in all_verbs().values() if verb.scope in (Scope.TARGET, Scope.ENVIRONMENT)]
    assert {(verb.resource, verb.action) for verb in places} == set(matrix())


def test_the_document_is_made_from_the_data() -> None:
    text = DOCUMENT.read_text()
    table = text.partition("<!-- permissions: begin -->\n")[2].partition("<!-- permissions: end -->")[0]
    assert table.strip() == as_markdown().strip(), "write it anew: pgbastion permissions verbs --markdown"


# --- Tunnel


def ask(snapshot: Snapshot, user: str, target: str = "sales", mode: AccessMode = AccessMode.READ_ONLY) -> Lease | Denial:
    return authorize(
        snapshot,
        user_name=user,
        target_name=target,
        mode=mode,
        address=ip_address("10.1.1.1"),
        now=datetime.now(UTC),
        session_id="s",
    )


def test_tunnel_and_what_includes_it_is_a_standing_right_to_read() -> None:
    snapshot = base()
    for permission in Permission:
        found = ask(snapshot, f"may_{permission}")
        assert isinstance(found, Lease) == (permission in (Permission.TUNNEL, Permission.ADMIN)), permission
        if isinstance(found, Lease):
            assert found.grant_id == f"role:r-{permission}:e-here"
            assert isinstance(ask(snapshot, f"may_{permission}", "far"), Denial)
            refused = ask(snapshot, f"may_{permission}", mode=AccessMode.READ_WRITE)
            assert isinstance(refused, Denial)
            assert refused.rule == "mode-not-granted"
    assert isinstance(ask(snapshot, "boss"), Lease)
    assert isinstance(ask(snapshot, "may_elsewhere", "far"), Lease)


def test_a_session_that_stands_on_a_role_ends_with_it() -> None:
    snapshot = base()
    lease = ask(snapshot, "may_tunnel")
    assert isinstance(lease, Lease)

    def now(changed: Snapshot) -> Lease | Denial:
        return renew(changed, lease, address=ip_address("10.1.1.1"), now=datetime.now(UTC), session_id="s")

    role = snapshot.admin_roles["role_tunnel"]
    assert isinstance(now(snapshot), Lease)
    for less in (replace(role, members=frozenset()), replace(role, permissions={}), _only_elsewhere(role)):
        ended = now(replace(snapshot, admin_roles={**snapshot.admin_roles, role.name: less}))
        assert isinstance(ended, Denial)
        assert ended.rule == "grant-ended"
    elsewhere = replace(snapshot.targets["sales"], environment_id="e-there")
    assert isinstance(now(replace(snapshot, targets={**snapshot.targets, "sales": elsewhere})), Denial)


def _only_elsewhere(role: AdminRole) -> AdminRole:
    return replace(role, permissions={"e-there": role.permissions["e-here"]})
