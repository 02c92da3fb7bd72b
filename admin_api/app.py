"""The composition root of the application: `create_app`, served by `admin_api.__main__` or asked in process by a command."""

from typing import Any, Final

from fastapi import Depends, FastAPI
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from admin_api import problems
from admin_api.admission import ACTOR_KEY, Admission
from admin_api.answers import Answers
from admin_api.bodies import Bodies
from admin_api.context import AdminContext
from admin_api.metrics import ApiCounts
from admin_api.once import InFlight
from admin_api.openapi import describe
from admin_api.parameters import only_known
from admin_api.routes import allowlist, grants, groups, health, manifest, sessions, targets, tokens, users
from admin_api.session_watch import SessionWatch
from admin_api.streams import Streams
from gateway import __version__

PREFIX: Final = "/v1"
_RESOURCES: Final = (users, groups, targets, grants, allowlist, sessions, tokens, manifest)


class AdminApi(FastAPI):
    """Its OpenAPI document is made when somebody first asks for it."""

    def openapi(self) -> dict[str, Any]:  # FastAPI's own type
        if self.openapi_schema is None:
            self.openapi_schema = describe(self.title, self.version, self.routes)
        return self.openapi_schema


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
            Middleware(Bodies, max_bytes=lambda: context.settings.now.admin_api.max_body_bytes),
        ],
    )
    app.state.context = context
    app.state.counts = counts
    app.state.in_flight = InFlight()
    app.state.streams = Streams()
    app.state.session_watch = SessionWatch(context.gateway)
    problems.install(app)
    app.include_router(health.router, dependencies=[Depends(only_known)])
    for resource in _RESOURCES:
        app.include_router(resource.router, prefix=PREFIX, dependencies=[Depends(only_known)])
    return app


def acting_as(app: ASGIApp, actor: str) -> ASGIApp:
    """The same application for requests of this process itself: `actor` may do everything, and shows no token."""

    async def acting(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, ACTOR_KEY: actor}, receive, send)

    return acting
