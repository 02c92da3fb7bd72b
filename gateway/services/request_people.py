"""Who acts on access requests: always a person, never a key or a machine, and never by something that somebody else made."""

from dataclasses import replace
from typing import Protocol

from gateway.access.electorate import about, memberships
from gateway.access.model import ApiToken, Snapshot, TokenKind, User, UserKind
from gateway.access.request_record import AccessRequest
from gateway.ports import RequestFilter, Store
from gateway.services.actor import Actor
from gateway.services.change import Change
from gateway.services.errors import ServiceError


class RequestStore(Store, Protocol):
    """A store that is asked for access requests without a change of them."""

    async def access_request(self, key: str | int) -> AccessRequest | None: ...

    async def access_requests(self, wanted: RequestFilter) -> list[AccessRequest]: ...


def acting(change: Change) -> User:
    """The account behind the actor. Raises ServiceError where there is none: only people ask and decide."""
    found = next((user for user in change.whole.users.values() if user.id == change.who.user_id), None)
    if found is None:
        text = "only people ask and decide, and nobody is signed in"
        raise ServiceError("nobody-signed-in", text, "Sign in: pgbastion login")
    return found


def check_own_hand(change: Change, user: User) -> None:
    """Raises ServiceError unless this person acts by themselves: signed in, or by a token that they made themselves.

    Whoever may make tokens for others could else decide in their names.
    """
    if user.kind is not UserKind.PERSON:
        raise ServiceError("not-an-approver", "a program decides about nothing", "Ask a person.")
    token = change.who.token
    if token is not None and not _is_own(change.whole, token, user):
        text = f'the token "{token.name}" was made by another: nobody decides by it'
        raise ServiceError("not-by-this-token", text, "Sign in: pgbastion login; or use a token of your own making.")


def refreshed(snapshot: Snapshot, request: AccessRequest) -> AccessRequest:
    """With what the people in it are known by now, as well as then."""
    return replace(request, requester=about(snapshot, request.requester), holder=about(snapshot, request.holder))


async def find_request(change: Change, key: str | int) -> AccessRequest:
    """By its id or its number, if the actor may see it. Raises ServiceError: unknown and hidden look the same."""
    found = await change.access_request(key)
    if found is None or not may_see(change.whole, change.who, found):
        raise unknown_request(key)
    return found


def may_see(snapshot: Snapshot, actor: Actor, request: AccessRequest) -> bool:
    """Who is in it, who could decide about it when it was asked or is an approver of its policy now, and admins of the place."""
    if actor.owner or involves(request, actor.user_id):
        return True
    if actor.may("requests.list", environment_id=request.policy.environment_id):
        return True
    if actor.user_id is None:
        return False
    ids = memberships(snapshot, actor.user_id) | {actor.user_id}
    named = any(not ids.isdisjoint(step.all) for step in request.policy.steps)
    return named or any(actor.user_id in each.all for each in request.electorate)


def involves(request: AccessRequest, user_id: str | None) -> bool:
    """Whether somebody asked it, or it is for them."""
    return user_id is not None and user_id in (request.requester.user_id, request.holder.user_id)


def unknown_request(key: str | int) -> ServiceError:
    what = f"request {key}" if isinstance(key, int) else f'request "{key}"'
    return ServiceError("request-unknown", f"there is no {what}", "See: pgbastion request list")


def _is_own(snapshot: Snapshot, token: ApiToken, user: User) -> bool:
    if token.kind is TokenKind.SESSION:
        return True
    kind, _, name = token.created_by.partition(":")
    if kind == "user":
        return name == user.name
    maker = snapshot.tokens.get(name) if kind == "token" else None
    return kind == "os" or (maker is not None and maker.user_id == user.id)
