"""What a manifest changes about targets and their upstream logins. Pure, but for the sealing that it is handed."""

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Final

from gateway.access.managed import ManagedMode
from gateway.access.model import DEFAULT_ENVIRONMENT, DatabaseRole, ListMode, Snapshot, Target
from gateway.access.secret_reference import SecretReference
from gateway.access_mode import AccessMode
from gateway.audit.admin_event import DetailValue
from gateway.services.errors import ServiceError
from gateway.services.lookup import find_environment
from gateway.services.managed_stay import check_managed_waits, check_possible
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
    list_mode_note,
    plain,
    unique,
)
from gateway.services.manifest_model import JsonValue, LoginPart, Manifest, TargetPart
from gateway.services.naming import (
    check_identifier,
    check_max_sessions,
    check_open_ahead,
    check_target_name,
    check_upstream_secret,
)
from gateway.services.secret_references import read_reference
from gateway.services.target_facts import (
    Permitted,
    Place,
    check_logins_stay,
    check_permitted,
    check_place,
    moved,
    permitted,
    place_detail,
    place_of,
    with_permitted,
)

_PLACE_FIELDS: Final = ("host", "port", "dbname", "tls", "ca_pem", "allow_md5")
_LISTS: Final = {
    "allowed_functions": Permitted.FUNCTION,
    "allowed_schemas": Permitted.SCHEMA,
    "allowed_settings": Permitted.SETTING,
}
_PLAIN_FIELDS: Final = ("enabled", "max_sessions", "open_ahead", "rotate_every_days", "managed", "allowlist")
TARGET_FIELDS: Final = (*_PLACE_FIELDS, *_PLAIN_FIELDS, *_LISTS)


def draft_targets(snapshot: Snapshot, manifest: Manifest, means: Means, *, prune: bool) -> Drafts:
    """Raises ServiceError, by the rules of the verbs."""
    named = unique(manifest.targets, lambda part: part.name)
    others = (
        [each for _, each in sorted(snapshot.targets.items()) if each.name not in named] if manifest.states("targets") else []
    )
    drafts = [_remove(snapshot, target) for target in others] if prune else []
    if drafts:
        snapshot = _without_targets(snapshot, {target.id for target in others})
    lowered = {name.lower(): name for name in snapshot.targets}
    targets = dict(snapshot.targets)
    for part in named.values():
        with at(f'target "{part.name}"'):
            old = snapshot.targets.get(part.name)
            known = DEFAULT_ENVIRONMENT if old is None else old.environment_id
            into = find_environment(snapshot, part.environment).id if part.states("environment") else known
            draft = _create(part, into, lowered, means) if old is None else _change(part, into, old, means)
        if draft is not None:
            drafts.append(draft)
            targets.update((row.name, row) for row in draft.puts if isinstance(row, Target))
    return Drafts(tuple(drafts), replace(snapshot, targets=targets), len(others))


def _create(part: TargetPart, into: str, taken: Mapping[str, str], means: Means) -> Draft:
    check_target_name(part.name)
    check_new_name("target", part.name, taken)
    if not (part.states("host") and part.states("dbname")):
        raise ServiceError("place-missing", "a new target needs host and dbname", "")
    place = Place(part.host, part.port, part.dbname, part.tls, part.ca_pem, part.allow_md5)
    check_place(place)
    bare = moved(
        Target(means.new_id(), part.name, "", 0, "", place.tls, None, False, True, ListMode.INHERIT, {}, revision=0), place
    )
    steps = _Steps(part, bare, means)
    after: dict[str, JsonValue] = {"environment": part.environment} if part.states("environment") else {}
    after |= {field: _shown(steps.target, field) for field in TARGET_FIELDS}
    after |= {field: value for field, value in steps.after.items() if field.startswith("logins.")}
    there = {"environment": part.environment} if part.states("environment") else {}
    created = Note("target.created", bare.id, bare.name, place_detail(place) | there)
    change = Change(Kind.TARGET, Action.CREATE, part.name, {}, after)
    return Draft(change, (created, *steps.notes), (replace(steps.target, revision=1, environment_id=into),))


def _change(part: TargetPart, into: str, old: Target, means: Means) -> Draft | None:
    steps = _Steps(part, old, means)
    if into != old.environment_id:
        steps.settle(into, part.environment, means.environments.get(old.environment_id, ""))
    if not steps.notes:
        return None
    revision = old.revision + (steps.target.revision != old.revision)
    change = Change(Kind.TARGET, Action.CHANGE, old.name, steps.before, steps.after)
    return Draft(change, tuple(steps.notes), (replace(steps.target, revision=revision),))


