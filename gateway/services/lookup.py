"""Find what a person named, or say what comes close; and make sure that it still is what they looked at."""

from collections.abc import Iterable
from datetime import datetime
from difflib import get_close_matches

from gateway.access.model import AdminRole, AllowlistEntry, ApiToken, Environment, Grant, Group, Snapshot, Target, User
from gateway.services.errors import ServiceError


def find_user(snapshot: Snapshot, name: str, expected_version: int | None = None) -> User:
    user = snapshot.users.get(name)
    if user is None:
        raise ServiceError("user-unknown", f'there is no user "{name}"', _near(name, snapshot.users, "users"))
    check_version(f'user "{name}"', user.version, expected_version)
    return user


def find_group(snapshot: Snapshot, name: str, expected_version: int | None = None) -> Group:
    group = snapshot.groups.get(name)
    if group is None:
        raise ServiceError("group-unknown", f'there is no group "{name}"', _near(name, snapshot.groups, "groups"))
    check_version(f'group "{name}"', group.version, expected_version)
    return group


def find_target(snapshot: Snapshot, name: str, expected_version: int | None = None) -> Target:
    target = snapshot.targets.get(name)
    if target is None:
        raise ServiceError("target-unknown", f'there is no target "{name}"', _near(name, snapshot.targets, "targets"))
    check_version(f'target "{name}"', target.version, expected_version)
    return target


def find_environment(snapshot: Snapshot, name: str, expected_version: int | None = None) -> Environment:
    found = snapshot.environments.get(name)
    if found is None:
        text = f'there is no environment "{name}"'
        raise ServiceError("environment-unknown", text, _near(name, snapshot.environments, "environments"))
    check_version(f'environment "{name}"', found.version, expected_version)
    return found


def find_admin_role(snapshot: Snapshot, name: str, expected_version: int | None = None) -> AdminRole:
    role = snapshot.admin_roles.get(name)
    if role is None:
        raise ServiceError("admin-role-unknown", f'there is no admin role "{name}"', _near(name, snapshot.admin_roles, "roles"))
    check_version(f'admin role "{name}"', role.version, expected_version)
    return role


def find_named_token(snapshot: Snapshot, name: str, expected_version: int | None = None) -> ApiToken:
    token = snapshot.tokens.get(name)
    if token is None:
        raise ServiceError("token-unknown", f'there is no token "{name}"', _near(name, snapshot.tokens, "tokens"))
    check_version(f'token "{name}"', token.version, expected_version)
    return token


def find_grant(snapshot: Snapshot, grant_id: str, expected_version: int | None = None) -> Grant:
    grant = next((grant for grant in all_grants(snapshot) if grant.id == grant_id), None)
    if grant is None:
        raise ServiceError("grant-unknown", f'there is no grant "{grant_id}"', "See: pgbastion grants list")
    check_version(f'grant "{grant_id}"', grant.version, expected_version)
    return grant


def find_entry(snapshot: Snapshot, entry_id: str, expected_version: int | None = None) -> AllowlistEntry:
    entry = next((entry for entry in all_entries(snapshot) if entry.id == entry_id), None)
    if entry is None:
        raise ServiceError("entry-unknown", f'there is no allowlist entry "{entry_id}"', "See: pgbastion allowlist list")
    check_version(f'allowlist entry "{entry_id}"', entry.version, expected_version)
    return entry


def check_version(what: str, version: int, expected: int | None) -> None:
    """Optimistic locking: whoever says which version they looked at changes that one, or nothing."""
    if expected is not None and version != expected:
        raise ServiceError(
            "changed-meanwhile",
            f"{what} was changed meanwhile: it is at revision {version}, and you looked at revision {expected}",
            f"Read it again, then decide anew. The audit event of revision {version} says who changed what.",
        )


def check_name_is_free(kind: str, name: str, taken: Iterable[str]) -> None:
    """Names that differ only in case would be taken for each other, so they count as the same."""
    wanted = name.lower()
    for other in taken:
        if other.lower() == wanted:
            text = f'User "{other}" already exists' if kind == "user" else f'there is a {kind} "{other}" already'
            raise ServiceError(f"{kind}-exists", text, "Choose another name.")


def is_live(valid_until: datetime | None, now: datetime) -> bool:
    return valid_until is None or now < valid_until


def groups_of(snapshot: Snapshot, user: User) -> list[Group]:
    """The groups that this user is a member of, by name."""
    return sorted((group for group in snapshot.groups.values() if user.id in group.members), key=lambda group: group.name)


def all_grants(snapshot: Snapshot) -> list[Grant]:
    return [grant for grants in snapshot.grants.values() for grant in grants]


def all_entries(snapshot: Snapshot) -> list[AllowlistEntry]:
    levels = (snapshot.target_entries, snapshot.user_entries)
    own = [entry for level in levels for entries in level.values() for entry in entries]
    return [*snapshot.global_entries, *own]


def _near(name: str, known: Iterable[str], plural: str) -> str:
    close = get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(close)}?" if close else f"See: pgbastion {plural} list"
