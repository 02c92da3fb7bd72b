"""What a manifest changes about signing in: accounts, and what groups at the identity provider mean here. Pure."""

from dataclasses import replace

from gateway.access.accounts import Account, ClaimMapping, Identity, Standing
from gateway.access.model import ApiToken, Snapshot, TokenKind, User
from gateway.audit.admin_event import DetailValue
from gateway.services.accounts import check_identity_is_free
from gateway.services.claim_mappings import mapped_names
from gateway.services.errors import ServiceError
from gateway.services.lookup import find_admin_role, find_group, find_user
from gateway.services.manifest_admins_model import AccountPart, MappingPart
from gateway.services.manifest_change import CHANGED_SECRET, Action, Change, Draft, Drafts, Kind, Means, Note, at, unique
from gateway.services.manifest_model import JsonValue, Manifest
from gateway.services.naming import check_claim_value, check_subject

_MappingKey = tuple[str, str | None, str | None]


def draft_accounts(snapshot: Snapshot, manifest: Manifest, means: Means, *, prune: bool) -> Drafts:
    """Raises ServiceError, by the rules of the verbs. `snapshot` is as the users will be."""
    named = unique(manifest.accounts, lambda part: part.user)
    names = {user.id: user.name for user in snapshot.users.values()}
    others = {
        user_id: account
        for user_id, account in sorted(snapshot.accounts.items(), key=lambda item: names.get(item[0], ""))
        if manifest.states("accounts") and names.get(user_id) not in named
    }
    drafts: list[Draft] = []
    accounts = dict(snapshot.accounts)
    if prune:
        drafts = [_remove(snapshot, names.get(user_id, ""), account) for user_id, account in others.items()]
        accounts = {user_id: each for user_id, each in accounts.items() if user_id not in others}
    staying = replace(snapshot, accounts=accounts)
    for part in named.values():
        with at(f'account "{part.user}"'):
            user = find_user(snapshot, part.user)
            steps = _Steps(staying, replace(staying, accounts=accounts), part, user, means)
            steps.take()
        if steps.notes:
            drafts.append(steps.draft())
            accounts = {**accounts, user.id: steps.account}
    return Drafts(tuple(drafts), replace(snapshot, accounts=accounts), len(others))


def draft_mappings(snapshot: Snapshot, manifest: Manifest, means: Means, *, prune: bool) -> Drafts:
    """Raises ServiceError, by the rules of the verbs. `snapshot` is as groups and admin roles will be."""
    known = {(each.value, *mapped_names(snapshot, each)): each for each in snapshot.claim_mappings}
    stated: dict[_MappingKey, MappingPart] = {}
    for part in manifest.claim_mappings:
        key = (part.value, part.group, part.role)
        if key in stated:
            raise ServiceError("manifest-duplicate", f"{_name(key)} is in the manifest twice", "Leave one of the two out.")
        stated[key] = part
    others = {key: each for key, each in known.items() if key not in stated} if manifest.states("claim_mappings") else {}
    drafts = []
    if prune:
        for key, mapping in others.items():
            change = Change(Kind.CLAIM_MAPPING, Action.REMOVE, _name(key), {}, {})
            drafts.append(Draft(change, (_note("deleted", mapping, key),), removals=(mapping,)))
    for key, part in stated.items():
        if key in known:
            continue
        with at(f"claim mapping of {_name(key)}"):
            check_claim_value(part.value)
            group_id = None if part.group is None else find_group(snapshot, part.group).id
            role_id = None if part.role is None else find_admin_role(snapshot, part.role).id
        mapping = ClaimMapping(means.new_id(), part.value, group_id, role_id)
        change = Change(Kind.CLAIM_MAPPING, Action.CREATE, _name(key), {}, {})
        drafts.append(Draft(change, (_note("created", mapping, key),), (mapping,)))
    return Drafts(tuple(drafts), snapshot, len(others))


def export_accounts(snapshot: Snapshot) -> list[dict[str, JsonValue]]:
    named = sorted((user.name, user.id) for user in snapshot.users.values() if user.id in snapshot.accounts)
    return [{"user": name, **_values(snapshot.accounts[user_id])} for name, user_id in named]


def export_mappings(snapshot: Snapshot) -> list[dict[str, JsonValue]]:
    keys = sorted(
        ((each.value, *mapped_names(snapshot, each)) for each in snapshot.claim_mappings),
        key=lambda key: tuple(text or "" for text in key),
    )
    return [{"value": value, **({"group": group} if group else {"role": role})} for value, group, role in keys if group or role]


