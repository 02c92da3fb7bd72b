"""Find what a person named, or say what comes close."""

from collections.abc import Iterable
from difflib import get_close_matches

from gateway.access.model import AllowlistEntry, Grant, Snapshot, Target, User
from gateway.services.errors import ServiceError


def find_user(snapshot: Snapshot, name: str) -> User:
    user = snapshot.users.get(name)
    if user is None:
        raise ServiceError("user-unknown", f'there is no user "{name}"', _near(name, snapshot.users, "users"))
    return user


def find_target(snapshot: Snapshot, name: str) -> Target:
    target = snapshot.targets.get(name)
    if target is None:
        raise ServiceError("target-unknown", f'there is no target "{name}"', _near(name, snapshot.targets, "targets"))
    return target


def check_name_is_free(kind: str, name: str, taken: Iterable[str]) -> None:
    """Names that differ only in case would be taken for each other, so they count as the same."""
    wanted = name.lower()
    for other in taken:
        if other.lower() == wanted:
            raise ServiceError(f"{kind}-exists", f'there is a {kind} "{other}" already', "Choose another name.")


def all_grants(snapshot: Snapshot) -> list[Grant]:
    return [grant for grants in snapshot.grants.values() for grant in grants]


def all_entries(snapshot: Snapshot) -> list[AllowlistEntry]:
    levels = (snapshot.target_entries, snapshot.user_entries)
    own = [entry for level in levels for entries in level.values() for entry in entries]
    return [*snapshot.global_entries, *own]


def _near(name: str, known: Iterable[str], plural: str) -> str:
    close = get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(close)}?" if close else f"See: pgbastion {plural} list"
