"""How people sign in, as owners arrange it: who has an account, what they prove themselves with, how a lost proof is replaced.

Nothing here adds a right. A password is shown once, to whoever made it; an authenticator's secret to the person (see signing_in).
"""

import asyncio
from dataclasses import dataclass, replace

from gateway.access.accounts import Account, Identity, Standing
from gateway.access.model import Snapshot, TokenKind, User
from gateway.audit.admin_event import DetailValue
from gateway.ports import Store
from gateway.secret import Secret
from gateway.services.change import Change, begin
from gateway.services.errors import ServiceError
from gateway.services.lookup import check_version, find_user
from gateway.services.naming import check_subject
from gateway.services.sign_in_proofs import check_sign_in_password, hash_password, new_password

CHANGE = "accounts.change"


@dataclass(frozen=True, slots=True)
class AccountPassword:
    """`generated` is the password that was made, to be shown once; None: it was chosen, or stays."""

    account: Account
    generated: Secret | None


async def create_account(
    store: Store, *, name: str, password: Secret | None = None, actor: str, reason: str
) -> AccountPassword:
    """Let a person sign in with a password. Without one, one is made."""
    hashed, generated = await _hashed(password)
    async with begin(store, actor, reason) as change:
        change.require(CHANGE)
        user = find_user(change.snapshot, name)
        old = change.snapshot.accounts.get(user.id, Account(user.id))
        if old.password_hash is not None:
            hint = f"To give them another password: pgbastion accounts recover {name}"
            raise ServiceError("account-exists", f'user "{name}" has a password for signing in already', hint)
        account = replace(old, password_hash=hashed)
        return AccountPassword(await change.save(account, "account.created", name, {"password": _made(generated)}), generated)


async def recover_account(
    store: Store,
    *,
    name: str,
    password: Secret | None = None,
    keep_password: bool = False,
    actor: str,
    reason: str,
    expected_version: int | None = None,
) -> AccountPassword:
    """For a lost authenticator or password: both are replaced, recovery codes are void, and all sign-ins end.

    `keep_password`: only the authenticator was lost; whoever knows the password sets up another one at the next sign-in.
    """
    hashed, generated = (None, None) if keep_password else await _hashed(password)
    async with begin(store, actor, reason) as change:
        change.require(CHANGE)
        user, old = find_account(change.snapshot, name, expected_version)
        if keep_password and old.sealed_secret is None:
            raise ServiceError("nothing-to-change", f'user "{name}" has no authenticator to begin with')
        account = replace(
            old, password_hash=hashed or old.password_hash, sealed_secret=None, last_step=0, recovery_hashes=frozenset()
        )
        made = "kept" if keep_password else _made(generated)
        detail: dict[str, DetailValue] = {"password": made, "authenticator": "removed" if old.sealed_secret else "none"}
        detail["sign_ins_ended"] = end_sign_ins_of(change, user)
        return AccountPassword(await change.save(account, "account.recovered", name, detail), generated)


async def delete_account(store: Store, *, name: str, actor: str, reason: str, expected_version: int | None = None) -> Account:
    """They cannot sign in any more, in no way; all sign-ins end. The person and their rights stay."""
    async with begin(store, actor, reason) as change:
        change.require(CHANGE)
        user, account = find_account(change.snapshot, name, expected_version)
        return await change.drop(account, "account.deleted", name, {"sign_ins_ended": end_sign_ins_of(change, user)})


async def link_identity(
    store: Store, *, name: str, identity: Identity, managed: bool = False, actor: str, reason: str
) -> Account:
    """Whoever is this to the identity provider is this user here. `managed`: see Account."""
    check_subject(identity.issuer, identity.subject)
    async with begin(store, actor, reason) as change:
        change.require(CHANGE)
        user = find_user(change.snapshot, name)
        check_identity_is_free(change.snapshot, identity)
        old = change.snapshot.accounts.get(user.id, Account(user.id))
        if old.identity is not None:
            hint = f"First: pgbastion accounts unlink {name}"
            raise ServiceError("account-linked-already", f'user "{name}" is linked to an identity already', hint)
        account = replace(old, identity=identity, managed=managed, standing=Standing.GOOD)
        return await change.save(account, "account.linked", name, {**_shown(identity), "managed": managed})


