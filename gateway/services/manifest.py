"""Files: what a manifest says is made so, all of it in one unit of work or nothing; and the store written as a manifest.

`apply` twice is `apply` once. The rules are those of the verbs, and so are the audit events: one for each thing that changed.
"""

import asyncio
import hmac
import itertools
import secrets
from dataclasses import replace
from datetime import datetime
from typing import Final, Protocol

from gateway.access.model import AdminRole, DatabaseRole, Environment, Group, Snapshot, User
from gateway.access.user_rules import ANY_RULES, UserRules
from gateway.access.verifiers import make_verifier, parse_verifier, password_fits
from gateway.access_mode import AccessMode
from gateway.ports import ChangeableRow, SealedUse, Sealer, SecretBox, Store, Vault
from gateway.secret import Secret
from gateway.services.change import begin, new_id
from gateway.services.errors import ServiceError
from gateway.services.manifest_accounts import draft_accounts, draft_mappings
from gateway.services.manifest_admins import check_environments_stay, draft_environments, draft_roles
from gateway.services.manifest_approvals import draft_policies
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
)
from gateway.services.manifest_export import export_manifest
from gateway.services.manifest_model import Manifest, UserPart, manifest_schema, parse_manifest
from gateway.services.manifest_people import draft_groups, draft_users
from gateway.services.manifest_rights import draft_entries, draft_grants
from gateway.services.manifest_secrets import resolve_secrets
from gateway.services.manifest_targets import draft_targets
from gateway.services.manifest_webhooks import draft_webhooks
from gateway.services.naming import check_password, check_verifier
from gateway.services.owners import check_owners_stay
from gateway.services.row_rights import gives_to
from gateway.services.sign_in_proofs import check_sign_in_password, hash_password

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
_KINDS: Final = (
    draft_environments,
    draft_users,
    draft_groups,
    draft_roles,
    draft_accounts,
    draft_targets,
    draft_grants,
    draft_entries,
    draft_mappings,
    draft_policies,
    draft_webhooks,
)


class Keyring(Sealer, Vault, SecretBox, Protocol):
    """Seals secrets, and opens them to see whether they are already the ones that are wanted."""


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
        means = Means(change.now, credentials, new_id, keyring.seal, rules, _environment_names(snapshot), keyring.seal_for)
        # In a thread: a manifest may hold thousands of objects, and this may be the event loop of an API.
        drafts, not_named = await asyncio.to_thread(_draft, snapshot, manifest, means, prune=prune)
        changes = tuple(draft.change for draft in drafts)
        if not drafts:
            return Plan(snapshot.revision, (), not_named)
        for draft in drafts:
            own = {"self": True} if any(gives_to(row, change.who, snapshot) for row in draft.puts) else {}
            for note in draft.notes:
                change.note(note.action, note.object_id, note.object_name, {**note.detail, **own})
            for removed in draft.removals:
                change.also_remove(removed)
            for row in draft.puts:
                change.also_put(row)
        for row in _losing(snapshot, drafts):
            change.also_put(row)
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
    names = _environment_names(snapshot)
    means = Means(now, credentials, lambda: f"new-{next(numbers)}", lambda row_id, secret: b"", rules, names)
    drafts, not_named = _draft(snapshot, manifest, means, prune=prune)
    return Plan(snapshot.revision, tuple(draft.change for draft in drafts), not_named)


def examine(snapshot: Snapshot, vault: Keyring, manifest: Manifest, rules: UserRules = ANY_RULES) -> Credentials:
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
    return Credentials(verifiers, right, _sign_in_hashes(snapshot, manifest), _right_webhooks(snapshot, vault, manifest))


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
    before = snapshot
    for draft in _KINDS:
        made: Drafts = draft(snapshot, manifest, means, prune=prune)
        drafts += made.drafts
        not_named += made.not_named
        snapshot = made.snapshot
    check_environments_stay(snapshot)
    puts = [row for draft in drafts for row in draft.puts] + _losing(before, drafts)
    check_owners_stay(before, puts, [row for draft in drafts for row in draft.removals])
    return drafts, not_named


def _environment_names(snapshot: Snapshot) -> dict[str, str]:
    return {each.id: each.name for each in snapshot.environments.values()}


def _losing(snapshot: Snapshot, drafts: list[Draft]) -> list[ChangeableRow]:
    """Groups and admin roles that only lose what is removed: the store would see to it, but their version must change."""
    gone = {row.id for draft in drafts for row in draft.removals if isinstance(row, User | Environment)}
    handled = {row.id for draft in drafts for row in (*draft.puts, *draft.removals) if isinstance(row, Group | AdminRole)}
    found: list[ChangeableRow] = []
    for group in snapshot.groups.values():
        if group.id not in handled and not gone.isdisjoint(group.members):
            found.append(replace(group, members=group.members - gone))
    for role in snapshot.admin_roles.values():
        if role.id not in handled and not gone.isdisjoint({*role.members, *role.permissions}):
            kept = {place: held for place, held in role.permissions.items() if place not in gone}
            found.append(replace(role, members=role.members - gone, permissions=kept))
    return found


def _sign_in_hashes(snapshot: Snapshot, manifest: Manifest) -> dict[str, str]:
    """Of those who have none yet. Each takes a tenth of a second."""
    found = {}
    for part in manifest.accounts:
        user = snapshot.users.get(part.user)
        account = None if user is None else snapshot.accounts.get(user.id)
        if part.password is not None and (account is None or account.password_hash is None):
            with at(f'account "{part.user}"'):
                check_sign_in_password(part.password)
            found[part.user] = hash_password(part.password)
    return found


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


def _right_webhooks(snapshot: Snapshot, box: SecretBox, manifest: Manifest) -> frozenset[tuple[str, str]]:
    found = set()
    for part in manifest.webhooks:
        known = snapshot.webhooks.get(part.name)
        if known is None:
            continue
        kept = (
            ("secret", part.secret, SealedUse.WEBHOOK, known.sealed_secret),
            ("url_secret", part.url_secret, SealedUse.WEBHOOK_URL, known.sealed_url_secret),
        )
        for name, given, use, sealed in kept:
            if given is not None and sealed is not None and _is_sealed_in(box, use, known.id, sealed, given):
                found.add((part.name, name))
    return frozenset(found)


def _is_sealed_in(box: SecretBox, use: SealedUse, bound_to: str, sealed: bytes, wanted: Secret) -> bool:
    try:
        held = box.open_for(use, bound_to, sealed)
    except Exception:  # as below
        return False
    return hmac.compare_digest(held.reveal().encode(), wanted.reveal().encode())


def _holds(vault: Vault, role: DatabaseRole, password: Secret) -> bool:
    try:
        held = vault.open(role)
    except Exception:  # of the adapter's own tree: a secret that cannot be read is not the one that is wanted
        return False
    return hmac.compare_digest(held.reveal().encode(), password.reveal().encode())
