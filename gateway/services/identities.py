"""People whom an identity provider vouches for: their sign-ins, what their groups there mean here, what follows from a no.

The caller has verified what the provider said. What follows from it here is done by `system`; the sign-in itself is the person's.
"""

import re
import secrets
from collections.abc import Set
from dataclasses import dataclass, replace
from typing import Final

from gateway.access.accounts import Account, Identity, Standing
from gateway.access.authorize import user_by_id
from gateway.access.model import AdminRole, ListMode, User
from gateway.access.user_rules import UserRules
from gateway.access.verifiers import make_verifier
from gateway.audit.admin_event import DetailValue
from gateway.ports import Store
from gateway.services.accounts import account_of, end_sign_ins_of
from gateway.services.actor import NotPermitted
from gateway.services.change import Change, begin, new_id
from gateway.services.errors import ServiceError
from gateway.services.lookup import check_name_is_free
from gateway.services.naming import SYSTEM, check_subject, check_user_name
from gateway.services.owners import check_owners_stay
from gateway.services.sign_in_proofs import new_password
from gateway.services.signing_in import SignedIn, SignInRefused, Terms, let_in

_VOUCHED: Final = "the identity provider says so"
_SALT_BYTES: Final = 16
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_]")


@dataclass(frozen=True, slots=True)
class Vouched:
    """What the provider says of somebody. `groups` None: it does not say."""

    identity: Identity
    name: str | None = None
    email: str | None = None
    groups: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Newcomers:
    """Somebody whom nobody has linked gets an account. `managed`: see Account. `rules`: which names users may have."""

    managed: bool
    rules: UserRules


async def sign_in_vouched(
    store: Store, *, vouched: Vouched, terms: Terms, newcomers: Newcomers | None, address: str
) -> SignedIn:
    """Raises ServiceError "identity-not-linked" for a stranger where `newcomers` is None, SignInRefused for who may not log in."""
    check_subject(vouched.identity.issuer, vouched.identity.subject)
    user_id = await _prepare(store, vouched, newcomers)
    snapshot = await store.read()
    user = user_by_id(snapshot, user_id)
    if user is None:
        raise SignInRefused(None, "changed meanwhile")
    try:
        async with begin(store, f"user:{user.name}", "") as change:
            account = change.snapshot.accounts.get(user_id)
            if change.who.user_id != user_id or account is None or account.identity != vouched.identity:
                raise SignInRefused(user, "changed meanwhile")
            return await let_in(change, user, account, terms, how="identity provider", address=address)
    except NotPermitted:
        raise SignInRefused(user, "may not log in") from None


async def vouch_again(store: Store, *, account_id: str, groups: frozenset[str] | None) -> None:
    """The provider still says yes. A no is not taken back so: that takes a new sign-in. Nothing new is nothing done."""
    async with begin(store, SYSTEM, _VOUCHED) as change:
        account = change.snapshot.accounts.get(account_id)
        user = user_by_id(change.snapshot, account_id)
        if account is None or user is None or account.standing is Standing.REFUSED:
            return
        changed = _follow_groups(change, user, groups)
        if account.standing is Standing.UNVERIFIED:
            change.put(replace(account, standing=Standing.GOOD), "account.vouched_for", user.name)
            changed = True
        if changed:
            await change.commit()


async def hold_back(store: Store, *, account_id: str, standing: Standing, why: str) -> None:
    """The provider says no, or nothing for too long: sign-ins end and, of who is managed, sessions. `why`: for the audit."""
    async with begin(store, SYSTEM, why) as change:
        account = change.snapshot.accounts.get(account_id)
        user = user_by_id(change.snapshot, account_id)
        if account is None or user is None or account.standing in (standing, Standing.REFUSED):
            return
        detail: dict[str, DetailValue] = {"managed": account.managed}
        detail["sign_ins_ended"] = end_sign_ins_of(change, user)
        await change.save(replace(account, standing=standing), f"account.{standing.value}", user.name, detail)


async def _prepare(store: Store, vouched: Vouched, newcomers: Newcomers | None) -> str:
    """Whose id this is. An account is made, a former no taken back, and groups are followed, as far as there is anything to do."""
    async with begin(store, SYSTEM, _VOUCHED) as change:
        account = account_of(change.snapshot, vouched.identity)
        changed = account is None or account.standing is not Standing.GOOD
        if account is None:
            user = _newcomer(change, vouched, newcomers)
        else:
            found = user_by_id(change.snapshot, account.id)
            if found is None or not found.enabled:
                raise SignInRefused(found, "disabled")
            user = found
            if changed:
                change.put(replace(account, standing=Standing.GOOD), "account.vouched_for", user.name)
        if _follow_groups(change, user, vouched.groups) or changed:
            await change.commit()
        return user.id


def _newcomer(change: Change, vouched: Vouched, newcomers: Newcomers | None) -> User:
    identity = vouched.identity
    if newcomers is None or vouched.name is None:
        hint = f"Ask an owner to run: pgbastion accounts link NAME --subject {identity.subject}"
        raise ServiceError(
            "identity-not-linked", "the identity provider knows you, but nobody has linked you to a user here", hint
        )
    name = _NOT_IN_NAMES.sub("_", vouched.name.partition("@")[0])
    check_user_name(name, newcomers.rules)
    check_name_is_free("user", name, change.snapshot.users)
    # Of this password nobody will ever know: there are short-lived credentials, and `pgbastion passwd`.
    verifier = make_verifier(new_password().reveal(), secrets.token_bytes(_SALT_BYTES))
    user = User(new_id(), name, verifier, True, None, ListMode.INHERIT, 1, email=vouched.email)
    change.put(user, "user.created", user.name, {"password": "none", "issuer": identity.issuer, "subject": identity.subject})
    account = Account(user.id, identity=identity, managed=newcomers.managed)
    detail: dict[str, DetailValue] = {"issuer": identity.issuer, "subject": identity.subject, "managed": newcomers.managed}
    change.put(account, "account.linked", user.name, detail)
    return user


def _follow_groups(change: Change, user: User, groups: Set[str] | None) -> bool:
    """Be a member of what is mapped and named, and of nothing that is mapped and not named. The rest stays as it is."""
    if groups is None:
        return False
    snapshot = change.snapshot
    wanted = {(each.group_id, each.role_id) for each in snapshot.claim_mappings if each.value in groups}
    mapped = {(each.group_id, each.role_id) for each in snapshot.claim_mappings}
    changed = False
    for group in snapshot.groups.values():
        if (group.id, None) in mapped and (user.id in group.members) != ((group.id, None) in wanted):
            joins = (group.id, None) in wanted
            members = group.members | {user.id} if joins else group.members - {user.id}
            action = "group.member_added" if joins else "group.member_removed"
            change.put(replace(group, members=members), action, group.name, {"user": user.name})
            changed = True
    for role in snapshot.admin_roles.values():
        if (None, role.id) in mapped and (user.id in role.members) != ((None, role.id) in wanted):
            changed = _follow_role(change, user, role, holds=(None, role.id) in wanted) or changed
    return changed


def _follow_role(change: Change, user: User, role: AdminRole, *, holds: bool) -> bool:
    """The last owner stays one, whatever the provider says: else nobody could mend it."""
    after = replace(role, members=role.members | {user.id} if holds else role.members - {user.id})
    try:
        check_owners_stay(change.snapshot, [after], [])
    except ServiceError:
        return False
    detail: dict[str, DetailValue] = {"added": (user.name,) if holds else (), "removed": () if holds else (user.name,)}
    change.put(after, "admin_role.members_changed", role.name, detail)
    return True
