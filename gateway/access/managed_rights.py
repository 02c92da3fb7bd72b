"""By which right a managed login is there, and until when. Pure.

A login is for as long as the right may be used at all: it is not dropped when a window closes and made again when it opens. What
ends a session (a window, an address, a lockdown) is `authorize`'s affair; this says when nothing of it is left.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from gateway.access.backing import backing
from gateway.access.holding import held_grants
from gateway.access.managed import ManagedKey, ManagedLogin, ManagedMode
from gateway.access.model import DatabaseRole, Grant, Lease, Snapshot, Target, User
from gateway.access.selection import includes
from gateway.access.validity import has_ended
from gateway.access_mode import AccessMode


@dataclass(frozen=True, slots=True)
class Behind:
    """What stands behind a managed login: whose it is, the database role that it is a member of, until when (None: for good).

    `asked_for`: that role is no login of the target's, but one that an access request was for. `like`: the target's login of the
    mode: sessions have its settings (above all its search_path, by which statements are judged), whatever they are members of.
    """

    user: User
    target: Target
    member_of: str
    until: datetime | None
    like: str
    asked_for: bool


def key_of(lease: Lease) -> ManagedKey | None:
    """Of the login that the session uses upstream; None: the target's own. Of a grant for a database role there is one each."""
    if lease.database_role is not None:
        return ManagedKey(lease.target.id, lease.mode, lease.user.id, lease.grant_id)
    match lease.target.managed:
        case ManagedMode.OFF:
            return None
        case ManagedMode.PER_USER:
            return ManagedKey(lease.target.id, lease.mode, lease.user.id)
        case ManagedMode.PER_GRANT:
            return ManagedKey(lease.target.id, lease.mode, lease.user.id, lease.grant_id)


def as_role(login: ManagedLogin) -> DatabaseRole:
    """As what it logs in."""
    return DatabaseRole(login.id, login.login, login.sealed_secret)


class Rights:
    """Of one snapshot, for many logins."""

    __slots__ = ("_snapshot", "_targets", "_users")

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._targets = {each.id: each for each in snapshot.targets.values()}
        self._users = {each.id: each for each in snapshot.users.values()}

    def behind(self, key: ManagedKey, now: datetime) -> Behind | None:
        """None: nobody has a right to such a login (any more)."""
        snapshot, target, user = self._snapshot, self._targets.get(key.target_id), self._users.get(key.user_id)
        role = None if target is None else target.roles.get(key.mode)
        if target is None or user is None or role is None or target.managed is ManagedMode.OFF:
            return None
        if not _may_come(snapshot, user, key, now):
            return None
        grants = [each for each in _grants(held_grants(snapshot, user, target), key, now) if _is_its_kind(target, key, each)]
        ends = [_end(snapshot, grant, now) for grant in grants if not backing(snapshot, grant, now).lost]
        if not ends:
            return None
        last = None if None in ends else max(end for end in ends if end is not None)
        asked_for = grants[0].database_role
        until = _first(last, user.valid_until)
        return Behind(user, target, asked_for or role.login, until, role.login, asked_for=asked_for is not None)

    def still(self, login: ManagedLogin, now: datetime) -> Behind | None:
        """What stands behind this one as it is: the target's database role may be another one by now."""
        behind = self.behind(login.key, now)
        return behind if behind is not None and behind.member_of == login.member_of else None

    def target(self, login: ManagedLogin) -> Target | None:
        return self._targets.get(login.key.target_id)


def _is_its_kind(target: Target, key: ManagedKey, grant: Grant) -> bool:
    """Whether this grant leads to such a login. (With a grant's id in the key, it is that one.)"""
    own = target.managed is ManagedMode.PER_GRANT or grant.database_role is not None
    return own is (key.grant_id is not None)


def _end(snapshot: Snapshot, grant: Grant, now: datetime) -> datetime | None:
    return _first(grant.valid_until, backing(snapshot, grant, now).until)


def _may_come(snapshot: Snapshot, user: User, key: ManagedKey, now: datetime) -> bool:
    ended = user.valid_until is not None and now >= user.valid_until
    only_reads = user.read_only and key.mode is AccessMode.READ_WRITE
    return user.enabled and not ended and not only_reads and user.id not in snapshot.held_back


def _grants(held: Iterable[Grant], key: ManagedKey, now: datetime) -> list[Grant]:
    return [
        grant
        for grant in held
        if includes(grant.mode, key.mode) and not has_ended(grant, now) and key.grant_id in (None, grant.id)
    ]


def _first(one: datetime | None, other: datetime | None) -> datetime | None:
    return min(one, other) if one is not None and other is not None else one or other