async def unlink_identity(store: Store, *, name: str, actor: str, reason: str, expected_version: int | None = None) -> Account:
    """No way in through the provider any more; all sign-ins end."""
    async with begin(store, actor, reason) as change:
        change.require(CHANGE)
        user, old = find_account(change.snapshot, name, expected_version)
        if old.identity is None:
            raise ServiceError("nothing-to-change", f'user "{name}" is not linked to an identity')
        account = replace(old, identity=None, managed=False, standing=Standing.GOOD)
        detail = {**_shown(old.identity), "sign_ins_ended": end_sign_ins_of(change, user)}
        return await change.save(account, "account.unlinked", name, detail)


async def set_managed(
    store: Store, *, name: str, managed: bool, actor: str, reason: str, expected_version: int | None = None
) -> Account:
    """Whether access to databases depends, too, on the provider's word."""
    async with begin(store, actor, reason) as change:
        change.require(CHANGE)
        _, old = find_account(change.snapshot, name, expected_version)
        if old.identity is None:
            raise ServiceError("account-not-linked", f'user "{name}" is not linked to an identity', "See: accounts link")
        if old.managed == managed:
            raise ServiceError("nothing-to-change", f'user "{name}" is {"" if managed else "not "}managed already')
        action = "account.managed" if managed else "account.unmanaged"
        return await change.save(replace(old, managed=managed), action, name)


async def end_sign_ins(store: Store, *, name: str, actor: str, reason: str, expected_version: int | None = None) -> Account:
    """Sign somebody out everywhere, say when a computer was lost."""
    async with begin(store, actor, reason) as change:
        change.require(CHANGE)
        user, account = find_account(change.snapshot, name, expected_version)
        ended = end_sign_ins_of(change, user)
        if not ended:
            raise ServiceError("sign-in-unknown", f'user "{name}" is not signed in')
        return await change.save(account, "account.signed_out", name, {"sign_ins_ended": ended})


def find_account(snapshot: Snapshot, name: str, expected_version: int | None = None) -> tuple[User, Account]:
    user = find_user(snapshot, name)
    account = snapshot.accounts.get(user.id)
    if account is None:
        hint = f"To let them: pgbastion accounts create {name}, or pgbastion accounts link {name}"
        raise ServiceError("account-unknown", f'user "{name}" has no way to sign in', hint)
    check_version(f'the account of user "{name}"', account.version, expected_version)
    return user, account


def account_of(snapshot: Snapshot, identity: Identity) -> Account | None:
    return next((each for each in snapshot.accounts.values() if each.identity == identity), None)


def check_identity_is_free(snapshot: Snapshot, identity: Identity) -> None:
    if (taken := account_of(snapshot, identity)) is not None:
        whose = next((user.name for user in snapshot.users.values() if user.id == taken.id), "")
        raise ServiceError("identity-exists", f'this identity is linked to user "{whose}" already')


def end_sign_ins_of(change: Change, user: User) -> int:
    """Stage it; how many that are live."""
    ended = 0
    for token in change.snapshot.tokens.values():
        if token.kind is TokenKind.SESSION and token.user_id == user.id:
            ended += change.now < token.valid_until
            change.also_remove(token)
    return ended


async def _hashed(password: Secret | None) -> tuple[str, Secret | None]:
    """Before the store is asked: it takes a while, and nobody else should wait for it."""
    generated = None
    if password is None:
        password = generated = new_password()
    check_sign_in_password(password)
    return await asyncio.to_thread(hash_password, password), generated


def _made(generated: Secret | None) -> str:
    return "chosen" if generated is None else "generated"


def _shown(identity: Identity) -> dict[str, DetailValue]:
    return {"issuer": identity.issuer, "subject": identity.subject}
