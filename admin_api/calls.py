"""What every route gets: who asks, the rights as they are now, and for changes why and under which condition."""

import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Final, TypedDict, TypeVar

from fastapi import Depends, Header, Query, Request
from pydantic import BaseModel
from starlette.responses import Response

from admin_api.admission import CALLER_KEY, Caller
from admin_api.context import AdminContext
from admin_api.once import ClaimingStore, InFlight, check_same_request, claim_of
from admin_api.problems import ApiError
from gateway.access.model import Snapshot, Target
from gateway.audit.admin_event import AdminEvent
from gateway.ports import IdempotencyClaim, LiveGateway
from gateway.services.actor import Actor, require, resolve_actor
from gateway.services.errors import ServiceError
from gateway.services.request_people import RequestStore
from gateway.services.visible import may_on, reach_target, visible
from gateway.store.errors import StoreConflictError
from gateway.store.events import FoundClaim

T = TypeVar("T")

_REPLAYED: Final = "Idempotency-Replayed"
_TAG: Final = re.compile(r'"([0-9]{1,18})"')
_MAX_KEY_CHARACTERS: Final = 200


class Why(TypedDict):
    """As every verb takes it."""

    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Look:
    """A request that changes nothing. `snapshot`: what the caller may see."""

    request: Request
    context: AdminContext
    caller: Caller
    snapshot: Snapshot
    actor: Actor
    whole: Snapshot

    @property
    def now(self) -> datetime:
        return self.context.clock()

    @property
    def gateway(self) -> LiveGateway:
        return self.context.gateway

    def require(self, verb: str, *, user_id: str | None = None) -> None:
        """Raises NotPermitted. `user_id`: whose own it is, where it is everybody's to see their own."""
        require(self.actor, verb, self.whole, user_id=user_id)

    def may_on(self, verb: str, target_name: str) -> bool:
        """Whether the caller may do this on the target of this name, which may not exist any more."""
        return may_on(self.actor, verb, self.whole, target_name)

    def find_target(self, verb: str, name: str) -> Target:
        """All of it, for who may do this. Raises ServiceError when there is no such target within reach, NotPermitted."""
        return reach_target(self.actor, verb, self.whole, name)

    def show(self, record: BaseModel, version: int, *, whole: bool = True) -> Response:
        """One object. `whole`: all of the record is the row with that version; else parts of it belong to other rows."""
        unchanged = whole or self.snapshot.revision == version
        return self._tagged(record.model_dump_json().encode(), f'"{version}"', comparable=unchanged)

    def show_list(self, page: BaseModel) -> Response:
        body = page.model_dump_json().encode()
        return self._tagged(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"', comparable=True)

    def _tagged(self, body: bytes, tag: str, *, comparable: bool) -> Response:
        known = {each.strip().removeprefix("W/") for each in self.request.headers.get("if-none-match", "").split(",")}
        if comparable and known & {tag, "*"}:
            return Response(status_code=304, headers={"ETag": tag})
        return Response(body, headers={"ETag": tag}, media_type="application/json")


@dataclass(frozen=True, slots=True)
class Change:
    """A request that changes something. `expected_version`: only if the object is still at that one."""

    request: Request
    context: AdminContext
    caller: Caller
    reason: str
    expected_version: int | None = None

    @property
    def why(self) -> Why:
        return {"actor": self.caller.actor, "reason": self.reason}

    @property
    def store(self) -> RequestStore:
        return self.context.store

    @property
    def gateway(self) -> LiveGateway:
        return self.context.gateway

    @property
    def now(self) -> datetime:
        return self.context.clock()

    async def after(self) -> Snapshot:
        """The rights as they are after the change, as far as the caller may see them."""
        snapshot, actor = await self.rights()
        return visible(snapshot, actor)

    async def rights(self) -> tuple[Snapshot, Actor]:
        """The rights as they are now, whole, and what the caller may."""
        snapshot = await self.context.read()
        return snapshot, resolve_actor(self.caller.actor, snapshot, self.now)

    async def require(self, verb: str) -> None:
        """Raises NotPermitted."""
        snapshot, actor = await self.rights()
        require(actor, verb, snapshot)

    async def find_target(self, verb: str, name: str) -> Target:
        """All of it, for who may do this. Raises ServiceError when there is no such target within reach, NotPermitted."""
        snapshot, actor = await self.rights()
        return reach_target(actor, verb, snapshot, name)


@dataclass(frozen=True, slots=True)
class Once(Change):
    """A POST that makes something, at most once for each Idempotency-Key."""

    claim: IdempotencyClaim | None = None

    async def run(
        self,
        verb: Callable[[RequestStore], Awaitable[T]],
        answer: Callable[[T], Awaitable[Response]],
        again: Callable[[AdminEvent], Awaitable[Response]],
    ) -> Response:
        """`again`: the answer for a request that took effect before, from that change's event: without what is shown once."""
        claim = self.claim
        if claim is None:
            return await answer(await verb(self.store))
        in_flight: InFlight = self.request.app.state.in_flight
        async with in_flight.hold(claim.key_hash):
            if (found := await self.context.store.find_claim(claim.key_hash)) is None:
                try:
                    made = await verb(ClaimingStore(self.store, claim))
                except (ServiceError, StoreConflictError):
                    # Another process may have been quicker with the same request: then this refusal is only its echo.
                    if (found := await self.context.store.find_claim(claim.key_hash)) is None:
                        raise
                else:
                    return await answer(made)
            return await self._again(found, claim, again)

    async def _again(
        self, found: FoundClaim, claim: IdempotencyClaim, again: Callable[[AdminEvent], Awaitable[Response]]
    ) -> Response:
        check_same_request(found.request_hash, claim)
        response = await again(found.event.event)
        response.headers[_REPLAYED] = "true"
        return response


Reason = Annotated[str, Query(description="Why, for the audit: one line.", examples=["quarterly report"])]
IfMatch = Annotated[
    str | None, Header(description='The ETag of what you looked at: `"12"`. Anything newer answers 409.', examples=['"12"'])
]
IdempotencyKey = Annotated[
    str | None,
    Header(description="Chosen by you, new for each new request: a repetition takes no effect.", examples=["5f2c9c1e"]),
]


def context_of(request: Request) -> AdminContext:
    context: AdminContext = request.app.state.context
    return context


def caller_of(request: Request) -> Caller:
    caller: Caller = request.scope[CALLER_KEY]
    return caller


async def look(request: Request) -> Look:
    context, caller = context_of(request), caller_of(request)
    whole = await context.read()
    actor = resolve_actor(caller.actor, whole, context.clock())
    return Look(request, context, caller, visible(whole, actor), actor, whole)


def change(request: Request, reason: Reason = "", if_match: IfMatch = None) -> Change:
    return Change(request, context_of(request), caller_of(request), reason, expected(if_match))


def plain_change(request: Request, reason: Reason = "") -> Change:
    return Change(request, context_of(request), caller_of(request), reason)


async def once(request: Request, reason: Reason = "", idempotency_key: IdempotencyKey = None) -> Once:
    context, caller = context_of(request), caller_of(request)
    claim = None
    if idempotency_key is not None:
        if not 1 <= len(idempotency_key) <= _MAX_KEY_CHARACTERS or not idempotency_key.isprintable():
            raise ApiError(422, "idempotency-key-invalid", f"an Idempotency-Key has 1 to {_MAX_KEY_CHARACTERS} characters")
        target = f"{request.url.path}?{request.url.query}"
        secret = context.sealer.derive("idempotency claims")
        claim = claim_of(secret, caller.actor, idempotency_key, request.method, target, await request.body())
    return Once(request, context, caller, reason, None, claim)


async def once_at(
    request: Request, reason: Reason = "", idempotency_key: IdempotencyKey = None, if_match: IfMatch = None
) -> Once:
    return replace(await once(request, reason, idempotency_key), expected_version=expected(if_match))


Looking = Annotated[Look, Depends(look)]
Changing = Annotated[Change, Depends(change)]
Doing = Annotated[Change, Depends(plain_change)]
Making = Annotated[Once, Depends(once)]
MakingAt = Annotated[Once, Depends(once_at)]


def expected(if_match: str | None) -> int | None:
    """`"12"` is 12; `*` and nothing are None. Raises ApiError for what is no ETag of ours."""
    if if_match is None or if_match.strip() == "*":
        return None
    match = _TAG.fullmatch(if_match.strip())
    if match is None:
        raise ApiError(422, "if-match-invalid", "If-Match must be one ETag of this API", 'As in: If-Match: "12"')
    return int(match[1])


def gone() -> Response:
    return Response(status_code=204)


def made(record: BaseModel, version: int, location: str) -> Response:
    """A new object, with the place where it is from now on."""
    headers = {"ETag": f'"{version}"', "Location": location}
    return Response(record.model_dump_json(), 201, headers, "application/json")


def shown(record: BaseModel, version: int) -> Response:
    """An object after a change."""
    return Response(record.model_dump_json(), 200, {"ETag": f'"{version}"'}, "application/json")


def told(record: BaseModel, status: int = 200) -> Response:
    """What is no stored object."""
    return Response(record.model_dump_json(), status, media_type="application/json")
