"""Every verb of the services x every permission, against the published matrix; and what no permission gives."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest

import gateway.services
from gateway.access.accounts import Identity
from gateway.access.asking import ModeWanted
from gateway.access.managed import ManagedMode
from gateway.access.model import ListMode, Permission, TokenScope
from gateway.access.request_record import Word
from gateway.access.secret_reference import SecretReference
from gateway.access.user_rules import UserRules
from gateway.access.verifiers import make_verifier
from gateway.access_mode import AccessMode
from gateway.secret import Secret
from gateway.services import (
    access_requests,
    accounts,
    admin_roles,
    allowlist,
    approval_policies,
    certificates,
    claim_mappings,
    credentials,
    deliveries,
    environments,
    grants,
    groups,
    lockdown,
    managed_logins,
    manifest,
    outside_use,
    rotation,
    rotation_schedule,
    secret_references,
    sessions,
    signing_in,
    target_admins,
    targets,
    tokens,
    users,
    webhooks,
)
from gateway.services.access_requests import Asked, Listing
from gateway.services.actor import NotPermitted
from gateway.services.allowlist import Everybody, OfTarget, OfUser
from gateway.services.approval_terms import NamedStep
from gateway.services.errors import ServiceError
from gateway.services.grants import GroupHolder, UserHolder
from gateway.services.target_facts import Permitted, Place
from gateway.services.tokens import Bounds
from gateway.services.webhooks import WebhookChange
from gateway.store.vault import SealedVault, ensure_key
from tests.matrix.routes import ANYBODY, MODIFY, OWNER, POLICY
from tests.matrix.world import ACTORS, LATER, NOW, MemoryOutbox, MemoryStore, Need, TwoSessions, allows, asked, base

Verb = Callable[..., Coroutine[Any, Any, Any]]
RO, RW = AccessMode.READ_ONLY, AccessMode.READ_WRITE
CREATE, DESTROY = ("database", "create"), ("database", "deprovision")
OPEN, CLOSE = ("database", "create_endpoints"), ("database", "deprovision_endpoints")
SECRETS = ("database", "read_credentials")
CONFIGURATION = ("app", "read_configuration")
NOBODY = ("only", "its own people")
VERIFIER = Secret(make_verifier("another password", b"0123456789abcdef", iterations=4096))
CREDENTIAL = "cccccccc-0000-4000-8000-000000000001"
ME: Final = "{me}"


@dataclass(frozen=True)
class Call:
    verb: Verb
    need: Need
    given: Mapping[str, Any]


def call(verb: Verb, need: Need, **given: Any) -> Call:
    return Call(verb, need, given)


CALLS: Final = [
    call(access_requests.create_request, ANYBODY, asked=Asked(ModeWanted(RO), target_name="sales", reason="a report")),
    call(access_requests.decide_request, NOBODY, request=1, word=Word.YES, fingerprint=asked().wanted.fingerprint),
    call(access_requests.decide_request, POLICY, request=1, word=Word.NO, fingerprint=asked().wanted.fingerprint),
    call(access_requests.cancel_request, NOBODY, request=1),
    call(access_requests.relinquish_request, NOBODY, request=1),
    call(access_requests.revoke_request, POLICY, request=1),
    call(access_requests.review_break_glass, CONFIGURATION, request=1),
    call(access_requests.approve_on_call, OWNER, request_id="q-1", schedule="PABC123"),
    call(access_requests.list_requests, ANYBODY, listing=Listing(), now=NOW),
    call(access_requests.show_request, CONFIGURATION, request=1, now=NOW),
    call(access_requests.review_of, CONFIGURATION, request=1, now=NOW),
    call(access_requests.askable, ANYBODY, now=NOW),
    call(
        approval_policies.create_policy,
        OWNER,
        name="new",
        environment="there",
        modes=frozenset({RO}),
        steps=(NamedStep(("user:carl_c",)),),
    ),
    call(approval_policies.update_policy, OWNER, name="here", max_seconds=7200),
    call(approval_policies.delete_policy, OWNER, name="here"),
    call(accounts.create_account, OWNER, name="carl_c", password=Secret("a good password of carl 1")),
    call(accounts.delete_account, OWNER, name="bob_b"),
    call(accounts.end_sign_ins, OWNER, name="bob_b"),
    call(accounts.link_identity, OWNER, name="bob_b", identity=Identity("https://idp.example", "bob")),
    call(accounts.recover_account, OWNER, name="bob_b", keep_password=True),
    call(accounts.set_managed, OWNER, name="bob_b", managed=True),
    call(accounts.unlink_identity, OWNER, name="bob_b"),
    call(admin_roles.change_members, OWNER, name="spare", add=["bob_b"]),
    call(admin_roles.change_members, OWNER, name="spare", add=[ME]),
    call(admin_roles.change_members, OWNER, name="owners", add=[ME]),
    call(admin_roles.create_admin_role, OWNER, name="new"),
    call(admin_roles.delete_admin_role, OWNER, name="spare"),
    call(admin_roles.grant_permissions, OWNER, name="spare", environment="here", permissions=frozenset({Permission.TUNNEL})),
    call(admin_roles.revoke_permissions, OWNER, name="spare", environment="here", permissions=frozenset({Permission.READ})),
    call(allowlist.create_entry, OWNER, level=Everybody(), network="10.9.0.0/16"),
    call(allowlist.create_entry, OWNER, level=OfUser("bob_b"), network="10.9.0.0/16"),
    call(allowlist.create_entry, OPEN, level=OfTarget("sales"), network="10.9.0.0/16"),
    call(allowlist.delete_entry, OWNER, entry_id="n-all"),
    call(allowlist.delete_entry, CLOSE, entry_id="n-sales"),
    call(allowlist.delete_network, CLOSE, level=OfTarget("sales"), network="10.1.0.0/16"),
    call(allowlist.set_list_mode, OPEN, level=OfTarget("sales"), mode=ListMode.RESTRICT),
    call(allowlist.set_list_mode, OWNER, level=OfUser("bob_b"), mode=ListMode.RESTRICT),
    call(certificates.set_certificate_names, OWNER, name="bob_b", certificate_names=["cn:etl"]),
    call(claim_mappings.create_mapping, OWNER, value="dba", group="staff"),
    call(claim_mappings.delete_mapping, OWNER, mapping_id="m-1"),
    call(credentials.issue_credential, ("database", "create_tunnels"), target="sales", rules=credentials.Rules()),
    call(credentials.issue_credential, OWNER, target="sales", user="bob_b", rules=credentials.Rules()),
    call(credentials.revoke_credential, OWNER, credential=CREDENTIAL),
    call(environments.create_environment, OWNER, name="new"),
    call(environments.delete_environment, ("environment", "deprovision"), name="hollow"),
    call(environments.move_to_environment, POLICY, name="sales", environment="hollow"),
    call(environments.rename_environment, ("environment", "rename"), name="here", new_name="renamed"),
    call(grants.create_grant, POLICY, holder=UserHolder("bob_b"), target_name="sales", mode=RW),
    call(grants.create_grant, POLICY, holder=GroupHolder("staff"), target_name="sales", mode=RW),
    call(grants.create_grant, OWNER, holder=UserHolder(ME), target_name="sales", mode=RW),
    call(grants.create_grant, "there", holder=UserHolder("bob_b"), target_name="far", mode=RW),
    call(grants.revoke_grant, POLICY, grant_id="g-1"),
    call(grants.revoke_grant, "there", grant_id="g-2"),
    call(grants.revoke_grants, POLICY, holder=UserHolder("bob_b"), target_name="sales"),
    call(grants.update_grant, POLICY, grant_id="g-1", valid_until=LATER),
    call(groups.add_member, OWNER, group_name="staff", user_name="bob_b"),
    call(groups.add_member, OWNER, group_name="staff", user_name=ME),
    call(groups.create_group, OWNER, name="new"),
    call(groups.delete_group, OWNER, name="staff"),
    call(groups.remove_member, OWNER, group_name="staff", user_name="carl_c"),
    call(lockdown.lock_down, OWNER),
    call(lockdown.lift_lockdown, OWNER),
    call(
        manifest.apply_manifest,
        OWNER,
        manifest=manifest.parse_manifest({"version": 1, "groups": [{"name": "new", "members": []}]}),
        rules=UserRules(),
    ),
    call(sessions.cancel_session, MODIFY, gateway=TwoSessions(), session_id="s-sales"),
    call(sessions.terminate_session, MODIFY, session_id="s-sales", targets={"s-sales": "sales"}),
    call(sessions.terminate_sessions, MODIFY, session_ids=["s-sales"], targets={"s-sales": "sales"}),
    call(sessions.terminate_sessions, OWNER, session_ids=["s-sales"]),
    call(sessions.terminate_sessions, OWNER, session_ids=["s-sales", "s-far"], targets={"s-sales": "sales", "s-far": "far"}),
    call(signing_in.sign_out, OWNER, token=base().tokens["bobs"], user_name="bob_b"),
    call(targets.create_target, CREATE, name="new", place=Place("h", 5432, "d"), environment="here"),
    call(targets.create_target, OWNER, name="new", place=Place("h", 5432, "d")),
    call(targets.delete_target, DESTROY, name="sales"),
    call(targets.disable_target, MODIFY, name="sales"),
    call(targets.enable_target, MODIFY, name="sales"),
    call(targets.forbid, POLICY, name="sales", kind=Permitted.FUNCTION, item="shop.f"),
    call(targets.move_target, MODIFY, name="sales", change=lambda place: replace(place, dbname="other")),
    call(
        targets.move_target,
        ("only", "both"),
        name="sales",
        change=lambda place: replace(place, host="other"),
        passwords={RO: Secret("upstream")},
    ),
    call(targets.permit, POLICY, name="sales", kind=Permitted.SCHEMA, item="shop"),
    call(targets.remove_login, SECRETS, name="sales", mode=RO),
    call(targets.set_login, SECRETS, name="sales", mode=RO, login="app", password=Secret("upstream")),
    call(
        secret_references.refer_login,
        SECRETS,
        name="sales",
        mode=RO,
        login="app",
        reference=SecretReference.parse("vault:kv/pgbastion/sales"),
    ),
    call(targets.set_max_sessions, MODIFY, name="sales", max_sessions=9),
    call(targets.set_open_ahead, MODIFY, name="sales", open_ahead=2),
    call(target_admins.keep_admin, SECRETS, name="sales", login="postgres", password=Secret("of the admin")),
    call(target_admins.forget_admin, SECRETS, name="sales"),
    call(managed_logins.set_managed, SECRETS, name="sales", mode=ManagedMode.PER_USER),
    call(managed_logins.clean, SECRETS, name="sales", only_look=False, most=9),
    call(outside_use.observe, MODIFY, name="sales", every_seconds=60, keep_days=7),
    call(outside_use.stop_observing, MODIFY, name="sales"),
    call(rotation.rotate_credentials, SECRETS, name="sales"),
    call(rotation_schedule.set_rotate_every, MODIFY, name="sales", days=30),
    call(tokens.create_token, ANYBODY, name="new", scope=TokenScope.READ, valid_until=LATER),
    call(tokens.create_token, OWNER, name="new", scope=TokenScope.READ, valid_until=LATER, bounds=Bounds("bob_b")),
    call(tokens.revoke_token, OWNER, name="bobs"),
    call(tokens.revoke_token, OWNER, name="ownerless"),
    call(webhooks.create_webhook, OWNER, name="new", url="https://siem.example.com/hook"),
    call(webhooks.update_webhook, OWNER, name="siem", wanted=WebhookChange(enabled=False)),
    call(webhooks.rotate_webhook_secret, OWNER, name="siem"),
    call(webhooks.delete_webhook, OWNER, name="siem"),
    call(deliveries.try_webhook, OWNER, name="siem"),
    call(deliveries.redeliver, OWNER, message_id="o-1"),
    call(users.create_user, OWNER, name="dora_dd", rules=UserRules()),
    call(users.delete_user, OWNER, name="bob_b"),
    call(users.disable_user, OWNER, name="bob_b"),
    call(users.enable_user, OWNER, name="bob_b"),
    call(users.set_password, OWNER, name="bob_b", rules=UserRules()),
    call(users.set_password, ANYBODY, name=ME, rules=UserRules()),
    call(users.set_own_verifier, ANYBODY, user_id="u-{me}", credential_version=1, verifier=VERIFIER),
    call(users.set_user_expiry, OWNER, name="bob_b", valid_until=LATER),
    call(users.set_user_expiry, OWNER, name=ME, valid_until=LATER),
    call(users.set_verifier, OWNER, name="bob_b", verifier=VERIFIER),
    call(users.update_user, OWNER, name="bob_b", read_only=True),
]
WITH_VAULT: Final = {
    targets.move_target,
    targets.set_login,
    manifest.apply_manifest,
    managed_logins.clean,
    managed_logins.set_managed,
    target_admins.keep_admin,
    webhooks.create_webhook,
    webhooks.rotate_webhook_secret,
    webhooks.update_webhook,
}

LOOKS: Final = {access_requests.list_requests, access_requests.show_request, access_requests.review_of, access_requests.askable}

SATISFIED: Final = {
    "review-not-due",
    "admin-login-missing",
    "account-not-linked",
    "certificates-for-machines",
    "list-mode-unchanged",
    "nothing-to-change",
    "target-enabled-already",
    "user-enabled-already",
    "lockdown-unknown",
    "secret-unreadable",
    "sign-in-unknown",
}
"""Refusals about the state of things, which are told only to those within reach of them."""


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> SealedVault:
    folder: Path = tmp_path_factory.mktemp("services-matrix")
    ensure_key(folder / "master.key")
    return SealedVault.load(folder / "master.key")


async def refusal(each: Call, name: str, vault: SealedVault) -> ServiceError | None:
    given = {key: _for(value, name) for key, value in each.given.items()}
    first = _first(each.verb, vault)
    try:
        await each.verb(MemoryStore(), *first, **given, actor=name if ":" in name else f"user:{name}", **_reason(each.verb))
    except ServiceError as error:
        return error
    return None


def _first(verb: Verb, vault: SealedVault) -> tuple[Any, ...]:
    """What comes between the store and what is asked for."""
    if verb is rotation.rotate_credentials:
        return (rotation.Means(vault),)
    if verb in (deliveries.try_webhook, deliveries.redeliver):
        return (MemoryOutbox(),)
    return (vault,) if verb in WITH_VAULT else ()


def _reason(verb: Verb) -> dict[str, str]:
    return {"reason": "a test"} if "reason" in inspect.signature(verb).parameters else {}


def _for(value: Any, name: str) -> Any:
    match value:
        case str() if ME in value:
            return value.replace(ME, name)
        case [str() as one]:
            return [one.replace(ME, name)]
        case UserHolder(holder):
            return UserHolder(holder.replace(ME, name))
    return value


def allowed(need: Need, actor: str) -> bool:
    if need == NOBODY:
        return False
    if need == ("only", "both"):
        return allows(MODIFY, actor) and allows(SECRETS, actor)
    return allows(need, actor)


def test_every_verb_is_in_the_table() -> None:
    found = set()
    for module in pkgutil.iter_modules(gateway.services.__path__):
        loaded = importlib.import_module(f"gateway.services.{module.name}")
        for _, verb in inspect.getmembers(loaded, inspect.iscoroutinefunction):
            if verb.__module__ == loaded.__name__ and {"store", "actor"} <= inspect.signature(verb).parameters.keys():
                found.add(verb)
    assert found == {each.verb for each in CALLS}


async def test_every_verb_asks_for_every_permission(vault: SealedVault) -> None:
    wrong, checks = [], 0
    for each in CALLS:
        for actor, name in ACTORS.items():
            error = await refusal(each, name, vault)
            done = error is None or (error.rule in SATISFIED and not isinstance(error, NotPermitted))
            if done != allowed(each.need, actor) and not (done and error is not None):
                wrong.append((each.verb.__name__, dict(each.given), actor, error and (error.rule, error.message)))
            checks += 1
    assert not wrong, "\n".join(map(str, wrong))
    assert checks >= 800
    print(f"\n{checks} checks of services")


async def test_nobody_raises_their_own_rights(vault: SealedVault) -> None:
    own = call(grants.create_grant, OWNER, holder=UserHolder(ME), target_name="sales", mode=RW)
    error = await refusal(own, "may_admin", vault)
    assert error is not None
    assert error.rule == "own-rights"


async def test_a_token_that_only_looks_changes_nothing(vault: SealedVault) -> None:
    for each in CALLS:
        if each.verb in LOOKS:
            continue
        store = MemoryStore()
        looking = replace(store.snapshot.tokens["ownerless"], scope=TokenScope.READ)
        store.snapshot = replace(store.snapshot, tokens={**store.snapshot.tokens, "ownerless": looking})
        given = {key: _for(value, "may_admin") for key, value in each.given.items()}
        first = _first(each.verb, vault)
        with pytest.raises(ServiceError):
            await each.verb(store, *first, **given, actor="token:ownerless", **_reason(each.verb))
        assert store.events == [], each


async def test_a_token_has_what_its_user_has_and_what_it_was_made_for() -> None:
    store = MemoryStore()
    admin = store.snapshot.users["may_admin"].id
    token = replace(store.snapshot.tokens["bobs"], user_id=admin, permissions=frozenset({Permission.DEPLOY}))
    store.snapshot = replace(store.snapshot, tokens={**store.snapshot.tokens, "bobs": token})
    by = {"actor": "token:bobs", "reason": "a test"}
    await targets.set_max_sessions(store, name="sales", max_sessions=9, **by)
    with pytest.raises(NotPermitted):
        await targets.delete_target(store, name="sales", **by)
    for verb, given in (
        (users.set_password, {"name": "may_admin", "rules": UserRules()}),
        (tokens.create_token, {"name": "more", "scope": TokenScope.ADMIN, "valid_until": LATER}),
        (credentials.issue_credential, {"target": "sales", "rules": credentials.Rules()}),
    ):
        with pytest.raises(ServiceError):  # else it could make itself more than it is
            await verb(store, **given, **by)


async def test_the_last_owner_stays_an_owner() -> None:
    by = {"actor": "os:root", "reason": "a test"}
    for attempt in (
        lambda store: users.delete_user(store, name="boss", **by),
        lambda store: users.disable_user(store, name="boss", **by),
        lambda store: admin_roles.change_members(store, name="owners", remove=["boss"], **by),
        lambda store: admin_roles.delete_admin_role(store, name="owners", **by),
    ):
        with pytest.raises(ServiceError) as caught:
            await attempt(MemoryStore())
        assert caught.value.rule == "last-owner"
    store = MemoryStore()
    await admin_roles.change_members(store, name="owners", add=["bob_b"], remove=["boss"], **by)


async def test_an_owner_who_gives_to_themselves_is_written_down_as_such() -> None:
    store = MemoryStore()
    by = {"actor": "user:boss", "reason": "a test"}
    await grants.create_grant(store, holder=UserHolder("boss"), target_name="sales", mode=RW, **by)
    await grants.create_grant(store, holder=UserHolder("bob_b"), target_name="sales", mode=RW, **by)
    await groups.add_member(store, group_name="staff", user_name="boss", **by)
    assert [event.detail.get("self", False) for event in store.events] == [True, False, True]
