"""/v1/tokens, /v1/whoami and /v1/lockdown"""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from admin_api.calls import Changing, Doing, Looking, Making, gone, made, told
from admin_api.models.tokens import LockdownRecord, NewApiToken, TokenMade, TokenPage, TokenRecord, Whoami, token_record
from admin_api.paging import Paged
from gateway.access.model import ApiToken, TokenScope
from gateway.audit.admin_event import AdminEvent
from gateway.secret import Secret
from gateway.services import lockdown, tokens
from gateway.services.errors import ServiceError
from gateway.services.lookup import find_named_token, is_live
from gateway.services.tokens import Bounds, NewToken

router = APIRouter()


@router.get("/tokens", response_model=TokenPage, tags=["tokens"])
async def list_tokens(
    call: Looking,
    page: Paged,
    scope: Annotated[TokenScope | None, Query(description="Only of this scope.")] = None,
    live: Annotated[bool | None, Query(description="Only those that have not ended, or only those that have.")] = None,
) -> Response:
    """List tokens, ended ones too, by name."""
    now = call.now
    found = [
        token
        for token in call.snapshot.tokens.values()
        if scope in (None, token.scope) and live in (None, is_live(token.valid_until, now))
    ]
    items, following = page.of(found, lambda token: (token.name,))
    uses = await call.context.store.last_token_uses()
    return call.show_list(TokenPage(items=[token_record(call.snapshot, token, uses, now) for token in items], next=following))


@router.post("/tokens", response_model=TokenMade, status_code=201, tags=["tokens"])
async def create_token(call: Making, body: NewApiToken) -> Response:
    """Make a token. It is in this answer and nowhere else."""

    async def answer_with(token: ApiToken, secret: Secret | None) -> Response:
        text = None if secret is None else secret.reveal()
        record = TokenMade(**dict(token_record(await call.after(), token, {}, call.now)), token=text)
        return made(record, token.version, f"/v1/tokens/{token.name}")

    async def answer(new: NewToken) -> Response:
        return await answer_with(new.token, new.secret)

    async def again(event: AdminEvent) -> Response:
        snapshot = await call.after()
        token = next((each for each in snapshot.tokens.values() if each.id == event.object_id), None)
        if token is None:
            raise ServiceError("token-unknown", "this token was revoked meanwhile")
        return await answer_with(token, None)

    bounds = Bounds(
        body.user,
        None if body.environments is None else frozenset(body.environments),
        None if body.permissions is None else frozenset(body.permissions),
        body.networks,
    )
    return await call.run(
        lambda store: tokens.create_token(
            store, name=body.name, scope=body.scope, valid_until=body.valid_until, bounds=bounds, **call.why
        ),
        answer,
        again,
    )


@router.get("/tokens/{name}", response_model=TokenRecord, tags=["tokens"])
async def show_token(call: Looking, name: str) -> Response:
    """Show one token: all but the token itself."""
    token = find_named_token(call.snapshot, name)
    uses = await call.context.store.last_token_uses()
    return call.show(token_record(call.snapshot, token, uses, call.now), token.version, whole=False)


@router.delete("/tokens/{name}", status_code=204, tags=["tokens"])
async def revoke_token(call: Changing, name: str) -> Response:
    """It opens nothing any more, and streams that it opened end."""
    await tokens.revoke_token(call.store, name=name, expected_version=call.expected_version, **call.why)
    return gone()


@router.get("/whoami", response_model=Whoami, tags=["tokens"])
async def show_caller(call: Looking) -> Response:
    """Who you are here."""
    caller = call.caller
    name = None if caller.token is None else caller.token.name
    user = next((each.name for each in call.whole.users.values() if each.id == call.actor.user_id), None)
    return told(
        Whoami(
            actor=caller.actor,
            scope=caller.scope,
            user=user,
            owner=call.actor.owner,
            token=name,
            valid_until=caller.valid_until,
        )
    )


@router.get("/lockdown", response_model=LockdownRecord, tags=["lockdown"])
async def show_lockdown(call: Looking) -> Response:
    """Whether nobody is let in."""
    reason = call.snapshot.lockdown
    return told(LockdownRecord(active=reason is not None, reason=reason))


@router.put("/lockdown", response_model=LockdownRecord, tags=["lockdown"])
async def lock_down(call: Doing) -> Response:
    """The kill switch: all sessions end within a second, and nobody is let in until it is lifted. Clients read the reason."""
    await lockdown.lock_down(call.store, **call.why)
    return told(LockdownRecord(active=True, reason=call.reason))


@router.delete("/lockdown", response_model=LockdownRecord, tags=["lockdown"])
async def lift_lockdown(call: Doing) -> Response:
    """Let people in again. Rights are as they were."""
    await lockdown.lift_lockdown(call.store, **call.why)
    return told(LockdownRecord(active=False, reason=None))
