"""Who may ask at all: the address first, then by which name, then the token and what it may do. Before a byte of the body."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeAlias, assert_never

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from admin_api.context import AdminContext
from admin_api.hosts import Hosts
from admin_api.problems import problem
from admin_api.slack import is_open as is_from_slack
from admin_api.throttle import TokenThrottle
from gateway.access.model import ApiToken, Snapshot, TokenKind, TokenScope
from gateway.access.networks import AddressList, NetworkError, canonical_address, parse_network
from gateway.secret import Secret
from gateway.services.tokens import find_token
from gateway.settings import CurrentSettings, Settings
from gateway.store.errors import StoreError

Address: TypeAlias = IPv4Address | IPv6Address

ACTOR_KEY: Final = "pgbastion.actor"
"""Of the ASGI scope: who acts, set by the command that runs the application in process. No request can set it."""

CALLER_KEY: Final = "pgbastion.caller"
OPEN_PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics", "/openapi.json"})
SIGN_IN_PATHS: Final = frozenset(
    f"/v1/sign-in{each}" for each in ("", "/enrolment", "/enrolment/confirm", "/password", "/provider", "/provider/finish")
)
"""What is posted there needs no token: it is how people get one. How often, the routes bound themselves."""

_LOOKING: Final = frozenset({"GET", "HEAD"})
_MAX_HEADER_CHARACTERS: Final = 512
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="pgbastion"'}

_log: Final = structlog.stdlib.get_logger("admin_api")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `token`: None in process. `presented`: what to look for again while a stream lasts."""

    actor: str
    scope: TokenScope
    token: ApiToken | None = None
    presented: Secret | None = None
    address: Address | None = None

    @property
    def valid_until(self) -> datetime | None:
        return None if self.token is None else self.token.valid_until


class Allowed:
    """The API's own allowlist, as the settings have it now. Asked for each connection and for each request."""

    def __init__(self, settings: CurrentSettings) -> None:
        self._take(settings.now)
        settings.subscribe(self._take)

    def __call__(self, address: Address, now: datetime) -> bool:
        return self._list.admission(address, now) is not None

    def _take(self, settings: Settings) -> None:
        self._list = listed(settings.admin_api.allow)


class Admission:
    def __init__(self, app: ASGIApp, context: AdminContext) -> None:
        self._app = app
        self._context = context
        self._allowed = Allowed(context.settings)
        self._meant_for_us = Hosts(context.settings)
        self._throttle = TokenThrottle()
        self._take(context.settings.now)
        context.settings.subscribe(self._take)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if (actor := scope.get(ACTOR_KEY)) is not None:
            scope[CALLER_KEY] = Caller(str(actor), TokenScope.ADMIN)
            await self._app(scope, receive, send)
            return
        address = peer(scope)
        if address is None or not self._allowed(address, self._context.clock()):
            answer = problem(403, "address-not-admitted", "this address may not use the admin API", "See admin_api.allow.")
            await answer(scope, receive, send)
            return
        if not self._meant_for_us(scope):
            hint = "Ask for it by an address or as localhost. Its other names are in admin_api.names."
            await problem(421, "host-unknown", "this API is not called by that name", hint)(scope, receive, send)
            return
        if not str(scope["path"]).startswith("/"):
            # An absolute URI asks for a proxy; there is none here.
            await problem(400, "request-unreadable", "the request's target is not a path")(scope, receive, send)
            return
        slack = self._context.settings.now.slack
        if not is_open(scope["method"], scope["path"]) and not is_from_slack(slack, scope["method"], scope["path"]):
            refusal = await self._identify(scope, address)
            if refusal is not None:
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _take(self, settings: Settings) -> None:
        self._throttle.bound(settings.throttle.free_failures, settings.throttle.window_seconds)

    async def _identify(self, scope: Scope, address: Address) -> ASGIApp | None:
        """Puts the Caller into the scope; what it returns is the refusal."""
        now = time.monotonic()
        presented = bearer(scope)
        try:
            snapshot = await self._context.read()
        except StoreError as error:
            _log.error("nobody can be identified: the store does not answer", error=str(error))
            return problem(503, "store-unavailable", "the store does not answer", "", headers={"Retry-After": "1"})
        token = None if presented is None else find_token(snapshot, presented, self._context.clock())
        wait = self._throttle.refused_for_seconds(address, None if token is None else token.id, now)
        if presented is not None and wait > 0:
            text = "too many wrong tokens came from this address"
            return problem(429, "too-many-failures", text, headers={"Retry-After": str(int(wait) + 1)})
        if token is None:
            if presented is not None:
                self._throttle.failed(address, now)
                _log.warning("token refused", address=str(address))
            hint = "Send a token that is still valid: Authorization: Bearer TOKEN"
            return problem(401, "token-required", "this needs a valid token", hint, headers=_CHALLENGE)
        self._throttle.succeeded(address, token.id)
        if not takes(token, address):
            text = f'the token "{token.name}" is not taken from this address'
            return problem(403, "address-not-admitted-for-token", text, "Its own networks are told by: pgbastion tokens list")
        self._context.token_used(token.id, self._context.clock())
        if not may(token.scope, scope["method"]):
            text = f'the token "{token.name}" may only look'
            return problem(403, "scope-insufficient", text, "This needs a token with the scope admin.")
        if (actor := actor_of(token, snapshot)) is None:
            return problem(401, "token-required", "who signed in may not log in any more", headers=_CHALLENGE)
        scope[CALLER_KEY] = Caller(actor, token.scope, token, presented, address)
        return None


