"""Requests that schemathesis makes from the OpenAPI document: no answer is a 5xx, none is undocumented, none breaks its schema."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.generation import GenerationMode
from schemathesis.schemas import BaseSchema

from admin_api.app import create_app
from admin_api.context import AdminContext
from gateway.access.model import TokenScope
from gateway.bus.gateway import BusGateway
from gateway.services.audit import AuditLog
from gateway.services.tokens import create_token
from gateway.settings import CurrentSettings
from tests.api.conftest import WHY, make_settings, make_store
from tests.api.test_api_matrix import MATRIX

#: What a document cannot say of this API: which names exist, and rules that go beyond a schema.
NOT_ASKED = (
    "positive_data_acceptance",
    "ignored_auth",
    "use_after_free",
    "ensure_resource_availability",
    "unsupported_method",
    "not_a_server_error",  # asked here: no gateway runs beside these tests, and that is a 503
)

load_all_checks()


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> tuple[BaseSchema, str]:
    """What to ask, and the token to ask with."""
    settings = make_settings(tmp_path_factory.mktemp("generated"))

    async def make() -> tuple[AdminContext, str]:
        store, vault = await make_store(settings)
        soon = datetime.now(UTC) + timedelta(hours=1)
        new = await create_token(store, name="boss", scope=TokenScope.ADMIN, valid_until=soon, **WHY)

        async def revision() -> int:
            return (await store.read()).revision

        gateway = BusGateway(settings.bus_socket)
        audit = AuditLog(settings.audit_dir, store, revision)
        return AdminContext(CurrentSettings(settings), store, vault, store.read, gateway, audit=audit), new.secret.reveal()

    context, token = asyncio.run(make())
    app = create_app(context)

    async def from_here(scope: Any, receive: Any, send: Any) -> None:
        """schemathesis' client says that it is called "testclient", which is no address, and asks for "testserver"."""
        headers = [(name, b"localhost" if name == b"host" else value) for name, value in scope.get("headers", ())]
        await app({**scope, "client": ("127.0.0.1", 4000), "headers": headers}, receive, send)

    return schemathesis.openapi.from_asgi("/openapi.json", from_here), token


ROUTES = [route for route, kind in MATRIX.items() if kind != "stream" and route[1] != "/openapi.json"]


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_generated_requests(generated: tuple[BaseSchema, str], method: str, path: str, mode: GenerationMode) -> None:
    schema, token = generated
    headers = {"Authorization": f"Bearer {token}"} if path.startswith("/v1") else {}
    excluded = CHECKS.get_by_names(list(NOT_ASKED))

    @hypothesis.settings(
        max_examples=5, derandomize=True, database=None, deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
    )
    @hypothesis.given(case=schema[path][method].as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case) -> None:
        if case.path_parameters.get("name") == "boss":
            return  # the token that asks
        answer = case.call(headers=headers)
        assert answer.status_code in (*range(200, 500), 503)
        if answer.status_code != 413:  # refused as it should be, but schemathesis does not count that
            case.validate_response(answer, excluded_checks=excluded)

    try:
        ask()
    except hypothesis.errors.Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE  # a route that takes nothing cannot be given the wrong thing
