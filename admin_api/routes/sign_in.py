"""/v1/sign-in and /v1/me. What is posted here needs no token: it is how people get one."""

import asyncio
import binascii
import contextlib
import time
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import structlog
from fastapi import APIRouter, Request
from starlette.responses import Response

from admin_api.admission import ACTOR_KEY, peer
from admin_api.calls import Doing, Looking, context_of, gone, told
from admin_api.models.fields import secret
from admin_api.models.sign_in import (
    EnrolmentBegun,
    EnrolmentConfirmation,
    Me,
    OwnPassword,
    ProviderAnswer,
    ProviderSignIn,
    ProviderSignInBegun,
    SignedOut,
    SignInMade,
    SignInRequest,
    enrolment_begun,
    me,
    sign_in_made,
)
from admin_api.oidc.desk import ProviderDesk
from admin_api.problems import ApiError
from admin_api.sign_in_throttle import SignInThrottle
from gateway.access.model import TokenKind
from gateway.secret import Secret
from gateway.services import signing_in
from gateway.services.errors import ServiceError
from gateway.services.signing_in import CodeRequired, Proofs, SignInRefused, Terms
from gateway.store.errors import VaultError

router = APIRouter(tags=["sign-in"])

_PATIENCE: Final = timedelta(minutes=10)
_log: Final = structlog.stdlib.get_logger("admin_api")


@router.post("/sign-in", response_model=SignInMade, status_code=201)
async def sign_in(request: Request, body: SignInRequest) -> Response:
    """Sign in with a name, a password and, where there is an authenticator, a code."""
    context = context_of(request)
    async with _attempt(request, body.name) as address:
        proofs = _proofs(body, address)
        made = await signing_in.sign_in(context.store, context.sealer, proofs=proofs, terms=_terms(request))
    return told(sign_in_made(made), 201)


@router.post("/sign-in/enrolment", response_model=EnrolmentBegun)
async def begin_enrolment(request: Request, body: SignInRequest) -> Response:
    """Begin to set up an authenticator. Who has one already shows a code of it."""
    context = context_of(request)
    async with _attempt(request, body.name) as address:
        begun = await signing_in.begin_enrolment(context.store, context.sealer, proofs=_proofs(body, address))
    return told(enrolment_begun(begun))


@router.post("/sign-in/enrolment/confirm", response_model=SignInMade, status_code=201)
async def enrol(request: Request, body: EnrolmentConfirmation) -> Response:
    """The new authenticator works: use it from now on. Signs in, ends all other sign-ins, and makes recovery codes."""
    context = context_of(request)
    async with _attempt(request, body.name) as address:
        try:
            pending = urlsafe_b64decode(body.pending.encode("ascii"))
            made = await signing_in.enrol(
                context.store,
                context.sealer,
                proofs=_proofs(body, address),
                pending=pending,
                patience=_PATIENCE,
                terms=_terms(request),
            )
        except (VaultError, binascii.Error, UnicodeEncodeError):
            text = "this enrolment was not begun here"
            raise ServiceError("enrolment-stale", text, "Begin again: pgbastion accounts enrol") from None
    return told(sign_in_made(made), 201)


@router.post("/sign-in/password", status_code=204)
async def change_own_password(request: Request, body: OwnPassword) -> Response:
    """Another password for signing in. All sign-ins end."""
    context = context_of(request)
    async with _attempt(request, body.name) as address:
        password = secret(body.new_password) or Secret("")
        await signing_in.change_own_password(context.store, context.sealer, proofs=_proofs(body, address), password=password)
    return gone()


@router.post("/sign-in/provider", response_model=ProviderSignInBegun)
async def begin_with_provider(request: Request, body: ProviderSignIn) -> Response:
    """Begin to sign in through the identity provider: with the browser, which comes back to a program of the person's own."""
    begun = await _desk(request).begin(body.redirect_uri)
    return told(ProviderSignInBegun(url=begun.url, state=begun.state, flow=begun.flow))


@router.post("/sign-in/provider/finish", response_model=SignInMade, status_code=201)
async def finish_with_provider(request: Request, body: ProviderAnswer) -> Response:
    """The browser came back."""
    async with _attempt(request, None) as address:
        made = await _desk(request).finish(
            flow=body.flow,
            state=body.state,
            code=secret(body.code) or Secret(""),
            issuer=body.issuer,
            terms=_terms(request),
            address=address,
        )
    return told(sign_in_made(made), 201)


@router.delete("/sign-in", response_model=SignedOut)
async def sign_out(call: Doing) -> Response:
    """End this sign-in: its token opens nothing any more. Others of yours go on."""
    token = call.caller.token
    if token is None or token.kind is not TokenKind.SESSION:
        raise ServiceError("sign-in-unknown", "this is no sign-in", "A token that was made for a program is revoked.")
    snapshot, actor = await call.rights()
    account = snapshot.accounts.get(actor.user_id or "")
    await signing_in.sign_out(call.store, token=token, user_name=actor.name.removeprefix("user:"), actor=actor.name)
    linked = account is not None and account.identity is not None
    return told(SignedOut(end_session_url=await _desk(call.request).end_session_url() if linked else None))


@router.get("/me", response_model=Me)
async def show_me(call: Looking) -> Response:
    """Who you are here, and how you sign in."""
    token = call.caller.token
    record = me(call.actor, call.whole)
    return told(
        record.model_copy(update={"kind": None if token is None else token.kind, "valid_until": call.caller.valid_until})
    )


@asynccontextmanager
async def _attempt(request: Request, name: str | None) -> AsyncIterator[str]:
    """One attempt to sign in: bounded, and written down when it fails. Yields from where, for the audit.

    `name` None: there is no password to look at, which takes room and time.
    """
    throttle: SignInThrottle = request.app.state.sign_ins
    proving: asyncio.Semaphore = request.app.state.proving
    turn = contextlib.nullcontext() if name is None else proving
    context, began = context_of(request), time.monotonic()
    address = None if ACTOR_KEY in request.scope else peer(request.scope)
    shown = "this machine" if address is None else str(address)
    limits = context.settings.now.throttle
    throttle.bound(limits.free_failures, limits.window_seconds)
    if address is not None and (wait := throttle.attempt(address, name, began)) > 0:
        _log.warning("too many attempts to sign in", address=shown)
        raise ApiError(429, "too-many-failures", "too many attempts to sign in failed", f"Try again in {int(wait) + 1} s.")
    try:
        async with turn:
            yield shown
    except SignInRefused as refused:
        _log.warning("a sign-in was refused", address=shown, what=refused.what)
        await signing_in.note_refused(context.store, refused, shown)
        raise
    if address is not None:
        throttle.succeeded(address, name, began)


def _proofs(body: SignInRequest, address: str) -> Proofs:
    return Proofs(body.name, secret(body.password) or Secret(""), body.code.get_secret_value(), address)


def _terms(request: Request) -> Terms:
    settings = context_of(request).settings.now.sign_in
    return Terms(timedelta(hours=settings.hours), CodeRequired(settings.code_required))


def _desk(request: Request) -> ProviderDesk:
    """The server has made one at its start; a command makes it when it is needed."""
    state = request.app.state
    if getattr(state, "desk", None) is None:
        state.desk = ProviderDesk(context_of(request))
    desk: ProviderDesk = state.desk
    return desk
