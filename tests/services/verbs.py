"""Every verb with a call of it that succeeds in the small world with admins, so that each is held to the same rules."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from gateway.access.accounts import Identity
from gateway.access.model import ListMode, Permission, Snapshot, TokenScope
from gateway.access.secret_reference import SecretReference
from gateway.access.verifiers import make_verifier
from gateway.ports import SessionFacts
from gateway.secret import Secret
from gateway.services import (
    accounts,
    admin_roles,
    allowlist,
    approval_policies,
    certificates,
    claim_mappings,
    environments,
    grants,
    groups,
    lockdown,
    secret_references,
    sessions,
    targets,
    tokens,
    users,
)
from gateway.services.allowlist import Everybody, OfTarget, OfUser
from gateway.services.approval_terms import NamedStep
from gateway.services.targets import Permitted
from tests.services.world import ALICE, ANALYSTS, BY, PLACE, RO, RW, UPSTREAM_CANARY, World, in_days, moved

Facts = dict[str, Any]
Asks = Callable[[Snapshot], Facts]


@dataclass(frozen=True)
class Verb:
    """`actions`: what the audit names, in order. `row`: what it changes, when it can be held against a version."""

    function: Callable[..., Coroutine[None, None, Any]]
    actions: tuple[str, ...]
    asks: Asks
    row: Callable[[Snapshot], Any] | None = None

    @property
    def name(self) -> str:
        return self.function.__name__

    async def __call__(self, world: World, **more: Any) -> Any:
        facts = {**self.asks(await world.read()), **BY, **more}
        with_what = {
            targets.set_login: (world.vault,),
            targets.move_target: (world.vault,),
            sessions.cancel_session: (LiveSessions("s-1"),),
        }
        return await self.function(world.store, *with_what.get(self.function, ()), **facts)


class LiveSessions:
    """The part of ports.LiveGateway that verbs use."""

    def __init__(self, *session_ids: str) -> None:
        self._live = session_ids
        self.cancelled: list[str] = []

    async def sessions(self) -> list[SessionFacts]:
        return [
            SessionFacts(session_id, "alice", "sales", "read_only", "10.1.1.1", "psql", "active", "2026-03-01T12:00:00Z", 1, 7)
            for session_id in self._live
        ]

    async def cancel(self, session_id: str) -> bool:
        self.cancelled.append(session_id)
        return True


def plain(**facts: Any) -> Asks:
    return lambda _snapshot: facts


def a_user(name: str) -> Callable[[Snapshot], Any]:
    return lambda snapshot: snapshot.users[name]


def a_target(name: str) -> Callable[[Snapshot], Any]:
    return lambda snapshot: snapshot.targets[name]


def analysts(snapshot: Snapshot) -> Any:
    return snapshot.groups["analysts"]


def alices_grant(snapshot: Snapshot) -> Any:
    (grant,) = snapshot.grants[snapshot.users["alice"].id]
    return grant


def the_entry(snapshot: Snapshot) -> Any:
    (entry,) = snapshot.global_entries
    return entry


def an_account(name: str) -> Callable[[Snapshot], Any]:
    return lambda snapshot: snapshot.accounts[snapshot.users[name].id]


def prod(snapshot: Snapshot) -> Any:
    return snapshot.environments["prod"]


def dba(snapshot: Snapshot) -> Any:
    return snapshot.admin_roles["dba"]


def the_policy(snapshot: Snapshot) -> Any:
    return snapshot.approval_policies["writing"]


def the_mapping(snapshot: Snapshot) -> Any:
    (mapping,) = snapshot.claim_mappings
    return mapping


VERIFIER = make_verifier("another password", b"0123456789abcdef")

_USERS = [
    Verb(users.create_user, ("user.created", "group.member_added"), plain(name="carol", groups=("analysts",))),
    Verb(users.set_password, ("user.password_changed",), plain(name="alice"), a_user("alice")),
    Verb(users.set_verifier, ("user.password_changed",), plain(name="alice", verifier=Secret(VERIFIER)), a_user("alice")),
    Verb(users.update_user, ("user.changed",), plain(name="alice", read_only=True, email="alice@example.com"), a_user("alice")),
    Verb(users.disable_user, ("user.disabled",), plain(name="alice"), a_user("alice")),
    Verb(users.enable_user, ("user.enabled",), plain(name="bob"), a_user("bob")),
    Verb(users.set_user_expiry, ("user.expiry_changed",), plain(name="alice", valid_until=in_days(1)), a_user("alice")),
    Verb(users.delete_user, ("user.deleted",), plain(name="alice"), a_user("alice")),
]
_GROUPS = [
    Verb(groups.create_group, ("group.created",), plain(name="ops", members=("alice", "bob"))),
    Verb(groups.delete_group, ("group.deleted",), plain(name="analysts"), analysts),
    Verb(groups.add_member, ("group.member_added",), plain(group_name="analysts", user_name="alice"), analysts),
    Verb(groups.remove_member, ("group.member_removed",), plain(group_name="analysts", user_name="bob"), analysts),
]
_TARGETS = [
    Verb(targets.create_target, ("target.created",), plain(name="new", place=PLACE)),
    Verb(
        targets.move_target,
        ("target.changed",),
        plain(name="sales", change=moved, passwords={RO: Secret(UPSTREAM_CANARY)}),
        a_target("sales"),
    ),
    Verb(
        targets.set_login,
        ("target.login_changed",),
        plain(name="sales", mode=RO, login="app_ro", password=Secret(UPSTREAM_CANARY)),
        a_target("sales"),
    ),
    Verb(
        secret_references.refer_login,
        ("target.login_changed",),
        plain(name="sales", mode=RO, login="app_ro", reference=SecretReference.parse("vault:kv/pgbastion/sales#app_ro")),
        a_target("sales"),
    ),
    Verb(targets.remove_login, ("target.login_removed",), plain(name="sales", mode=RO), a_target("sales")),
    Verb(targets.set_open_ahead, ("target.open_ahead_changed",), plain(name="sales", open_ahead=2), a_target("sales")),
    Verb(targets.set_max_sessions, ("target.max_sessions_changed",), plain(name="sales", max_sessions=9), a_target("sales")),
    Verb(targets.disable_target, ("target.disabled",), plain(name="sales"), a_target("sales")),
    Verb(targets.enable_target, ("target.enabled",), plain(name="closed"), a_target("closed")),
    Verb(
        targets.permit,
        ("target.schema_allowed",),
        plain(name="sales", kind=Permitted.SCHEMA, item="shop"),
        a_target("sales"),
    ),
    Verb(
        targets.forbid,
        ("target.function_disallowed",),
        plain(name="sales", kind=Permitted.FUNCTION, item="shop.f"),
        a_target("sales"),
    ),
    Verb(targets.delete_target, ("target.deleted",), plain(name="sales"), a_target("sales")),
]
_GRANTS = [
    Verb(grants.create_grant, ("grant.created",), plain(holder=ANALYSTS, target_name="sales", mode=RW)),
    Verb(
        grants.update_grant,
        ("grant.changed",),
        lambda snapshot: {"grant_id": alices_grant(snapshot).id, "valid_until": in_days(1)},
        alices_grant,
    ),
    Verb(grants.revoke_grant, ("grant.revoked",), lambda snapshot: {"grant_id": alices_grant(snapshot).id}, alices_grant),
    Verb(grants.revoke_grants, ("grant.revoked",), plain(holder=ALICE, target_name="sales")),
]
_ALLOWLIST = [
    Verb(allowlist.create_entry, ("allowlist.entry_created",), plain(level=OfUser("alice"), network="2001:db8::/32")),
    Verb(
        allowlist.delete_entry,
        ("allowlist.entry_deleted",),
        lambda snapshot: {"entry_id": the_entry(snapshot).id},
        the_entry,
    ),
    Verb(allowlist.delete_network, ("allowlist.entry_deleted",), plain(level=Everybody(), network="10.0.0.0/8"), the_entry),
    Verb(
        allowlist.set_list_mode,
        ("allowlist.mode_changed",),
        plain(level=OfTarget("sales"), mode=ListMode.RESTRICT),
        a_target("sales"),
    ),
]
_OTHERS = [
    Verb(tokens.create_token, ("token.created",), plain(name="deploy", scope=TokenScope.ADMIN, valid_until=in_days(90))),
    Verb(tokens.revoke_token, ("token.revoked",), plain(name="ci"), lambda snapshot: snapshot.tokens["ci"]),
    Verb(sessions.terminate_session, ("session.terminated",), plain(session_id="s-1")),
    Verb(sessions.terminate_sessions, ("session.terminated",) * 2, plain(session_ids=("s-1", "s-2", "s-1"))),
    Verb(sessions.cancel_session, ("session.cancelled",), plain(session_id="s-1")),
    Verb(lockdown.lock_down, ("gateway.locked_down",), plain()),
]
_ADMINS = [
    Verb(environments.create_environment, ("environment.created",), plain(name="staging")),
    Verb(environments.rename_environment, ("environment.renamed",), plain(name="prod", new_name="live"), prod),
    Verb(
        environments.move_to_environment,
        ("target.environment_changed",),
        plain(name="sales", environment="prod"),
        a_target("sales"),
    ),
    Verb(environments.delete_environment, ("environment.deleted",), plain(name="prod"), prod),
    Verb(admin_roles.create_admin_role, ("admin_role.created",), plain(name="ops", members=("dora", "emil"))),
    Verb(
        admin_roles.grant_permissions,
        ("admin_role.permissions_granted",),
        plain(name="dba", environment="prod", permissions=frozenset({Permission.TUNNEL})),
        dba,
    ),
    Verb(
        admin_roles.revoke_permissions,
        ("admin_role.permissions_revoked",),
        plain(name="dba", environment="prod", permissions=frozenset({Permission.READ})),
        dba,
    ),
    Verb(admin_roles.change_members, ("admin_role.members_changed",), plain(name="dba", add=("emil",), remove=("dora",)), dba),
    Verb(admin_roles.delete_admin_role, ("admin_role.deleted",), plain(name="dba"), dba),
    Verb(
        certificates.set_certificate_names,
        ("user.certificates_changed",),
        plain(name="robot", certificate_names={"cn:robot"}),
        a_user("robot"),
    ),
]
_SIGNING_IN = [
    Verb(accounts.create_account, ("account.created",), plain(name="emil")),
    Verb(accounts.recover_account, ("account.recovered",), plain(name="dora"), an_account("dora")),
    Verb(accounts.set_managed, ("account.managed",), plain(name="emil", managed=True), an_account("emil")),
    Verb(accounts.end_sign_ins, ("account.signed_out",), plain(name="dora"), an_account("dora")),
    Verb(accounts.link_identity, ("account.linked",), plain(name="dora", identity=Identity("https://login.example", "d-1"))),
    Verb(accounts.unlink_identity, ("account.unlinked",), plain(name="emil"), an_account("emil")),
    Verb(accounts.delete_account, ("account.deleted",), plain(name="dora"), an_account("dora")),
    Verb(claim_mappings.create_mapping, ("claim_mapping.created",), plain(value="theirs", group="analysts")),
    Verb(
        claim_mappings.delete_mapping,
        ("claim_mapping.deleted",),
        lambda snapshot: {"mapping_id": the_mapping(snapshot).id},
        the_mapping,
    ),
]
_APPROVALS = [
    Verb(
        approval_policies.create_policy,
        ("approval_policy.created",),
        plain(name="prod", environment="prod", modes=frozenset({RO}), steps=(NamedStep(("role:dba", "user:alice")),)),
    ),
    Verb(approval_policies.update_policy, ("approval_policy.changed",), plain(name="writing", max_seconds=7200), the_policy),
    Verb(approval_policies.delete_policy, ("approval_policy.deleted",), plain(name="writing"), the_policy),
]
#: Who signs in and who may do what goes first: others delete people.
_ALL = (*_SIGNING_IN, *_APPROVALS, *_ADMINS, *_USERS, *_GROUPS, *_TARGETS, *_GRANTS, *_ALLOWLIST, *_OTHERS)
VERBS = {verb.function: verb for verb in _ALL}

NOT_IN_THE_SMALL_WORLD = {users.set_own_verifier, lockdown.lift_lockdown, tokens.ensure_first_token}
"""These want another world, and have tests of their own."""
