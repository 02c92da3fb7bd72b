"""Who performs an operator's action, and what they may do: worked out anew from the store for each change.

An actor has a name, which is what the audit writes: `os:<user>` (at the machine itself, where the store's file and the master key
are), `system` (what the program does by itself), `token:<name>` (over the API), `user:<name>` (a person of the gateway who proved
who they are). Services take the name; `begin` makes an Actor of it inside the unit of work, so that a right which was taken away
a moment ago is gone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from gateway.access.model import AdminRole, ApiToken, Permission, Snapshot, TokenScope, User
from gateway.access.permissions import TITLES, Kind, Scope, effective, verb_called
from gateway.services.errors import ServiceError

_NAMED_OWNERS: Final = 5


class NotPermitted(ServiceError):
    """The actor may not do this. The message says what, the hint which permission would do and who can give it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__("not-permitted", message, hint)


@dataclass(frozen=True, slots=True)
class Actor:
    """`user_id`: the account behind it, if there is one. `owner`: may do everything. `only_looks`: but changes nothing.

    `rights`: what else it may do, by environment id, with all that is implied. `own_groups`: ids of those that the account is in.
    `cut_down`: it acts by a token that has less than whose it is, and so cannot change what is that account's own.
    """

    name: str
    user_id: str | None = None
    token: ApiToken | None = None
    owner: bool = False
    only_looks: bool = False
    rights: Mapping[str, frozenset[Permission]] = field(default_factory=dict)
    own_groups: frozenset[str] = frozenset()
    cut_down: bool = False

    def may(self, verb: str, *, environment_id: str | None = None, user_id: str | None = None) -> bool:
        """`environment_id`: where the object lies; None: in none, it is the account's. `user_id`: whose it is, if anybody's."""
        known = verb_called(verb)
        if self.only_looks and (known is None or known.kind is Kind.CHANGE):
            return False
        if self.owner:
            return True
        if known is None:
            return False
        match known.scope:
            case Scope.ANYBODY:
                return True
            case Scope.SELF:
                mine = user_id is not None and user_id == self.user_id
                return mine and not (self.cut_down and known.kind is Kind.CHANGE)
            case Scope.ACCOUNT:
                return False
            case Scope.TARGET | Scope.ENVIRONMENT:
                return environment_id is not None and not self.rights.get(environment_id, _NOTHING).isdisjoint(known.allowed_by)

    def is_own(self, holder_id: str) -> bool:
        """Whether what this user or group is given is given to the actor."""
        return holder_id == self.user_id or holder_id in self.own_groups


_NOTHING: Final[frozenset[Permission]] = frozenset()


def resolve_actor(name: str, snapshot: Snapshot, now: datetime) -> Actor:
    """Raises NotPermitted for a token or an account that is no longer there, has ended or is disabled."""
    kind, _, rest = name.partition(":")
    match kind:
        case "os" | "system":
            return Actor(name, owner=True)
        case "token":
            token = snapshot.tokens.get(rest)
            if token is None or now >= token.valid_until:
                raise NotPermitted(f'there is no token "{rest}" any more')
            return _of_token(name, token, snapshot, now)
        case "user":
            return _of_user(name, snapshot.users.get(rest), snapshot, now)
    raise ServiceError("actor-invalid", f"{name!r} cannot be an actor")


def roles_of(snapshot: Snapshot, user_id: str) -> list[AdminRole]:
    """The admin roles that an account holds, by name."""
    held = (role for role in snapshot.admin_roles.values() if user_id in role.members)
    return sorted(held, key=lambda role: role.name)


def require(
    actor: Actor, verb: str, snapshot: Snapshot, *, environment_id: str | None = None, user_id: str | None = None
) -> None:
    """Raises NotPermitted. The arguments are those of `Actor.may`; `snapshot` is for the text."""
    if not actor.may(verb, environment_id=environment_id, user_id=user_id):
        raise _refusal(actor, verb, snapshot, environment_id)


def _of_user(name: str, user: User | None, snapshot: Snapshot, now: datetime) -> Actor:
    is_over = user is None or not user.enabled or (user.valid_until is not None and now >= user.valid_until)
    if user is None or is_over or user.id in snapshot.held_back:
        raise NotPermitted(f"the account of {name} does not exist any more, or may not log in")
    held = roles_of(snapshot, user.id)
    rights: dict[str, frozenset[Permission]] = {}
    for role in held:
        for environment, permissions in role.permissions.items():
            rights[environment] = rights.get(environment, _NOTHING) | effective(permissions)
    groups = frozenset(group.id for group in snapshot.groups.values() if user.id in group.members)
    owner = any(role.owners for role in held)
    return Actor(name, user.id, None, owner, False, rights, groups)


def _of_token(name: str, token: ApiToken, snapshot: Snapshot, now: datetime) -> Actor:
    """What its user may (an owner, if it is nobody's), cut down to what it was made for."""
    whose = Actor(name, owner=True)
    if token.user_id is not None:
        user = next((each for each in snapshot.users.values() if each.id == token.user_id), None)
        whose = _of_user(name, user, snapshot, now)
    only_looks = token.scope is TokenScope.READ
    owner, rights = whose.owner, whose.rights
    cut_down = token.environments is not None or token.permissions is not None
    if cut_down:
        if owner:
            rights = {each.id: frozenset(Permission) for each in snapshot.environments.values()}
        owner, rights = False, _cut_down(rights, token)
    return Actor(name, whose.user_id, token, owner, only_looks, rights, whose.own_groups, cut_down)


def _cut_down(rights: Mapping[str, frozenset[Permission]], token: ApiToken) -> dict[str, frozenset[Permission]]:
    allowed = frozenset(Permission) if token.permissions is None else effective(token.permissions)
    return {
        environment: kept
        for environment, held in rights.items()
        if (token.environments is None or environment in token.environments) and (kept := held & allowed)
    }


def _refusal(actor: Actor, verb: str, snapshot: Snapshot, environment_id: str | None) -> NotPermitted:
    known = verb_called(verb)
    place = next((each.name for each in snapshot.environments.values() if each.id == environment_id), None)
    where = "" if place is None else f' in environment "{place}"'
    message = f"{actor.name} may not do this: {verb}{where}"
    if actor.only_looks:
        return NotPermitted(f"{message}; it may only look", "This needs a token with the scope admin.")
    if known is None or place is None or known.scope not in (Scope.TARGET, Scope.ENVIRONMENT):
        return NotPermitted(message, f"Only owners may: {_owners(snapshot)}.")
    needed = [TITLES[each] for each in Permission if each in known.allowed_by]
    return NotPermitted(message, f"It takes {' or '.join(needed)} there, which an owner can give: {_owners(snapshot)}.")


def _owners(snapshot: Snapshot) -> str:
    ids = {member for role in snapshot.admin_roles.values() if role.owners for member in role.members}
    names = sorted(user.name for user in snapshot.users.values() if user.id in ids)
    more = [f"{len(names) - _NAMED_OWNERS} more"] if len(names) > _NAMED_OWNERS else []
    return ", ".join([*names[:_NAMED_OWNERS], *more, "whoever runs commands on the gateway's machine"])