class _Steps:
    """From how somebody signs in to what the manifest states of it: each step with the audit event that a verb would write.

    `staying`: with the accounts of before that are not removed; `snapshot`: with those that were drafted already, too.
    """

    def __init__(self, staying: Snapshot, snapshot: Snapshot, part: AccountPart, user: User, means: Means) -> None:
        self._staying = staying
        self._snapshot = snapshot
        self._part = part
        self._user = user
        self._means = means
        self._old = snapshot.accounts.get(user.id)
        self._ended: tuple[ApiToken, ...] = ()
        self.account = self._old or Account(user.id)
        self.notes: list[Note] = []

    def take(self) -> None:
        self._password()
        self._identity()
        if self.account.password_hash is None and self.account.identity is None and self._old is None:
            raise ServiceError(
                "password-missing",
                "a new account needs a password, or an identity at the provider",
                "Write password: {env: NAME} or {file: PATH}.",
            )
        self._managed()

    def draft(self) -> Draft:
        before = {} if self._old is None else _values(self._old)
        after = _values(self.account)
        if self._old is None:
            action = Action.CREATE
        else:
            action = Action.CHANGE
            differ = [name for name in after if before[name] != after[name]]
            before, after = {name: before[name] for name in differ}, {name: after[name] for name in differ}
        if (None if self._old is None else self._old.password_hash) != self.account.password_hash:
            before, after = {"password": None, **before}, {"password": CHANGED_SECRET, **after}
        change = Change(Kind.ACCOUNT, action, self._user.name, {} if self._old is None else before, after)
        return Draft(change, tuple(self.notes), (self.account,), self._ended)

    def _note(self, action: str, detail: dict[str, DetailValue] | None = None) -> None:
        self.notes.append(Note(f"account.{action}", self._user.id, self._user.name, detail or {}))

    def _password(self) -> None:
        if self._part.password is None or self.account.password_hash is not None:
            return
        hashed = self._means.credentials.sign_in.get(self._user.name)
        if hashed is None:
            raise ServiceError("changed-meanwhile", "the account was changed meanwhile", "Apply the file again.")
        self.account = replace(self.account, password_hash=hashed)
        self._note("created", {"password": "chosen"})

    def _identity(self) -> None:
        if not self._part.states("identity"):
            return
        was = self.account.identity
        wanted = None if self._part.identity is None else Identity(self._part.identity.issuer, self._part.identity.subject)
        if wanted == was:
            return
        if was is not None:
            self._ended = _sign_ins(self._snapshot, self._user.id)
            self._note("unlinked", {**_shown(was), "sign_ins_ended": len(self._ended)})
            self.account = replace(self.account, identity=None, managed=False, standing=Standing.GOOD)
        if wanted is not None:
            check_subject(wanted.issuer, wanted.subject)
            for snapshot in (self._staying, self._snapshot):  # no row may have it while this one is written
                check_identity_is_free(snapshot, wanted)
            managed = self._part.managed if self._part.states("managed") else False
            self.account = replace(self.account, identity=wanted, managed=managed, standing=Standing.GOOD)
            self._note("linked", {**_shown(wanted), "managed": managed})

    def _managed(self) -> None:
        wanted = self._part.managed
        if not self._part.states("managed") or wanted == self.account.managed:
            return
        if self.account.identity is None:
            raise ServiceError(
                "account-not-linked", "it is not linked to an identity, which managed needs", "Add its identity."
            )
        self.account = replace(self.account, managed=wanted)
        self._note("managed" if wanted else "unmanaged")


def _remove(snapshot: Snapshot, name: str, account: Account) -> Draft:
    ended = _sign_ins(snapshot, account.id)
    note = Note("account.deleted", account.id, name, {"sign_ins_ended": len(ended)})
    return Draft(Change(Kind.ACCOUNT, Action.REMOVE, name, _values(account), {}), (note,), removals=(account, *ended))


def _sign_ins(snapshot: Snapshot, user_id: str) -> tuple[ApiToken, ...]:
    return tuple(each for each in snapshot.tokens.values() if each.kind is TokenKind.SESSION and each.user_id == user_id)


def _values(account: Account) -> dict[str, JsonValue]:
    """Without what somebody could sign in with."""
    identity = account.identity
    shown = None if identity is None else {"issuer": identity.issuer, "subject": identity.subject}
    return {"identity": shown, "managed": account.managed}


def _shown(identity: Identity) -> dict[str, DetailValue]:
    return {"issuer": identity.issuer, "subject": identity.subject}


def _name(key: _MappingKey) -> str:
    value, group, role = key
    return f"{value} to group {group}" if role is None else f"{value} to role {role}"


def _note(what: str, mapping: ClaimMapping, key: _MappingKey) -> Note:
    _, group, role = key
    return Note(f"claim_mapping.{what}", mapping.id, mapping.value, {"group": group, "role": role})
