"""What it takes to change a row: worked out from the row as it was and as it is to be, so that no verb can forget to ask. Pure.

A field that is not named here takes what changing policy takes; a kind of row that is not named here is the owners'.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Final

from gateway.access.accounts import Account, ClaimMapping
from gateway.access.approvals import ApprovalPolicy
from gateway.access.managed import ManagedLogin
from gateway.access.model import AdminRole, AllowlistEntry, ApiToken, Environment, Grant, Group, Snapshot, Target, User
from gateway.access.proof import Credential
from gateway.access.request_record import AccessRequest
from gateway.access.webhooks import Webhook
from gateway.ports import (
    ChangeableRow,
    FormerLogin,
    GrantEnding,
    OutboxMessage,
    Redelivery,
    SessionTermination,
    TargetAdmin,
    TargetObservation,
)
from gateway.services.actor import Actor, NotPermitted, require
from gateway.services.errors import ServiceError
from gateway.services.lookup import all_grants

_FIELDS: Final = {
    "host": "targets.update",
    "port": "targets.update",
    "dbname": "targets.update",
    "tls": "targets.update",
    "ca_pem": "targets.update",
    "allow_md5": "targets.update",
    "enabled": "targets.update",
    "max_sessions": "targets.update",
    "open_ahead": "targets.update",
    "rotate_every_days": "targets.update",
    "managed": "targets.managed",
    "allowlist": "allowlist.mode",
    "roles": "targets.login",
    "environment_id": "targets.move",
}
_OTHER_FIELDS: Final = "targets.permit"
_BOOKKEEPING: Final = frozenset({"id", "revision", "version"})
_OWN_PROOFS: Final = frozenset({"password_hash", "sealed_secret", "last_step", "recovery_hashes", "version"})
_OWN_PASSWORD: Final = frozenset({"verifier", "credential_version", "version"})


@dataclass(frozen=True, slots=True)
class Need:
    """The arguments of `require`."""

    verb: str
    environment_id: str | None = None
    user_id: str | None = None


def check_put(actor: Actor, row: ChangeableRow, snapshot: Snapshot) -> None:
    """May the actor insert or replace this? `snapshot`: before it. Raises NotPermitted, and ServiceError for own rights."""
    if actor.owner and not actor.only_looks:
        return
    for need in _needs(row, snapshot, removed=False):
        require(actor, need.verb, snapshot, environment_id=need.environment_id, user_id=need.user_id)
    if isinstance(row, Grant) and actor.is_own(row.holder_id):
        raise ServiceError(
            "own-rights", "nobody gives rights to themselves, or to a group that they are in", "Ask another admin, or an owner."
        )
    if isinstance(row, ApiToken) and actor.token is not None and _is_more(row, actor.token):
        raise ServiceError("own-rights", "a token cannot make one that lasts longer than itself", "Sign in to make one.")


def check_remove(actor: Actor, row: ChangeableRow, snapshot: Snapshot) -> None:
    """May the actor remove this? Raises NotPermitted."""
    if actor.owner and not actor.only_looks:
        return
    for need in _needs(row, snapshot, removed=True):
        require(actor, need.verb, snapshot, environment_id=need.environment_id, user_id=need.user_id)


def speaks_for_itself(row: ChangeableRow) -> bool:
    """Whether the row says what it takes. Of others the verb has to ask by itself, else they are the owners'."""
    return not isinstance(row, SessionTermination | AccessRequest | GrantEnding | OutboxMessage)


def gives_to(row: ChangeableRow, actor: Actor, snapshot: Snapshot) -> bool:
    """Whether this gives the actor something that they had not: the audit says so of owners, who may."""
    mine = actor.user_id
    match row:
        case Grant():
            return actor.is_own(row.holder_id)
        case Group() | AdminRole():
            rows: Mapping[str, Group | AdminRole] = snapshot.groups if isinstance(row, Group) else snapshot.admin_roles
            old = next((each for each in rows.values() if each.id == row.id), None)
            return mine in row.members and (isinstance(row, AdminRole) or old is None or mine not in old.members)
    return False


