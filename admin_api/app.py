"""The composition root of the application: `create_app`, served by `admin_api.__main__` or asked in process by a command."""

import asyncio
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final, cast

from fastapi import APIRouter, Depends, FastAPI
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from admin_api import problems
from admin_api.admission import ACTOR_KEY, Admission
from admin_api.answers import Answers
from admin_api.bodies import Bodies
from admin_api.context import AdminContext
from admin_api.counts import ApiCounts
from admin_api.once import InFlight
from admin_api.parameters import only_known
from admin_api.sign_in_throttle import SignInThrottle
from admin_api.slack import PATH as SLACK_PATH
from admin_api.slack import SlackDoor
from admin_api.streams import Streams
from gateway import __version__

PREFIX: Final = "/v1"
_PROVING: Final = 2  # passwords, at once: each takes a thread, and memory on purpose
_SEARCHES: Final = 4  # of the audit, at once: each keeps a thread busy

#: First segment of a path (behind /v1 where there is that) -> module of `admin_api.routes`.
_RESOURCES: Final[Mapping[str, str]] = {
    "users": "users",
    "groups": "groups",
    "targets": "targets",
    "target-health": "target_health",
    "grants": "grants",
    "access-requests": "access_requests",
    "askable": "askable",
    "approval-policies": "approval_policies",
    "webhooks": "webhooks",
    "deliveries": "deliveries",
    "environments": "environments",
    "roles": "roles",
    "permissions": "permissions",
    "allowlist": "allowlist",
    "sessions": "sessions",
    "audit": "audit",
    "policy": "policy",
    "manifest": "manifest",
    "tokens": "tokens",
    "credentials": "credentials",
    "sign-in": "sign_in",
    "me": "sign_in",
    "accounts": "accounts",
    "claim-mappings": "claim_mappings",
    "whoami": "tokens",
    "lockdown": "tokens",
}
_MACHINES: Final[Mapping[str, str]] = {"healthz": "health", "readyz": "health", "metrics": "health", "slack": "slack"}


class AdminApi(FastAPI):
    """Routes are loaded when somebody first asks for them: a command asks for one resource, and should not wait for all.

    `load_all` loads them at once, for a server; so does the OpenAPI document, which is made when it is first asked for.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            _, first, *rest = [*str(scope["path"]).split("/"), "", ""]
            self._load(_RESOURCES.get(rest[0]) if f"/{first}" == PREFIX else _MACHINES.get(first))
        await super().__call__(scope, receive, send)

    def load_all(self) -> None:
        for module in dict.fromkeys((*_MACHINES.values(), *_RESOURCES.values())):
            self._load(module)

    async def close(self) -> None:
        """End what routes have started."""
        judging = getattr(self.state, "judging", None)
        if judging is not None:
            await judging.close()
        desk = getattr(self.state, "desk", None)
        if desk is not None:
            await desk.close()

    def openapi(self) -> dict[str, Any]:  # FastAPI's own type
        from admin_api.openapi import describe

        if self.openapi_schema is None:
            self.load_all()
            self.openapi_schema = describe(self.title, self.version, self.routes)
        return self.openapi_schema

    def _load(self, name: str | None) -> None:
        loaded: set[str] = self.state.loaded
        if name is None or name in loaded:
            return
        loaded.add(name)
        router = cast(APIRouter, import_module(f"admin_api.routes.{name}").router)
        prefix = "" if name in _MACHINES.values() else PREFIX
        self.include_router(router, prefix=prefix, dependencies=[Depends(only_known)])


def create_app(context: AdminContext) -> AdminApi:
    """Raises NetworkError when `admin_api.allow` holds something that is no network."""
    counts = ApiCounts()
    app = AdminApi(
        title="pgbastion admin API",
        version=__version__,
        # Their pages load programs from other people's servers.
        docs_url=None,
        redoc_url=None,
        # A redirect would be built from the Host header.
        redirect_slashes=False,
        # Nothing is sent anywhere because of a variable in the environment.
        telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},
        middleware=[
            Middleware(Answers, counts=counts),
            Middleware(Admission, context=context),
            Middleware(Bodies, max_bytes=lambda: context.settings.now.admin_api.max_body_bytes, forms=frozenset({SLACK_PATH})),
        ],
    )
    app.state.loaded = set[str]()
    app.state.context = context
    app.state.counts = counts
    app.state.in_flight = InFlight()
    app.state.streams = Streams()
    app.state.sign_ins = SignInThrottle()
    app.state.proving = asyncio.Semaphore(_PROVING)
    app.state.searching = asyncio.Semaphore(_SEARCHES)
    app.state.slack = SlackDoor(context)
    problems.install(app)
    return app


def acting_as(app: ASGIApp, actor: str) -> ASGIApp:
    """The same application for requests of this process itself: `actor` may do everything, and shows no token."""

    async def acting(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, ACTOR_KEY: actor}, receive, send)

    return acting
