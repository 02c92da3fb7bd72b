"""Accounts. A change that takes a right away ends the account's live sessions within a second."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from gateway.access.authorize import user_by_id
from gateway.access.model import ListMode, User, UserKind
from gateway.access.user_rules import ANY_RULES, UserRules, generate
from gateway.access.verifiers import make_verifier
from gateway.audit.admin_event import DetailValue
from gateway.ports import Store
from gateway.secret import Secret
from gateway.services.change import begin, new_id, shown
from gateway.services.errors import ServiceError
from gateway.services.lookup import check_name_is_free, find_group, find_user, groups_of
from gateway.services.naming import check_email, check_expiry, check_password, check_user_name, check_verifier


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
    kind: UserKind = UserKind.PERSON,
    read_only: bool = False,
    protected: bool = False,
    email: str | None = None,
    rules: UserRules = ANY_RULES,
    actor: str,
    reason: str,
) -> Credentials:
    """A new account, without any right but those of its groups. Without a password one is generated.

    `rules`: which names and passwords the settings allow.
    """
    check_user_name(name, rules)
    check_email(email)
    verifier, generated = _verifier_for(password, rules)
    async with begin(store, actor, reason) as change:
        change.require("users.change")
        check_expiry(valid_until, change.now)
        check_name_is_free("user", name, change.snapshot.users)
        joined = [find_group(change.snapshot, group_name) for group_name in sorted(set(groups))]
        user = User(
            new_id(),
            name,
            verifier,
            True,
            valid_until,
            ListMode.INHERIT,
            1,
            kind=kind,
            read_only=read_only,
            protected=protected,
            email=email,
        )
        detail: dict[str, DetailValue] = {
            "valid_until": shown(valid_until),
            "password": _made(generated),
            "groups": tuple(group.name for group in joined),
            "kind": kind.value,
            "read_only": read_only,
            "protected": protected,
        }
        change.put(user, "user.created", name, detail)
        for group in joined:
            change.put(replace(group, members=group.members | {user.id}), "group.member_added", group.name, {"user": name})
        return Credentials(replace(user, version=await change.commit()), generated)


async def set_password(
    store: Store,
    *,
    name: str,
    password: Secret | None = None,
    rules: UserRules = ANY_RULES,
    actor: str,
    reason: str,
    expected_version: int | None = None,
) -> Credentials:
    """Another password; sessions that logged in with the old one end. Without one given, one is generated."""
    verifier, generated = _verifier_for(password, rules)
    async with begin(store, actor, reason) as change:
        old = find_user(change.snapshot, name, expected_version)
        check_unprotected(old)
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
        check_unprotected(old)
        if old.verifier == verifier.reveal():
            raise ServiceError("nothing-to-change", f'user "{name}" has this verifier already')
        user = replace(old, verifier=verifier.reveal(), credential_version=old.credential_version + 1)
        return await change.save(user, "user.password_changed", name, {"password": "verifier"})


async def set_own_verifier(
    store: Store, *, user_id: str, credential_version: int, verifier: Secret, actor: str, reason: str
) -> User:
    """A person's own new password, asked for in a session of theirs, of which only the verifier is known.

    `credential_version`: the one that session logged in with; if it is another by now, so is the person at the keyboard. Machines
    get theirs from an administrator: whoever holds a program's password shall not be able to lock the program out.
    """
    check_verifier(verifier)
    async with begin(store, actor, reason) as change:
        old = user_by_id(change.snapshot, user_id)
        if old is None or actor != f"user:{old.name}":
            raise ServiceError("user-unknown", "this user does not exist any more")
        change.require("users.password", user_id=old.id)
        if old.credential_version != credential_version:
            raise ServiceError("password-changed", f'the password of user "{old.name}" was changed meanwhile')
        check_unprotected(old)
        if old.kind is not UserKind.PERSON:
            text = f'User "{old.name}" is a machine: its password is set by an administrator'
            raise ServiceError("user-is-machine", text, "Ask your administrator.")
        user = replace(old, verifier=verifier.reveal(), credential_version=old.credential_version + 1)
        return await change.save(user, "user.password_changed", old.name, {"password": "verifier", "own": True})


async def update_user(
    store: Store,
    *,
    name: str,
    kind: UserKind | None = None,
    read_only: bool | None = None,
    protected: bool | None = None,
    email: str | None = None,
    actor: str,
    reason: str,
    expected_version: int | None = None,
) -> User:
    """What is None stays as it is; an empty `email` takes it off. Who may only read from now on stops writing at once."""
    check_email(email or None)
    async with begin(store, actor, reason) as change:
        change.require("users.change")
        old = find_user(change.snapshot, name, expected_version)
        user = replace(
            old,
            kind=old.kind if kind is None else kind,
            read_only=old.read_only if read_only is None else read_only,
            protected=old.protected if protected is None else protected,
            email=old.email if email is None else email or None,
        )
        if user == old:
            raise ServiceError("nothing-to-change", f'user "{name}" is so already')
        return await change.save(user, "user.changed", name, changed_detail(old, user))


def changed_detail(old: User, new: User) -> dict[str, DetailValue]:
    """Of the facts that `update_user` changes, those that differ, for the audit."""
    both = ((each, getattr(old, each), getattr(new, each)) for each in ("kind", "read_only", "protected", "email"))
    return {f"{name}{when}": value for name, was, now in both if was != now for when, value in (("", now), ("_before", was))}


def check_unprotected(user: User) -> None:
    """Raises ServiceError for one that keeps its password, and stays, until the protection is taken off."""
    if user.protected:
        raise ServiceError(
            "user-protected", f'User "{user.name}" is protected', f"First: pgbastion users update {user.name} --no-protected"
        )


async def disable_user(store: Store, *, name: str, actor: str, reason: str, expected_version: int | None = None) -> User:
    """No login any more until enabled again; live sessions end."""
    async with begin(store, actor, reason) as change:
        change.require("users.change")
        old = find_user(change.snapshot, name, expected_version)
        if not old.enabled:
            raise ServiceError("user-disabled-already", f'user "{name}" is disabled already')
        return await change.save(replace(old, enabled=False), "user.disabled", name)


async def enable_user(store: Store, *, name: str, actor: str, reason: str, expected_version: int | None = None) -> User:
    async with begin(store, actor, reason) as change:
        change.require("users.change")
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
        change.require("users.change")
        check_expiry(valid_until, change.now)
        old = find_user(change.snapshot, name, expected_version)
        detail = {"valid_until": shown(valid_until), "before": shown(old.valid_until)}
        return await change.save(replace(old, valid_until=valid_until), "user.expiry_changed", name, detail)


async def delete_user(store: Store, *, name: str, actor: str, reason: str, expected_version: int | None = None) -> User:
    """Gone with grants, memberships and allowlist. Whoever gets the name later is another account."""
    async with begin(store, actor, reason) as change:
        change.require("users.change")
        user = find_user(change.snapshot, name, expected_version)
        check_unprotected(user)
        groups = groups_of(change.snapshot, user)
        for group in groups:  # the store would do it too; but a group whose members change has another version
            change.also_put(replace(group, members=group.members - {user.id}))
        grants = len(change.snapshot.grants.get(user.id, ()))
        detail: dict[str, DetailValue] = {"grants": grants, "groups": tuple(group.name for group in groups)}
        return await change.drop(user, "user.deleted", name, detail)


def _verifier_for(password: Secret | None, rules: UserRules) -> tuple[str, Secret | None]:
    generated = None
    if password is None:
        password = generated = Secret(generate(rules, secrets.choice))
    else:
        check_password(password, rules)
    return make_verifier(password.reveal(), secrets.token_bytes(16)), generated


def _made(generated: Secret | None) -> str:
    return "chosen" if generated is None else "generated"
