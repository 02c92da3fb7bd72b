"""A person signs in: proves who they are with a password and a code, and gets a token that has their rights for some hours.

Who is refused is told nothing but that; the audit says what was wrong. How often one may try is bounded by whoever calls this.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from gateway.access.accounts import Account
from gateway.access.model import ApiToken, TokenKind, TokenScope, User
from gateway.audit.admin_event import DetailValue
from gateway.ports import SealedUse, SecretBox, Store
from gateway.secret import Secret
from gateway.services.accounts import end_sign_ins_of
from gateway.services.actor import NotPermitted
from gateway.services.change import Change, begin
from gateway.services.errors import ServiceError
from gateway.services.lookup import is_live
from gateway.services.naming import SYSTEM
from gateway.services.sign_in_proofs import (
    check_sign_in_password,
    hash_password,
    is_password,
    new_authenticator_secret,
    new_recovery_codes,
    otpauth_url,
    recovery_hash,
    step_of,
)
from gateway.services.tokens import make_session_token

SIGN_IN: Final = "sign-in"
_SEPARATOR: Final = "\n"


class CodeRequired(StrEnum):
    """For whom a code is a must. ADMINS: whoever holds any admin role."""

    NOBODY = "nobody"
    OWNERS = "owners"
    ADMINS = "admins"
    EVERYBODY = "everybody"


@dataclass(frozen=True, slots=True)
class Terms:
    """What the settings say: how long a sign-in lasts, and who needs a code."""

    lifetime: timedelta
    code_required: CodeRequired


@dataclass(frozen=True, slots=True)
class Proofs:
    """`code`: of the authenticator, or a recovery code. `address`: from where, for the audit."""

    name: str
    password: Secret
    code: str = field(default="", repr=False)
    address: str = ""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """`secret` is the token, `recovery_codes` those that were just made: both to be shown once."""

    user: User
    token: ApiToken
    secret: Secret
    codes_left: int
    recovery_codes: tuple[Secret, ...] = ()


@dataclass(frozen=True, slots=True)
class Enrolment:
    """An authenticator that is being set up. `url` holds its secret; `pending` brings it back, sealed, for `enrol`."""

    user: User
    url: Secret
    secret: Secret
    pending: bytes


class SignInRefused(ServiceError):
    """`user` and `what` are for the log and the audit, and for nobody else."""

    def __init__(self, user: User | None, what: str, message: str = "the name, the password or the code is wrong") -> None:
        super().__init__("sign-in-refused", message, "Each code is good once.")
        self.user = user
        self.what = what


async def sign_in(store: Store, box: SecretBox, *, proofs: Proofs, terms: Terms) -> SignedIn:
    """Raises SignInRefused, or ServiceError "authenticator-required" for who has to set up one first."""
    async with _proving(store, proofs) as (change, user, account):
        account, how = _with_code(box, user, account, proofs.code, change.now)
        if how == "password" and _needs_code(change, terms):
            hint = f"Set it up: pgbastion accounts enrol {user.name}"
            raise ServiceError("authenticator-required", f'user "{user.name}" needs an authenticator to sign in', hint)
        return await let_in(change, user, account, terms, how=how, address=proofs.address)


async def begin_enrolment(store: Store, box: SecretBox, *, proofs: Proofs) -> Enrolment:
    """A new authenticator for somebody who knows the password and, where they have one already, shows a code of the old one.

    Nothing is stored but that the code was used. Raises SignInRefused.
    """
    async with _proving(store, proofs) as (change, user, account):
        used, how = _with_code(box, user, account, proofs.code, change.now)
        if how != "password":
            change.require(SIGN_IN, user_id=user.id)
            await change.save(used, "account.code_used", user.name, {"address": proofs.address, "how": how})
        secret = new_authenticator_secret()
        content = Secret(_SEPARATOR.join((account.password_hash or "", secret.reveal(), change.now.isoformat())))
        sealed = box.seal_for(SealedUse.ENROLMENT, user.id, content)
        return Enrolment(user, otpauth_url(secret, user.name), secret, sealed)


async def enrol(store: Store, box: SecretBox, *, proofs: Proofs, pending: bytes, patience: timedelta, terms: Terms) -> SignedIn:
    """The authenticator shows the right code: from now on it is asked for. All other sign-ins end, and recovery codes are made.

    `pending`: of an enrolment at most `patience` ago. Raises SignInRefused, and the box's error for what is none.
    """
    async with _proving(store, proofs) as (change, user, old):
        password_hash, text, at = box.open_for(SealedUse.ENROLMENT, user.id, pending).reveal().split(_SEPARATOR)
        secret = Secret(text)
        step = step_of(secret, proofs.code, change.now, 0)
        too_late = change.now > datetime.fromisoformat(at) + patience or password_hash != old.password_hash
        if step is None or too_late:
            raise SignInRefused(user, "enrolment")
        codes = new_recovery_codes()
        hashes = frozenset(recovery_hash(code.reveal()) for code in codes)
        sealed = box.seal_for(SealedUse.AUTHENTICATOR, user.id, secret)
        account = replace(old, sealed_secret=sealed, last_step=step, recovery_hashes=hashes)
        change.require(SIGN_IN, user_id=user.id)
        change.note("account.enrolled", user.id, user.name, {"address": proofs.address, "replaces": bool(old.sealed_secret)})
        end_sign_ins_of(change, user)
        made = await let_in(change, user, account, terms, how="password+code", address=proofs.address)
        return replace(made, recovery_codes=tuple(codes))


async def change_own_password(store: Store, box: SecretBox, *, proofs: Proofs, password: Secret) -> Account:
    """Another password, for somebody who knows the old one and has a code. All sign-ins end. Raises SignInRefused."""
    check_sign_in_password(password)
    hashed = await asyncio.to_thread(hash_password, password)
    async with _proving(store, proofs) as (change, user, account):
        account, how = _with_code(box, user, account, proofs.code, change.now)
        change.require(SIGN_IN, user_id=user.id)
        detail: dict[str, DetailValue] = {
            "address": proofs.address,
            "how": how,
            "sign_ins_ended": end_sign_ins_of(change, user),
        }
        return await change.save(replace(account, password_hash=hashed), "account.password_changed", user.name, detail)


async def sign_out(store: Store, *, token: ApiToken, user_name: str, actor: str) -> None:
    """This sign-in ends; others of the same person go on."""
    async with begin(store, actor, "") as change:
        change.require(SIGN_IN, user_id=token.user_id)
        if change.snapshot.tokens.get(token.name) != token:
            raise ServiceError("sign-in-unknown", "this sign-in has ended already")
        change.also_remove(token)
        change.note("sign_in.ended", token.user_id or token.id, user_name, {"sign_in": token.name})
        await change.commit()


async def note_refused(store: Store, refused: SignInRefused, address: str) -> None:
    """Write down a refusal of somebody who exists. (Of anybody else, the operators' log alone speaks.)"""
    if refused.user is None:
        return
    async with begin(store, SYSTEM, "") as change:
        detail = {"address": address, "what": refused.what}
        change.note("sign_in.refused", refused.user.id, refused.user.name, detail)
        await change.commit()


@asynccontextmanager
async def _proving(store: Store, proofs: Proofs) -> AsyncIterator[tuple[Change, User, Account]]:
    """The password is right, and the person may do what they came for. Raises SignInRefused.

    The password is held against its hash before anybody is kept from changing the store: it takes a while.
    """
    snapshot = await store.read()
    user = snapshot.users.get(proofs.name)
    account = None if user is None else snapshot.accounts.get(user.id)
    stored = None if account is None else account.password_hash
    if not await asyncio.to_thread(is_password, stored, proofs.password) or user is None:
        raise SignInRefused(user, "password" if stored is not None else "no password")
    try:
        async with begin(store, f"user:{user.name}", "") as change:
            now_known = change.snapshot.accounts.get(user.id)
            if change.who.user_id != user.id or now_known is None or now_known.password_hash != stored:
                raise SignInRefused(user, "changed meanwhile")
            yield change, user, now_known
    except NotPermitted:  # disabled, expired, or not vouched for
        raise SignInRefused(user, "may not log in") from None


def _with_code(box: SecretBox, user: User, account: Account, code: str, now: datetime) -> tuple[Account, str]:
    """The account with that code used up, and how they proved themselves."""
    if account.sealed_secret is None:
        return account, "password"
    text = code.replace(" ", "")
    secret = box.open_for(SealedUse.AUTHENTICATOR, account.id, account.sealed_secret)
    if (step := step_of(secret, text, now, account.last_step)) is not None:
        return replace(account, last_step=step), "password+code"
    if (hashed := recovery_hash(text)) in account.recovery_hashes:
        return replace(account, recovery_hashes=account.recovery_hashes - {hashed}), "password+recovery-code"
    raise SignInRefused(user, "code" if text else "no code")


def _needs_code(change: Change, terms: Terms) -> bool:
    match terms.code_required:
        case CodeRequired.NOBODY:
            return False
        case CodeRequired.OWNERS:
            return change.who.owner
        case CodeRequired.ADMINS:
            return change.who.owner or bool(change.who.rights)
        case CodeRequired.EVERYBODY:
            return True


async def let_in(change: Change, user: User, account: Account, terms: Terms, *, how: str, address: str) -> SignedIn:
    """Who has proved who they are gets a token. Everything staged is committed with it."""
    change.require(SIGN_IN, user_id=user.id)
    for old in change.snapshot.tokens.values():
        if old.kind is TokenKind.SESSION and old.user_id == user.id and not is_live(old.valid_until, change.now):
            change.also_remove(old)
    until = change.now + terms.lifetime
    if user.valid_until is not None:
        until = min(until, user.valid_until)
    token, secret = make_session_token(change.now, until, user, change.actor, TokenScope.ADMIN)
    change.also_put(account)
    detail = {"sign_in": token.name, "how": how, "address": address, "valid_until": until.isoformat()}
    change.also_put(token)
    change.note("sign_in.created", user.id, user.name, detail)
    token = replace(token, version=await change.commit())
    return SignedIn(user, token, secret, len(account.recovery_hashes))
