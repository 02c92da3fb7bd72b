"""Accounts. A change that takes a right away ends the account's live sessions within a second."""

import secrets
import uuid
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from gateway.access.model import ListMode, User
from gateway.access.verifiers import make_verifier
from gateway.audit.admin_event import AdminEvent
from gateway.ports import Store
from gateway.secret import Secret
from gateway.services.errors import ServiceError
from gateway.services.lookup import check_name_is_free, find_user
from gateway.services.naming import check_expiry, check_password, check_remark, check_user_name

_GENERATED_BYTES: Final = 48
"""64 characters of base64url: 384 bits, and nothing that a URI or a .pgpass line would need to escape."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """`generated` is the password that was made, to be shown once; None when the person chose it."""

    user: User
    generated: Secret | None


async def create_user(
    store: Store,
    *,
    name: str,
    password: Secret | None = None,
    valid_until: datetime | None = None,
    actor: str,
    reason: str,
) -> Credentials:
    """A new account, without any right. Without a password one is generated."""
    check_user_name(name)
    check_remark("reason", reason)
    verifier, generated = _verifier_for(password)
    async with store.begin() as work:
        check_expiry(valid_until, work.now)
        check_name_is_free("user", name, work.snapshot.users)
        user = User(str(uuid.uuid4()), name, verifier, True, valid_until, ListMode.INHERIT, 1)
        work.put(user)
        await work.commit(
            AdminEvent(
                actor,
                "user.created",
                user.id,
                name,
                reason,
                {"valid_until": _shown(valid_until), "password": "generated" if generated else "chosen"},
            )
        )
    return Credentials(user, generated)


async def set_password(store: Store, *, name: str, password: Secret | None = None, actor: str, reason: str) -> Credentials:
    """Another password; sessions that logged in with the old one end."""
    check_remark("reason", reason)
    verifier, generated = _verifier_for(password)
    async with store.begin() as work:
        old = find_user(work.snapshot, name)
        user = replace(old, verifier=verifier, credential_version=old.credential_version + 1)
        work.put(user)
        detail = {"password": "generated" if generated else "chosen"}
        await work.commit(AdminEvent(actor, "user.password_changed", user.id, name, reason, detail))
    return Credentials(user, generated)


async def disable_user(store: Store, *, name: str, actor: str, reason: str) -> User:
    check_remark("reason", reason)
    async with store.begin() as work:
        old = find_user(work.snapshot, name)
        if not old.enabled:
            raise ServiceError("user-disabled-already", f'user "{name}" is disabled already')
        user = replace(old, enabled=False)
        work.put(user)
        await work.commit(AdminEvent(actor, "user.disabled", user.id, name, reason))
    return user


async def enable_user(store: Store, *, name: str, actor: str, reason: str) -> User:
    check_remark("reason", reason)
    async with store.begin() as work:
        old = find_user(work.snapshot, name)
        if old.enabled:
            raise ServiceError("user-enabled-already", f'user "{name}" is enabled already')
        user = replace(old, enabled=True)
        work.put(user)
        await work.commit(AdminEvent(actor, "user.enabled", user.id, name, reason))
    return user


async def set_user_expiry(store: Store, *, name: str, valid_until: datetime | None, actor: str, reason: str) -> User:
    """None: the account does not expire."""
    check_remark("reason", reason)
    async with store.begin() as work:
        check_expiry(valid_until, work.now)
        old = find_user(work.snapshot, name)
        user = replace(old, valid_until=valid_until)
        work.put(user)
        detail = {"valid_until": _shown(valid_until), "before": _shown(old.valid_until)}
        await work.commit(AdminEvent(actor, "user.expiry_changed", user.id, name, reason, detail))
    return user


async def delete_user(store: Store, *, name: str, actor: str, reason: str) -> User:
    """Gone with grants and allowlist. Whoever gets the name later is another account."""
    check_remark("reason", reason)
    async with store.begin() as work:
        user = find_user(work.snapshot, name)
        grants = len(work.snapshot.grants.get(user.id, ()))
        work.remove(user)
        await work.commit(AdminEvent(actor, "user.deleted", user.id, name, reason, {"grants": grants}))
    return user


def _verifier_for(password: Secret | None) -> tuple[str, Secret | None]:
    generated = None
    if password is None:
        password = generated = Secret(secrets.token_urlsafe(_GENERATED_BYTES))
    check_password(password)
    return make_verifier(password.reveal(), secrets.token_bytes(16)), generated


def _shown(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()