class _Steps:
    """From what a target is to what the manifest states of it: each step with the audit event that a verb would write."""

    def __init__(self, part: TargetPart, old: Target, means: Means) -> None:
        self._part = part
        self._old = old
        self._means = means
        self.target = old
        self.notes: list[Note] = []
        self.before: dict[str, JsonValue] = {}
        self.after: dict[str, JsonValue] = {}
        self._move()
        for mode, login in part.logins.stated():
            self._set_login(mode, login)
        self._switch()
        for field, kind in _LISTS.items():
            if part.states(field):
                self._permit(field, kind, frozenset(getattr(part, field)))

    def settle(self, environment_id: str, name: str, before: str) -> None:
        self.target = replace(self.target, environment_id=environment_id)
        self.before["environment"], self.after["environment"] = before, name
        self._note("target.environment_changed", {"environment": name, "before": before})

    def _take(self, target: Target, *fields: str) -> None:
        for field in fields:
            self.before[field], self.after[field] = _shown(self._old, field), _shown(target, field)
        self.target = target

    def _note(self, action: str, detail: Mapping[str, DetailValue] | None = None) -> None:
        self.notes.append(Note(action, self._old.id, self._old.name, detail or {}))

    def _move(self) -> None:
        before = place_of(self._old)
        fields = [field for field in _PLACE_FIELDS if self._part.states(field) and not self._is_same(field)]
        if not fields:
            return
        place = replace(before, **{field: getattr(self._part, field) for field in fields})
        check_place(place)
        known = {
            mode
            for mode, login in self._part.logins.stated()
            if login is None or login.password is not None or login.secret_from is not None
        }
        staying = {mode: role for mode, role in self._old.roles.items() if mode not in known}
        try:
            check_logins_stay(replace(self._old, roles=staying), place)
        except ServiceError as error:
            hint = "Give the passwords of its logins in the manifest, too: password: {file: PATH} or {env: NAME}."
            raise ServiceError(error.rule, error.message, hint) from error
        self._take(moved(self._old, place), *fields)
        self._note("target.changed", place_detail(place) | {f"before_{k}": v for k, v in place_detail(before).items()})

    def _is_same(self, field: str) -> bool:
        stated, known = getattr(self._part, field), getattr(self._old, field)
        if isinstance(stated, str) and isinstance(known, str) and field == "ca_pem":
            return stated.strip() == known.strip()
        return bool(stated == known)

    def _set_login(self, mode: AccessMode, login: LoginPart | None) -> None:
        known = self._old.roles.get(mode)
        field = f"logins.{mode}"
        if login is None:
            if known is not None:
                self.target = self._with_role(mode, None)
                self.before[field], self.after[field] = known.login, None
                self._note("target.login_removed", {"mode": mode.value, "login": known.login})
            return
        same = known is not None and known.login == login.login
        if login.secret_from is not None:
            self._refer(mode, login.login, read_reference(login.secret_from), known)
            return
        if login.password is None:
            if not same:
                raise ServiceError(
                    "password-missing",
                    f"the login {login.login} for {mode} needs a password",
                    "Write password: {env: NAME} or {file: PATH}.",
                )
            return
        check_identifier("database role's name", login.login)
        check_upstream_secret(login.password)
        if (
            same
            and known is not None
            and self._means.credentials.right_logins.get((self._old.name, mode)) == known.sealed_secret
        ):
            return
        # The same row for the same login: a new password must not look like another database role to live sessions.
        role_id = known.id if same and known is not None else self._means.new_id()
        self.target = self._with_role(mode, DatabaseRole(role_id, login.login, self._means.seal(role_id, login.password)))
        if not same:
            self.before[field], self.after[field] = known.login if known else None, login.login
        self.before[f"{field}.password"] = KEPT_SECRET if known else None
        self.after[f"{field}.password"] = CHANGED_SECRET
        detail = {"mode": mode.value, "login": login.login, "before": known.login if known else None}
        self._note("target.login_changed", detail)

    def _refer(self, mode: AccessMode, login: str, reference: SecretReference, known: DatabaseRole | None) -> None:
        same = known is not None and known.login == login
        if known is not None and same and known.reference == reference:
            return
        check_identifier("database role's name", login)
        role_id = known.id if known is not None and same else self._means.new_id()
        self.target = self._with_role(mode, DatabaseRole(role_id, login, b"", None, reference))
        field, before = f"logins.{mode}", known.reference if known is not None else None
        if not same:
            self.before[field], self.after[field] = known.login if known else None, login
        self.before[f"{field}.secret_from"] = None if before is None else str(before)
        self.after[f"{field}.secret_from"] = str(reference)
        detail = {"mode": mode.value, "login": login, "before": known.login if known else None, "secret_from": str(reference)}
        self._note("target.login_changed", detail)

    def _with_role(self, mode: AccessMode, role: DatabaseRole | None) -> Target:
        roles = {key: each for key, each in self.target.roles.items() if key is not mode}
        if role is not None:
            roles[mode] = role
        return replace(self.target, roles=roles, revision=self.target.revision + 1)

    def _switch(self) -> None:
        part, old = self._part, self._old
        if part.states("enabled") and part.enabled != old.enabled:
            self._take(replace(self.target, enabled=part.enabled, revision=self.target.revision + 1), "enabled")
            self._note("target.enabled" if part.enabled else "target.disabled")
        if part.states("max_sessions") and part.max_sessions != old.max_sessions:
            check_max_sessions(part.max_sessions)
            self._take(replace(self.target, max_sessions=part.max_sessions), "max_sessions")
            self._note("target.max_sessions_changed", {"max_sessions": part.max_sessions, "before": old.max_sessions})
        if part.states("open_ahead") and part.open_ahead != old.open_ahead:
            check_open_ahead(part.open_ahead)
            self._take(replace(self.target, open_ahead=part.open_ahead), "open_ahead")
            self._note("target.open_ahead_changed", {"open_ahead": part.open_ahead, "before": old.open_ahead})
        if part.states("rotate_every_days") and (every := part.rotate_every_days) != old.rotate_every_days:
            self._take(replace(self.target, rotate_every_days=every), "rotate_every_days")
            self._note("target.rotate_every_changed", {"rotate_every_days": every, "before": old.rotate_every_days})
        if part.states("managed") and part.managed is not old.managed:
            if part.managed is not ManagedMode.OFF:
                check_possible(self.target)
            self._take(replace(self.target, managed=part.managed, revision=self.target.revision + 1), "managed")
            self._note("target.managed_changed", {"managed": part.managed.value, "before": old.managed.value})
        check_managed_waits(self.target.open_ahead, self.target.managed)
        if part.states("allowlist") and part.allowlist is not old.allowlist:
            self._take(replace(self.target, allowlist=part.allowlist), "allowlist")
            self.notes.append(list_mode_note("target", old.id, old.name, part.allowlist))

    def _permit(self, field: str, kind: Permitted, items: frozenset[str]) -> None:
        known = permitted(self._old, kind)
        if items == known:
            return
        for item in sorted(items - known):
            check_permitted(kind, item)
            self._note(f"target.{kind}_allowed", {kind.value: item})
        for item in sorted(known - items):
            self._note(f"target.{kind}_disallowed", {kind.value: item})
        self._take(with_permitted(self.target, kind, items), field)


def _shown(target: Target, field: str) -> JsonValue:
    value = getattr(target, field)
    if field == "ca_pem" and value is not None:
        return f"sha256:{sha256(value.strip().encode()).hexdigest()[:16]}"
    return plain(value)


def _remove(snapshot: Snapshot, target: Target) -> Draft:
    grants = sum(grant.target_id == target.id for held in snapshot.grants.values() for grant in held)
    before: dict[str, JsonValue] = {field: _shown(target, field) for field in TARGET_FIELDS}
    before |= {f"logins.{mode}": role.login for mode, role in sorted(target.roles.items())}
    change = Change(Kind.TARGET, Action.REMOVE, target.name, {**before, "grants": grants}, {})
    return Draft(change, (Note("target.deleted", target.id, target.name, {"grants": grants}),), removals=(target,))


def _without_targets(snapshot: Snapshot, gone: set[str]) -> Snapshot:
    return replace(
        snapshot,
        targets={name: target for name, target in snapshot.targets.items() if target.id not in gone},
        grants={
            holder: kept
            for holder, held in snapshot.grants.items()
            if (kept := tuple(grant for grant in held if grant.target_id not in gone))
        },
        target_entries={owner: entries for owner, entries in snapshot.target_entries.items() if owner not in gone},
    )
