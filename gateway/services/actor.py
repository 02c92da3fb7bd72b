"""Who performs an operator's action, and what they may do: worked out anew from the store for each change.

An actor has a name, which is what the audit writes: `os:<user>` (at the machine itself, where the store's file and the master key
are), `system` (what the program does by itself), `token:<name>` (over the API), `user:<name>` (a person of the gateway who proved
who they are). Services take the name; `begin` makes an Actor of it inside the unit of work, so that a right which was taken away
a moment ago is gone.
"""

from dataclasses import dataclass
from datetime import datetime

from gateway.access.model import ApiToken, Snapshot, TokenScope
from gateway.services.errors import ServiceError


class NotPermitted(ServiceError):
    """The actor may not do this. The message says what, the hint which permission would do and who can give it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__("not-permitted", message, hint)


@dataclass(frozen=True, slots=True)
class Actor:
    """`user_id`: the account behind it, if there is one. `owner`: may do everything."""

    name: str
    user_id: str | None = None
    token: ApiToken | None = None
    owner: bool = False

    def may(self, verb: str, *, environment_id: str | None = None, user_id: str | None = None) -> bool:
        """`environment_id`: where the object lies; None: in none, it is the account's. `user_id`: whose it is, if anybody's."""
        return self.owner


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
            return Actor(name, token=token, owner=token.scope is TokenScope.ADMIN)
        case "user":
            user = snapshot.users.get(rest)
            if user is None or not user.enabled or (user.valid_until is not None and now >= user.valid_until):
                raise NotPermitted(f'user "{rest}" does not exist any more, or may not log in')
            return Actor(name, user_id=user.id)
    raise ServiceError("actor-invalid", f"{name!r} cannot be an actor")


def require(actor: Actor, verb: str, *, environment_id: str | None = None, user_id: str | None = None) -> None:
    """Raises NotPermitted. The arguments are those of `Actor.may`."""
    if not actor.may(verb, environment_id=environment_id, user_id=user_id):
        raise NotPermitted(f"{actor.name} may not do this: {verb}", "Ask an owner.")
