"""What a manifest changes about users and groups. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from gateway.access.model import Group, ListMode, Snapshot, User
from gateway.audit.admin_event import DetailValue
from gateway.services.certificates import certificates_detail, check_certificate_names, check_may_have
from gateway.services.change import shown
from gateway.services.errors import ServiceError
from gateway.services.groups import member_names
from gateway.services.lookup import find_user, groups_of
from gateway.services.manifest_change import (
    CHANGED_SECRET,
    KEPT_SECRET,
    Action,
    Change,
    Draft,
    Drafts,
    Kind,
    Means,
    Note,
    at,
    check_new_name,
    differing,
    list_mode_note,
    unique,
    values,
)
from gateway.services.manifest_model import GroupPart, JsonValue, Manifest, UserPart
from gateway.services.naming import check_email, check_expiry, check_group_name, check_user_name
from gateway.services.users import changed_detail, check_unprotected

_FACTS: Final = ("kind", "read_only", "protected", "email")
USER_FIELDS: Final = ("enabled", "valid_until", "allowlist", *_FACTS, "certificate_names")


def draft_users(snapshot: Snapshot, manifest: Manifest, means: Means, *, prune: bool) -> Drafts:
    """Raises ServiceError, by the rules of the verbs."""
    named = unique(manifest.users, lambda part: part.name)
    others = [user for _, user in sorted(snapshot.users.items()) if user.name not in named] if manifest.states("users") else []
    drafts = [_remove_user(snapshot, user) for user in others] if prune else []
    if drafts:
        snapshot = _without_users(snapshot, {user.id for user in others})
    lowered = {name.lower(): name for name in snapshot.users}
    users = dict(snapshot.users)
    for part in named.values():
        with at(f'user "{part.name}"'):
            old = snapshot.users.get(part.name)
            draft = _create_user(part, lowered, means) if old is None else _change_user(part, old, means)
        if draft is not None:
            drafts.append(draft)
            users.update((row.name, row) for row in draft.puts if isinstance(row, User))
    after = replace(snapshot, users=users)
    for name in named:
        with at(f'user "{name}"'):
            check_may_have(after, users[name], users[name].certificate_names)
    return Drafts(tuple(drafts), after, len(others))


def draft_groups(snapshot: Snapshot, manifest: Manifest, means: Means, *, prune: bool) -> Drafts:
    """Raises ServiceError, by the rules of the verbs. `snapshot` is as the users will be."""
    named = unique(manifest.groups, lambda part: part.name)
    others = (
        [group for _, group in sorted(snapshot.groups.items()) if group.name not in named] if manifest.states("groups") else []
    )
    drafts = [_remove_group(snapshot, group) for group in others] if prune else []
    groups = dict(snapshot.groups)
    if drafts:
        gone = {group.id for group in others}
        groups = {name: group for name, group in groups.items() if group.id not in gone}
        snapshot = replace(
            snapshot,
            groups=groups,
            grants={holder: held for holder, held in snapshot.grants.items() if holder not in gone},
            claim_mappings=tuple(each for each in snapshot.claim_mappings if each.group_id not in gone),
        )
    lowered = {name.lower(): name for name in groups}
    names = {user.id: user.name for user in snapshot.users.values()}
    groups = dict(groups)
    for part in named.values():
        with at(f'group "{part.name}"'):
            members = frozenset(find_user(snapshot, member).id for member in part.members)
            old = snapshot.groups.get(part.name)
            draft = _create_group(part, members, lowered, means) if old is None else _change_group(part, old, members, names)
        if draft is not None:
            drafts.append(draft)
            groups.update((row.name, row) for row in draft.puts if isinstance(row, Group))
    return Drafts(tuple(drafts), replace(snapshot, groups=groups), len(others))


def _create_user(part: UserPart, taken: Mapping[str, str], means: Means) -> Draft:
    check_user_name(part.name, means.rules)
    check_email(part.email)
    check_new_name("user", part.name, taken)
    check_expiry(part.valid_until, means.now)
    verifier = means.credentials.verifiers.get(part.name)
    if verifier is None:
        raise ServiceError(
            "password-missing",
            "a new user needs a password",
            "Write password: {env: NAME} or {file: PATH}, or the verifier that PostgreSQL stores.",
        )
    user = User(means.new_id(), part.name, verifier, part.enabled, part.valid_until, part.allowlist, 1)
    check_certificate_names(part.certificate_names)
    user = replace(user, **{name: getattr(part, name) for name in _FACTS}, certificate_names=part.certificate_names)
    detail: dict[str, DetailValue] = {
        "valid_until": shown(user.valid_until),
        "password": "chosen" if part.verifier is None else "verifier",
        **{name: getattr(user, name) for name in _FACTS if getattr(user, name)},
        **({"certificate_names": tuple(sorted(user.certificate_names))} if user.certificate_names else {}),
    }
    notes = [Note("user.created", user.id, user.name, detail)]
    if not user.enabled:
        notes.append(Note("user.disabled", user.id, user.name))
    if user.allowlist is not ListMode.INHERIT:
        notes.append(list_mode_note("user", user.id, user.name, user.allowlist))
    after = {"password": CHANGED_SECRET, **values(user, USER_FIELDS)}
    return Draft(Change(Kind.USER, Action.CREATE, user.name, {}, after), tuple(notes), (user,))


def _change_user(part: UserPart, old: User, means: Means) -> Draft | None:
    fields = differing(part, old, USER_FIELDS)
    verifier = means.credentials.verifiers.get(part.name, old.verifier)
    before, after = values(old, fields), values(part, fields)
    notes = []
    user = replace(old, **{name: getattr(part, name) for name in fields})
    if verifier != old.verifier:
        if old.protected:
            check_unprotected(user)
        user = replace(user, verifier=verifier, credential_version=old.credential_version + 1)
        before, after = {"password": KEPT_SECRET, **before}, {"password": CHANGED_SECRET, **after}
        how = "chosen" if part.verifier is None else "verifier"
        notes.append(Note("user.password_changed", user.id, user.name, {"password": how}))
    if "enabled" in fields:
        notes.append(Note("user.enabled" if user.enabled else "user.disabled", user.id, user.name))
    if "valid_until" in fields:
        check_expiry(user.valid_until, means.now)
        moved = {"valid_until": shown(user.valid_until), "before": shown(old.valid_until)}
        notes.append(Note("user.expiry_changed", user.id, user.name, moved))
    if "allowlist" in fields:
        notes.append(list_mode_note("user", user.id, user.name, user.allowlist))
    if "certificate_names" in fields:
        check_certificate_names(user.certificate_names)
        notes.append(Note("user.certificates_changed", user.id, user.name, certificates_detail(old, user)))
    if detail := changed_detail(old, user):
        check_email(user.email)
        notes.append(Note("user.changed", user.id, user.name, detail))
    if not notes:
        return None
    return Draft(Change(Kind.USER, Action.CHANGE, user.name, before, after), tuple(notes), (user,))


def _remove_user(snapshot: Snapshot, user: User) -> Draft:
    check_unprotected(user)
    groups = groups_of(snapshot, user)
    grants = len(snapshot.grants.get(user.id, ()))
    detail: dict[str, DetailValue] = {"grants": grants, "groups": tuple(group.name for group in groups)}
    before: dict[str, JsonValue] = {**values(user, USER_FIELDS), "grants": grants}
    return Draft(
        Change(Kind.USER, Action.REMOVE, user.name, before, {}),
        (Note("user.deleted", user.id, user.name, detail),),
        removals=(user,),
    )


def _without_users(snapshot: Snapshot, gone: set[str]) -> Snapshot:
    return replace(
        snapshot,
        users={name: user for name, user in snapshot.users.items() if user.id not in gone},
        groups={name: replace(group, members=group.members - gone) for name, group in snapshot.groups.items()},
        grants={holder: held for holder, held in snapshot.grants.items() if holder not in gone},
        user_entries={owner: entries for owner, entries in snapshot.user_entries.items() if owner not in gone},
        admin_roles={name: replace(role, members=role.members - gone) for name, role in snapshot.admin_roles.items()},
        accounts={user_id: account for user_id, account in snapshot.accounts.items() if user_id not in gone},
    )


def _create_group(part: GroupPart, members: frozenset[str], taken: Mapping[str, str], means: Means) -> Draft:
    check_group_name(part.name)
    check_new_name("group", part.name, taken)
    group = Group(means.new_id(), part.name, members)
    names = sorted(set(part.members))
    return Draft(
        Change(Kind.GROUP, Action.CREATE, group.name, {}, {"members": names}),
        (Note("group.created", group.id, group.name, {"members": tuple(names)}),),
        (group,),
    )


def _change_group(part: GroupPart, old: Group, members: frozenset[str], names: Mapping[str, str]) -> Draft | None:
    if not part.states("members") or members == old.members:
        return None
    came, left = (sorted(names[each] for each in some) for some in (members - old.members, old.members - members))
    notes = [Note("group.member_added", old.id, old.name, {"user": name}) for name in came]
    notes += [Note("group.member_removed", old.id, old.name, {"user": name}) for name in left]
    before = sorted(names[each] for each in old.members)
    after = sorted(names[each] for each in members)
    change = Change(Kind.GROUP, Action.CHANGE, old.name, {"members": before}, {"members": after})
    return Draft(change, tuple(notes), (replace(old, members=members),))


def _remove_group(snapshot: Snapshot, group: Group) -> Draft:
    grants = len(snapshot.grants.get(group.id, ()))
    members = member_names(snapshot, group)
    return Draft(
        Change(Kind.GROUP, Action.REMOVE, group.name, {"members": members, "grants": grants}, {}),
        (Note("group.deleted", group.id, group.name, {"grants": grants, "members": tuple(members)}),),
        removals=(group,),
    )
