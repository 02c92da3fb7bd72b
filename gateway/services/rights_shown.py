"""Who may do what as an admin, and why: permissions as they add up, each with the role that gives it. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from gateway.access.model import AdminRole, Environment, Permission, Snapshot, User
from gateway.access.permissions import Holding, Scope, Verb, explain, included, verb_called
from gateway.services.actor import resolve_actor, roles_of
from gateway.services.errors import ServiceError
from gateway.services.lookup import find_environment, find_target, find_user


@dataclass(frozen=True, slots=True)
class HeldThere:
    """One environment: what somebody may there, and through what. Sorted by permission."""

    environment: str
    holdings: tuple[Holding, ...]
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rights:
    """`active`: the account may act at all at the moment."""

    user: str
    owner: bool
    active: bool
    roles: tuple[str, ...]
    environments: tuple[HeldThere, ...]


@dataclass(frozen=True, slots=True)
class Reasons:
    """`because`: each of these alone suffices. `needed`: permissions that allow it, there. `givers`: who could give them."""

    user: str
    verb: Verb
    environment: str | None
    target: str | None
    allowed: bool
    because: tuple[Holding, ...]
    needed: tuple[Permission, ...]
    givers: tuple[str, ...]


def rights_of(snapshot: Snapshot, name: str, now: datetime) -> Rights:
    """Raises ServiceError for an unknown user."""
    user = find_user(snapshot, name)
    roles = roles_of(snapshot, user.id)
    environments = sorted(snapshot.environments.values(), key=lambda each: each.name)
    held = [
        HeldThere(each.name, holdings, _targets(snapshot, each))
        for each in environments
        if (holdings := _holdings(roles, each))
    ]
    return Rights(name, any(role.owners for role in roles), _active(user, now), tuple(role.name for role in roles), tuple(held))


def why(snapshot: Snapshot, name: str, verb: str, *, target: str | None, environment: str | None, now: datetime) -> Reasons:
    """May this user do that, and by which role? Raises ServiceError for names that are not there, or a place that is missing."""
    user = find_user(snapshot, name)
    known = verb_called(verb)
    if known is None:
        raise ServiceError("verb-unknown", f'there is no verb "{verb}"', "See: pgbastion permissions verbs")
    place = _place(snapshot, known, target, environment)
    held = roles_of(snapshot, user.id)
    roles = [(role.name, _given(role, place)) for role in held]
    owners = [Holding(role.name, Permission.ADMIN, Permission.ADMIN) for role in held if role.owners]
    by_permission = explain(roles, known) if known.scope in (Scope.TARGET, Scope.ENVIRONMENT) and place is not None else []
    allowed = _active(user, now) and resolve_actor(f"user:{name}", snapshot, now).may(
        verb, environment_id=None if place is None else place.id, user_id=user.id
    )
    needed = tuple(each for each in Permission if each in known.allowed_by)
    because = tuple(dict.fromkeys([*owners, *by_permission]))
    return Reasons(name, known, place.name if place else None, target, allowed, because, needed, owner_names(snapshot))


def owner_names(snapshot: Snapshot) -> tuple[str, ...]:
    ids = {member for role in snapshot.admin_roles.values() if role.owners for member in role.members}
    return tuple(sorted(user.name for user in snapshot.users.values() if user.id in ids))


def _place(snapshot: Snapshot, verb: Verb, target: str | None, environment: str | None) -> Environment | None:
    if verb.scope not in (Scope.TARGET, Scope.ENVIRONMENT):
        return None
    if target is not None:
        found = find_target(snapshot, target).environment_id
        return next(each for each in snapshot.environments.values() if each.id == found)
    if environment is not None:
        return find_environment(snapshot, environment)
    raise ServiceError("place-missing", f"{verb.name} is asked about one place", "Name a target or an environment.")


def _given(role: AdminRole, place: Environment | None) -> Iterable[Permission]:
    return () if place is None else role.permissions.get(place.id, frozenset())


def _holdings(roles: Iterable[AdminRole], environment: Environment) -> tuple[Holding, ...]:
    found: dict[tuple[str, Permission], Holding] = {}
    for role in roles:
        held = frozenset({Permission.ADMIN}) if role.owners else role.permissions.get(environment.id, frozenset())
        for each in held:
            for gives in included(each):
                known: Mapping[tuple[str, Permission], Holding] = found
                if (role.name, gives) not in known or gives is each:
                    found[role.name, gives] = Holding(role.name, each, gives)
    order = list(Permission)
    return tuple(sorted(found.values(), key=lambda each: (order.index(each.gives), not each.explicit, each.role)))


def _targets(snapshot: Snapshot, environment: Environment) -> tuple[str, ...]:
    return tuple(sorted(each.name for each in snapshot.targets.values() if each.environment_id == environment.id))


def _active(user: User, now: datetime) -> bool:
    return user.enabled and (user.valid_until is None or now < user.valid_until)
