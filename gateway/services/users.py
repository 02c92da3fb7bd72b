"""Accounts. A change that takes a right away ends the account's live sessions within a second."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from gateway.access.model import ListMode, User
from gateway.access.verifiers import make_verifier
from gateway.audit.admin_event import DetailValue
from gateway.ports import Store
from gateway.secret import Secret
from gateway.services.change import begin, new_id, shown
from gateway.services.errors import ServiceError
from gateway.services.lookup import check_name_is_free, find_group, find_user, groups_of
from gateway.services.naming import check_expiry, check_password, check_user_name, check_verifier

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
    groups: Sequence[str] = (),
    actor: str,
    reason: str,
) -> Credentials:
    """A new account, without any right but those of its groups. Without a password one is generated."""
    check_user_name(name)
    verifier, generated = _verifier_for(password)
    async with begin(store, actor, reason) as change:
        check_expiry(valid_until, change.now)
        check_name_is_free("user", name, change.snapshot.users)
        joined = [find_group(change.snapshot, group_name) for group_name in sorted(set(groups))]
        user = User(new_id(), name, verifier, True, valid_until, ListMode.INHERIT, 1)
        names = tuple(group.name for group in joined)
        change.put(
            user, "user.created", name, {"valid_until": shown(valid_until), "password": _made(generated), "groups": names}
        )
        for group in joined:
            change.put(replace(group, members=group.members | {user.id}), "group.member_added", group.name, {"user": name})
        return Credentials(replace(user, version=await change.commit()), generated)


async def set_password(
    store: Store,
    *,
    name: str,
    password: Secret | None = None,
    actor: str,
    reason: str,
    expected_version: int | None = None,
) -> Credentials:
    """Another password; sessions that logged in with the old one end. Without one given, one is generated."""
    verifier, generated = _verifier_for(password)
    async with begin(store, actor, reason) as change:
        old = find_user(change.snapshot, name, expected_version)
        user = replace(old, verifier=verifier, credential_version=old.credential_version + 1)
        saved = await change.save(user, "user.password_changed", name, {"password": _made(generated)})
        return Credentials(saved, generated)


async def set_verifier(
    store: Store, *, name: str, verifier: Secret, actor: str, reason: str, expected_version: int | None = None
) -> User:
    """Another password, of which only PostgreSQL's verifier is known. Sessions that logged in with the old one end."""
    check_verifier(verifier)
    async with begin(store, actor, reason) as change:
        old = find_user(change.snapshot, name, expected_version)
        if old.verifier == verifier.reveal():
            raise ServiceError("nothing-to-change", f'user "{name}" has this verifier already')
        user = replace(old, verifier=verifier.reveal(), credential_version=old.credential_version + 1)
        return await change.save(user, "user.password_changed", name, {"password": "verifier"})


async def disable_user(store: Store, *, name: str, actor: str, reason: str, expected_version: int | None = None) -> User:
    """No login any more until enabled again; live sessions end."""
    async with begin(store, actor, reason) as change:
        old = find_user(change.snapshot, name, expected_version)
        if not old.enabled:
            raise ServiceError("user-disabled-already", f'user "{name}" is disabled already')
        return await change.save(replace(old, enabled=False), "user.disabled", name)


async def enable_user(store: Store, *, name: str, actor: str, reason: str, expected_version: int | None = None) -> User:
    async with begin(store, actor, reason) as change:
        old = find_user(change.snapshot, name, expected_version)
        if old.enabled:
            raise ServiceError("user-enabled-already", f'user "{name}" is enabled already')
        return await change.save(replace(old, enabled=True), "user.enabled", name)


async def set_user_expiry(
    store: Store,
    *,
    name: str,
    valid_until: datetime | None,
    actor: str,
    reason: str,
    expected_version: int | None = None,
) -> User:
    """None: the account does not expire."""
    async with begin(store, actor, reason) as change:
        check_expiry(valid_until, change.now)
        old = find_user(change.snapshot, name, expected_version)
        detail = {"valid_until": shown(valid_until), "before": shown(old.valid_until)}
        return await change.save(replace(old, valid_until=valid_until), "user.expiry_changed", name, detail)


async def delete_user(store: Store, *, name: str, actor: str, reason: str, expected_version: int | None = None) -> User:
    """Gone with grants, memberships and allowlist. Whoever gets the name later is another account."""
    async with begin(store, actor, reason) as change:
        user = find_user(change.snapshot, name, expected_version)
        groups = groups_of(change.snapshot, user)
        for group in groups:  # the store would do it too; but a group whose members change has another version
            change.also_put(replace(group, members=group.members - {user.id}))
        grants = len(change.snapshot.grants.get(user.id, ()))
        detail: dict[str, DetailValue] = {"grants": grants, "groups": tuple(group.name for group in groups)}
        return await change.drop(user, "user.deleted", name, detail)


def _verifier_for(password: Secret | None) -> tuple[str, Secret | None]:
    generated = None
    if password is None:
        password = generated = Secret(secrets.token_urlsafe(_GENERATED_BYTES))
    check_password(password)
    return make_verifier(password.reveal(), secrets.token_bytes(16)), generated


def _made(generated: Secret | None) -> str:
    return "chosen" if generated is None else "generated"