def listed(networks: Sequence[str]) -> AddressList:
    """The API's own allowlist, in the form that every list has. Raises NetworkError that names the setting."""
    try:
        return AddressList([(parse_network(text), None) for text in networks])
    except NetworkError as error:
        raise NetworkError(f"admin_api.allow: {error}") from error


def peer(scope: Scope) -> Address | None:
    """The other end of the connection itself: what headers say about it is not asked."""
    return canonical_peer(scope.get("client"))


def canonical_peer(client: Sequence[object] | None) -> Address | None:
    """ASGI's (host, port), as lists know addresses."""
    try:
        return canonical_address(str(client[0])) if client else None
    except NetworkError:
        return None


def is_open(method: str, path: str) -> bool:
    return path in OPEN_PATHS or (method == "POST" and path in SIGN_IN_PATHS)


def actor_of(token: ApiToken, snapshot: Snapshot) -> str | None:
    """As the audit names who comes with this. None: somebody who signed in, and is gone, disabled or held back since."""
    if token.kind is TokenKind.API:
        return f"token:{token.name}"
    user = next((each for each in snapshot.users.values() if each.id == token.user_id), None)
    return None if user is None or not user.enabled or user.id in snapshot.held_back else f"user:{user.name}"


def bearer(scope: Scope) -> Secret | None:
    """The token of the one Authorization header. Two of them, or another kind: none."""
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(values) != 1 or len(values[0]) > _MAX_HEADER_CHARACTERS:
        return None
    kind, _, token = values[0].decode("latin-1").partition(" ")
    return Secret(token.strip()) if kind.lower() == "bearer" and token.strip() else None


def takes(token: ApiToken, address: Address) -> bool:
    """Whether the token's own allowlist, if it has one, admits this address."""
    return not token.networks or any(address.version == each.version and address in each for each in token.networks)


def may(scope: TokenScope, method: str) -> bool:
    match scope:
        case TokenScope.ADMIN:
            return True
        case TokenScope.READ:
            return method in _LOOKING
    assert_never(scope)


def still_valid(caller: Caller, snapshot: Snapshot, now: datetime) -> bool:
    """Whether who asked may still be answered: for streams, again and again."""
    if caller.presented is None or caller.token is None:
        return True
    found = find_token(snapshot, caller.presented, now)
    return found is not None and found.id == caller.token.id and actor_of(found, snapshot) == caller.actor
