"""Every route that takes something, given secrets in right and wrong shapes: no answer and no line of log repeats one."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from admin_api.app import acting_as
from tests.canary.canaries import Canaries
from tests.canary.scanner import Figures, Place, Scanner
from tests.matrix.routes import OPEN, ROUTES, Route
from tests.matrix.test_routes import Here
from tests.matrix.world import ACTORS, base

SECRETS = ("password", "new_password", "code", "verifier", "token", "secret", "pending", "flow", "passwords", "url")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bodies")


@pytest.fixture
async def here(folder: Path) -> AsyncIterator[Here]:
    here = Here(folder)
    yield here
    await here.app.close()


def spoilt(body: dict[str, Any], fields: set[str], secret: str) -> Iterator[str]:
    """The same request with the secret where none belongs, or in a shape that none has."""
    yield json.dumps(body)[:-1] + f', "password": "{secret}'  # breaks off
    yield json.dumps(secret)
    yield json.dumps([body, secret])
    yield json.dumps({**body, "nonsense": secret})
    yield json.dumps({"nonsense": {"password": secret}})
    for name in sorted(fields):
        for wrong in ([[secret]], {"a": {"b": [secret]}}):
            yield json.dumps({**body, name: wrong})
        if name in SECRETS:
            for wrong in (
                secret,
                secret * 100,
                f"{secret}\0",
                f"\ud800{secret}",
                f" {secret}\n",
                {"read_only": secret},
                {"x": secret},
            ):
                yield json.dumps({**body, name: wrong})
        others = [each for each in SECRETS if each in fields and each != name]
        if others:  # the secret is right, something else is wrong
            yield json.dumps({**body, **dict.fromkeys(others, secret), name: [7]})


def fields_of(document: dict[str, Any], route: Route) -> set[str]:
    """Of the request's body, as the API's document describes it."""
    operation = document["paths"][route.template][route.method.lower()]
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return set()
    schema = content["schema"]
    for each in (schema, *schema.get("anyOf", ()), *schema.get("oneOf", ())):
        if "$ref" in each:
            schema = document["components"]["schemas"][each["$ref"].rpartition("/")[2]]
    return set(schema.get("properties", {}))


async def test_no_answer_repeats_what_it_was_asked(here: Here, figures: Figures, capfd: pytest.CaptureFixture[str]) -> None:
    scanner = Scanner(Canaries(), figures)
    document = here.app.openapi()
    asked, refused, statuses = 0, 0, set()
    transport = httpx.ASGITransport(acting_as(here.app, f"user:{ACTORS['owner']}"), client=("127.0.0.1", 40000))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        for route in (each for each in ROUTES if not each.path.endswith("/stream")):
            fields = fields_of(document, route)
            if not fields and route.json is None:
                continue
            path = route.path.replace("{me}", ACTORS["owner"])
            secret = scanner.canaries.make_plain(f"{route.method} {route.template}")
            for content in spoilt(route.json or {}, fields, secret):
                here.store.snapshot = base()
                answer = await client.request(route.method, path, content=content, headers={"Content-Type": "application/json"})
                asked, refused = asked + 1, refused + (answer.status_code >= 400)
                statuses.add(answer.status_code)
                scanner.look([Place("API answer", f"{route.method} {path} {answer.status_code}", answer.content)])
    out, err = capfd.readouterr()
    scanner.look([Place("log", "admin API", (out + err).encode())])
    assert not scanner.leaks, "\n".join(map(str, scanner.leaks[:20]))
    assert asked > 700
    assert refused > asked * 0.6
    assert 422 in statuses


def test_open_routes_are_asked_too() -> None:
    """Those by which people sign in hold secrets most of all."""
    assert {route.template for route in ROUTES if route.need == OPEN} >= {"/v1/sign-in", "/v1/sign-in/password"}
