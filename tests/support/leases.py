"""Leases that nobody had to grant, for tests of what comes after authorization."""

from gateway.access.model import DatabaseRole, Lease, ListMode, Target, TlsMode, User
from gateway.access_mode import AccessMode


def lease_of(user: str, target: str = "sales", ceiling: int | None = None) -> Lease:
    """Of this user on this target, to read; ids are names with a prefix."""
    role = DatabaseRole("r", "app_ro", b"")
    place = Target(
        f"id-{target}",
        target,
        "db",
        5432,
        target,
        TlsMode.DISABLE,
        None,
        False,
        True,
        ListMode.INHERIT,
        {},
        max_sessions=ceiling,
    )
    person = User(f"id-{user}", user, "", True, None, ListMode.INHERIT, 1)
    return Lease(person, place, AccessMode.READ_ONLY, role, "g", None, 1)
