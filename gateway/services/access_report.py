"""Who could reach what, when, by which grant: for reviews. Pure: of the rights as they are and the record of their changes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway.access.model import AdminRole, Grant, Group, Snapshot, Target, User
from gateway.audit.admin_event import RecordedAdminEvent


@dataclass(frozen=True, slots=True)
class Reach:
    """One way in which somebody could reach a target. `since` None: since before the record begins; `until` None: no end.

    `grant`: a grant's id, or `role:<role>:<environment>` for a standing right. `through`: "self", "group analysts", "role dba".
    `account`: "active", "disabled", "expired" or "deleted", as it is now.
    """

    user: str
    target: str
    environment: str
    mode: str
    through: str
    grant: str
    since: datetime | None
    until: datetime | None
    account: str


def report(
    snapshot: Snapshot,
    events: Sequence[RecordedAdminEvent],
    *,
    since: datetime | None,
    until: datetime | None,
    now: datetime,
) -> list[Reach]:
    """Every way that was open at some moment of [since, until), by user and target. `events`: all of the store, in order.

    What a group held counts for who is in it now; of groups that are gone their name stands in place of a user.
    """
    history = _History(events)
    found = [*_present(snapshot, history, now), *_past(snapshot, history, now)]
    wanted = (each for each in found if _overlaps(each, since, until))
    return sorted(wanted, key=lambda each: (each.user, each.target, each.mode, each.through, each.grant))


class _History:
    """When each grant was made and ended, by the record."""

    def __init__(self, events: Iterable[RecordedAdminEvent]) -> None:
        self.made: dict[str, RecordedAdminEvent] = {}
        self.ended: dict[str, datetime] = {}
        self.until: dict[str, datetime | None] = {}
        self.roles_changed: dict[tuple[str, str], datetime] = {}
        for each in events:
            event = each.event
            match event.action:
                case "grant.created":
                    self.made[event.object_id] = each
                    self.until[event.object_id] = _instant(event.detail.get("valid_until"))
                    for replaced in str(event.detail.get("replaced") or "").split(", "):
                        self.ended.setdefault(replaced, each.at)
                case "grant.changed":
                    self.until[event.object_id] = _instant(event.detail.get("valid_until"))
                case "grant.revoked":
                    self.ended.setdefault(event.object_id, each.at)
                case "user.deleted" | "group.deleted" | "target.deleted":
                    self._end_all(event.action.partition(".")[0], event.object_name, each.at)
                case "admin_role.members_changed" | "admin_role.created":
                    self._joined(event.object_id, event.detail.get("added", event.detail.get("members")), each.at)

    def since(self, grant_id: str) -> datetime | None:
        return self.made[grant_id].at if grant_id in self.made else None

    def _end_all(self, kind: str, name: str, at: datetime) -> None:
        for grant_id, made in self.made.items():
            if made.event.detail.get(kind) == name:
                self.ended.setdefault(grant_id, at)

    def _joined(self, role_id: str, names: object, at: datetime) -> None:
        if isinstance(names, tuple):
            self.roles_changed |= {(role_id, name): at for name in names}


def _present(snapshot: Snapshot, history: _History, now: datetime) -> Iterator[Reach]:
    environments = {each.id: each.name for each in snapshot.environments.values()}
    users = {user.id: user for user in snapshot.users.values()}
    groups = {group.id: group for group in snapshot.groups.values()}
    targets = {target.id: target for target in snapshot.targets.values()}
    roles = {role.id: role for role in snapshot.admin_roles.values()}
    for held in snapshot.grants.values():
        for grant in held:
            target = targets[grant.target_id]
            began = _began(grant, history.since(grant.id))
            for user, through in _people(grant, users, groups):
                place = environments.get(target.environment_id, "")
                account = _account(user, now)
                yield Reach(
                    user.name, target.name, place, grant.mode.value, through, grant.id, began, grant.valid_until, account
                )
    for (user_id, environment), role_id in snapshot.standing.items():
        for target in (each for each in targets.values() if each.environment_id == environment):
            yield _standing(users[user_id], target, environments.get(environment, ""), roles[role_id], history, now)


def _standing(user: User, target: Target, place: str, role: AdminRole, history: _History, now: datetime) -> Reach:
    name = f"role:{role.id}:{target.environment_id}"
    since = history.roles_changed.get((role.id, user.name))
    return Reach(user.name, target.name, place, "read_only", f"role {role.name}", name, since, None, _account(user, now))


def _past(snapshot: Snapshot, history: _History, now: datetime) -> Iterator[Reach]:
    environments = {each.id: each.name for each in snapshot.environments.values()}
    users = snapshot.users
    present = {grant.id for held in snapshot.grants.values() for grant in held}
    for grant_id, made in history.made.items():
        if grant_id in present:
            continue
        detail = made.event.detail
        person, group = detail.get("user"), detail.get("group")
        target = str(detail.get("target", ""))
        known = snapshot.targets.get(target)
        ends = [end for end in (history.ended.get(grant_id), history.until.get(grant_id)) if end is not None]
        yield Reach(
            str(person or f"(group {group})"),
            target,
            "" if known is None else environments.get(known.environment_id, ""),
            str(detail.get("mode", "")),
            "self" if person else f"group {group}",
            grant_id,
            made.at,
            min(ends, default=made.at),
            _account(users[str(person)], now) if str(person) in users else "deleted" if person else "",
        )


def _people(grant: Grant, users: Mapping[str, User], groups: Mapping[str, Group]) -> Iterator[tuple[User, str]]:
    if grant.holder_id in users:
        yield users[grant.holder_id], "self"
    elif (group := groups.get(grant.holder_id)) is not None:
        for member in group.members:
            yield users[member], f"group {group.name}"


def _began(grant: Grant, made_at: datetime | None) -> datetime | None:
    return max((each for each in (made_at, grant.valid_from) if each is not None), default=None)


def _account(user: User, now: datetime) -> str:
    if not user.enabled:
        return "disabled"
    return "expired" if user.valid_until is not None and now >= user.valid_until else "active"


def _overlaps(reach: Reach, since: datetime | None, until: datetime | None) -> bool:
    ends_before = since is not None and reach.until is not None and reach.until <= since
    begins_after = until is not None and reach.since is not None and reach.since >= until
    return not ends_before and not begins_after


def _instant(value: object) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else None
