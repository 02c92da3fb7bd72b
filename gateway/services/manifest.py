"""Files: what a manifest says is made so, all of it in one unit of work or nothing; and the store written as a manifest.

`apply` twice is `apply` once. The rules are those of the verbs, and so are the audit events: one for each thing that changed.
"""

import asyncio
import hmac
import itertools
import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final, Protocol, TypeVar

from gateway.access.model import DatabaseRole, Group, Snapshot, Target, User
from gateway.access.user_rules import ANY_RULES, UserRules
from gateway.access.verifiers import make_verifier, parse_verifier, password_fits
from gateway.access_mode import AccessMode
from gateway.ports import Sealer, Store, Vault
from gateway.secret import Secret
from gateway.services.allowlist import NamedEntry, OfTarget, OfUser, name_entries
from gateway.services.change import begin, new_id
from gateway.services.errors import ServiceError
from gateway.services.grant_terms import TERMS, terms_of
from gateway.services.grants import NamedGrant, UserHolder, name_grants
from gateway.services.groups import member_names
from gateway.services.manifest_change import (
    Action,
    Change,
    Credentials,
    Draft,
    Drafts,
    Kind,
    Means,
    Plan,
    at,
    values,
)
from gateway.services.manifest_model import JsonValue, Manifest, UserPart, manifest_schema, parse_manifest
from gateway.services.manifest_people import USER_FIELDS, draft_groups, draft_users
from gateway.services.manifest_rights import ENTRY_FIELDS, draft_entries, draft_grants
from gateway.services.manifest_secrets import resolve_secrets
from gateway.services.manifest_targets import TARGET_FIELDS, draft_targets
from gateway.services.naming import check_password, check_verifier

__all__ = [
    "Action",
    "Change",
    "Credentials",
    "Keyring",
    "Kind",
    "Manifest",
    "Plan",
    "apply_manifest",
    "examine",
    "export_manifest",
    "manifest_schema",
    "parse_manifest",
    "plan",
    "preview_manifest",
    "resolve_secrets",
]

_SALT_BYTES: Final = 16


class Keyring(Sealer, Vault, Protocol):
    """Seals upstream secrets, and opens them to see whether they are already the ones that are wanted."""


async def apply_manifest(
    store: Store,
    keyring: Keyring,
    manifest: Manifest,
    *,
    prune: bool = False,
    expected_revision: int | None = None,
    rules: UserRules = ANY_RULES,
    actor: str,
    reason: str,
) -> Plan:
    """Make the store what the manifest says. The result is what was done; `revision` is the store's afterwards.

    `prune`: also remove what the manifest does not name, of the kinds that it has a section for (an empty one included).
    `expected_revision`: of the store that was looked at; "changed-meanwhile" when it is another by now. `rules`: for names and
    passwords of new users. Raises ServiceError.
    """
    credentials = await asyncio.to_thread(examine, await store.read(), keyring, manifest, rules)
    async with begin(store, actor, reason) as change:
        snapshot = change.snapshot
        _check_revision(snapshot, expected_revision)
        means = Means(change.now, credentials, new_id, keyring.seal, rules)
        # In a thread: a manifest may hold thousands of objects, and this may be the event loop of an API.
        drafts, not_named = await asyncio.to_thread(_draft, snapshot, manifest, means, prune=prune)
        changes = tuple(draft.change for draft in drafts)
        if not drafts:
            return Plan(snapshot.revision, (), not_named)
        for draft in drafts:
            for note in draft.notes:
                change.note(note.action, note.object_id, note.object_name, note.detail)
            for removed in draft.removals:
                change.also_remove(removed)
            for row in draft.puts:
                change.also_put(row)
        for group in _left_groups(snapshot, drafts):
            change.also_put(group)
        return Plan(await change.commit(), changes, not_named)


async def preview_manifest(
    snapshot: Snapshot,
    keyring: Keyring,
    manifest: Manifest,
    *,
    prune: bool = False,
    expected_revision: int | None = None,
    rules: UserRules = ANY_RULES,
    now: datetime,
) -> Plan:
    """What `apply_manifest` would do to this snapshot; `revision` is what to expect then. Raises ServiceError."""
    _check_revision(snapshot, expected_revision)
    credentials = await asyncio.to_thread(examine, snapshot, keyring, manifest, rules)
    return await asyncio.to_thread(plan, snapshot, manifest, prune=prune, now=now, credentials=credentials, rules=rules)


def plan(
    snapshot: Snapshot,
    manifest: Manifest,
    *,
    prune: bool,
    now: datetime,
    credentials: Credentials,
    rules: UserRules = ANY_RULES,
) -> Plan:
    """What differs between the store and the manifest. Pure. Raises ServiceError, by the rules of the verbs."""
    numbers = itertools.count(1)
    means = Means(now, credentials, lambda: f"new-{next(numbers)}", lambda row_id, secret: b"", rules)
    drafts, not_named = _draft(snapshot, manifest, means, prune=prune)
    return Plan(snapshot.revision, tuple(draft.change for draft in drafts), not_named)