def _needs(row: ChangeableRow, snapshot: Snapshot, *, removed: bool) -> Iterator[Need]:
    match row:
        case Target():
            yield from _target_needs(row, _target(snapshot, row.id), removed=removed)
        case Grant():
            known = next((each for each in all_grants(snapshot) if each.id == row.id), row)
            for target_id in {row.target_id, known.target_id}:
                yield Need("grants.revoke" if removed else "grants.create", _environment(snapshot, target_id))
        case AllowlistEntry(target_id=str() as target_id):
            yield Need("allowlist.remove" if removed else "allowlist.add", _environment(snapshot, target_id))
        case AllowlistEntry():
            yield Need("allowlist.others")
        case Environment():
            known_here = any(each.id == row.id for each in snapshot.environments.values())
            changed = "environments.rename" if known_here else "environments.create"
            yield Need("environments.delete" if removed else changed, row.id)
        case ApiToken():
            old = next((each for each in snapshot.tokens.values() if each.id == row.id), row)
            own = row.user_id is not None and row.user_id == old.user_id
            yield Need("tokens.own", user_id=row.user_id) if own else Need("tokens.others")
        case Credential():
            yield Need("credentials.own", user_id=row.user_id)
        case User():
            yield _user_need(row, snapshot, removed=removed)
        case Account():
            yield _account_need(row, snapshot, removed=removed)
        case ClaimMapping():
            yield Need("claim-mappings.change")
        case TargetObservation():
            yield Need("targets.observe", _environment(snapshot, row.target_id))
        case TargetAdmin(target_id=target_id) | FormerLogin(target_id=target_id):
            yield Need("targets.adopt", _environment(snapshot, target_id))
        case ManagedLogin(key=key):
            yield Need("targets.managed", _environment(snapshot, key.target_id))
        case SessionTermination() | AccessRequest() | GrantEnding() | OutboxMessage():
            return  # what a request leads to, the policy says, and services/access_requests.py asks it
        case ApprovalPolicy():
            yield Need("approval-policies.change")
        case Webhook() | Redelivery():
            yield Need("webhooks.change")
        case _:
            yield Need(f"{type(row).__name__.lower()}.change")


def _target_needs(row: Target, old: Target | None, *, removed: bool) -> Iterator[Need]:
    if removed:
        yield Need("targets.delete", (old or row).environment_id)
        return
    if old is None:
        yield Need("targets.create", row.environment_id)
        if row.roles:
            yield Need("targets.login", row.environment_id)
        return
    changed = {each.name for each in fields(Target) if getattr(row, each.name) != getattr(old, each.name)} - _BOOKKEEPING
    for verb in {_FIELDS.get(name, _OTHER_FIELDS) for name in changed}:
        yield Need(verb, old.environment_id)
        if verb == "targets.move":
            yield Need(verb, row.environment_id)


def _user_need(row: User, snapshot: Snapshot, *, removed: bool) -> Need:
    old = next((each for each in snapshot.users.values() if each.id == row.id), None)
    if old is None or removed:
        return Need("users.change")
    changed = {each.name for each in fields(User) if getattr(row, each.name) != getattr(old, each.name)}
    return Need("users.password", user_id=row.id) if changed <= _OWN_PASSWORD else Need("users.change")


def _account_need(row: Account, snapshot: Snapshot, *, removed: bool) -> Need:
    """What they prove themselves with is a person's own affair; who they are to an identity provider is not."""
    old = snapshot.accounts.get(row.id)
    if old is None or removed:
        return Need("accounts.change")
    changed = {each.name for each in fields(Account) if getattr(row, each.name) != getattr(old, each.name)}
    return Need("sign-in", user_id=row.id) if changed <= _OWN_PROOFS else Need("accounts.change")


def _is_more(row: ApiToken, token: ApiToken) -> bool:
    return row.id != token.id and row.valid_until > token.valid_until


def _target(snapshot: Snapshot, target_id: str) -> Target | None:
    return next((each for each in snapshot.targets.values() if each.id == target_id), None)


def _environment(snapshot: Snapshot, target_id: str) -> str:
    target = _target(snapshot, target_id)
    if target is None:
        raise NotPermitted("this target is not there any more")
    return target.environment_id