def examine(snapshot: Snapshot, vault: Vault, manifest: Manifest, rules: UserRules = ANY_RULES) -> Credentials:
    """Which of the manifest's secrets are new. Takes a millisecond for each password: not for an event loop.

    Raises ServiceError for a password that no verb would take.
    """
    given = [part for part in manifest.users if part.gives_secret]
    verifiers = {part.name: _verifier(snapshot.users.get(part.name), part, rules) for part in given}
    right: dict[tuple[str, AccessMode], bytes] = {}
    for part in manifest.targets:
        known = snapshot.targets.get(part.name)
        for mode, login in part.logins.stated():
            role = known.roles.get(mode) if known is not None else None
            if role is not None and login is not None and login.password is not None and _holds(vault, role, login.password):
                right[part.name, mode] = role.sealed_secret
    return Credentials(verifiers, right)


def export_manifest(snapshot: Snapshot) -> dict[str, JsonValue]:
    """The whole as a manifest, every field stated but the secrets: where it is applied, those that are there stay."""
    return {
        "version": 1,
        "users": [{"name": user.name, **values(user, USER_FIELDS)} for user in _by_name(snapshot.users)],
        "groups": [{"name": group.name, "members": member_names(snapshot, group)} for group in _by_name(snapshot.groups)],
        "targets": [_target(target) for target in _by_name(snapshot.targets)],
        "grants": [_grant(named) for named in name_grants(snapshot)],
        "allowlist": [_entry(named) for named in name_entries(snapshot)],
    }


def _check_revision(snapshot: Snapshot, expected: int | None) -> None:
    if expected is not None and snapshot.revision != expected:
        raise ServiceError(
            "changed-meanwhile",
            f"the store was changed meanwhile: it is at revision {snapshot.revision}, and you looked at revision {expected}",
            "Look at the differences again, then decide anew.",
        )


def _draft(snapshot: Snapshot, manifest: Manifest, means: Means, *, prune: bool) -> tuple[list[Draft], int]:
    """Each kind is drafted against what the ones before it will have made of the snapshot."""
    drafts: list[Draft] = []
    not_named = 0
    for draft in (draft_users, draft_groups, draft_targets, draft_grants, draft_entries):
        made: Drafts = draft(snapshot, manifest, means, prune=prune)
        drafts += made.drafts
        not_named += made.not_named
        snapshot = made.snapshot
    return drafts, not_named


def _left_groups(snapshot: Snapshot, drafts: list[Draft]) -> list[Group]:
    """Groups that only lose members who are removed: the store would see to it, but their version must change."""
    gone = {row.id for draft in drafts for row in draft.removals if isinstance(row, User)}
    handled = {row.id for draft in drafts for row in (*draft.puts, *draft.removals) if isinstance(row, Group)}
    return [
        replace(group, members=group.members - gone)
        for group in snapshot.groups.values()
        if group.id not in handled and not gone.isdisjoint(group.members)
    ]


def _verifier(known: User | None, part: UserPart, rules: UserRules) -> str:
    """The verifier to have: the one that is there, if it fits."""
    with at(f'user "{part.name}"'):
        if part.verifier is not None:
            check_verifier(part.verifier)
            return part.verifier.reveal()
        password = part.password or Secret("")
        if known is not None and password_fits(password.reveal(), parse_verifier(known.verifier)):
            return known.verifier
        check_password(password, rules)
    return make_verifier(password.reveal(), secrets.token_bytes(_SALT_BYTES))


def _holds(vault: Vault, role: DatabaseRole, password: Secret) -> bool:
    try:
        held = vault.open(role)
    except Exception:  # of the adapter's own tree: a secret that cannot be read is not the one that is wanted
        return False
    return hmac.compare_digest(held.reveal().encode(), password.reveal().encode())


R = TypeVar("R", User, Group, Target)


def _by_name(rows: Mapping[str, R]) -> list[R]:
    return [rows[name] for name in sorted(rows)]


def _target(target: Target) -> dict[str, JsonValue]:
    logins = {mode.value: {"login": role.login} for mode, role in sorted(target.roles.items())}
    return {"name": target.name, **values(target, TARGET_FIELDS), "logins": logins}


def _grant(named: NamedGrant) -> dict[str, JsonValue]:
    holder = "user" if isinstance(named.holder, UserHolder) else "group"
    terms = values(terms_of(named.grant), TERMS)
    return {holder: named.holder.name, "target": named.target_name, "mode": named.grant.mode.value, **terms}


def _entry(named: NamedEntry) -> dict[str, JsonValue]:
    owner: dict[str, JsonValue] = {}
    match named.level:
        case OfUser(name):
            owner = {"user": name}
        case OfTarget(name):
            owner = {"target": name}
    return {"network": str(named.entry.network), **owner, **values(named.entry, ENTRY_FIELDS)}
