"""Every route x every permission. What the published matrix does not allow is refused; what it allows is not."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from admin_api.app import AdminApi, acting_as, create_app
from admin_api.context import AdminContext
from gateway.settings import CurrentSettings, Settings
from gateway.store.vault import SealedVault, ensure_key
from tests.matrix.routes import OPEN, ROUTES, Route
from tests.matrix.world import ACTORS, MemoryStore, TwoSessions, allows, base
from tests.support.short_names import SHORT_NAMES

NOT_THERE = {"lockdown-unknown", "sign-in-unknown"}
"""Said after the right was asked for: in this small world there is none of it."""


class Here:
    """The application over the store in memory, which begins anew with each request."""

    def __init__(self, folder: Path) -> None:
        ensure_key(folder / "master.key")
        (folder / "tls").mkdir(exist_ok=True)
        (folder / "tls" / "ca.pem").write_text("any")
        settings = Settings.model_validate({"state_dir": folder, "users": SHORT_NAMES})
        self.store = MemoryStore()
        vault = SealedVault.load(folder / "master.key")
        context = AdminContext(CurrentSettings(settings), self.store, vault, self.store.read, TwoSessions())
        self.app: AdminApi = create_app(context)

    async def ask(self, actor: str, route: Route) -> httpx.Response:
        self.store.snapshot = base()
        name = ACTORS[actor]
        app = acting_as(self.app, f"user:{name}")
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 40000))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            body: Any = None if route.json is None else json.loads(json.dumps(route.json).replace("{me}", name))
            return await client.request(route.method, route.path.replace("{me}", name), json=body)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("matrix")


@pytest.fixture
async def here(folder: Path) -> AsyncIterator[Here]:
    here = Here(folder)
    yield here
    await here.app.close()


async def test_every_route_is_in_the_table(here: Here) -> None:
    document = here.app.openapi()
    found = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert found == {(route.method, route.template) for route in ROUTES}


async def test_every_route_asks_for_every_permission(here: Here) -> None:
    wrong, checks = [], 0
    for route in (each for each in ROUTES if each.need != OPEN):
        for actor in ACTORS:
            answer = await here.ask(actor, route)
            rule = answer.json().get("rule", "") if answer.content and answer.status_code >= 400 else ""
            hidden = answer.status_code == 404 and rule.endswith("-unknown") and rule not in NOT_THERE
            refused = rule == "not-permitted" or hidden
            bad = answer.status_code in (401, 405, 500) or rule == "request-invalid"
            if bad or refused == allows(route.need, actor):
                wrong.append((route.method, route.path, actor, answer.status_code, rule, answer.text[:200]))
            checks += 1
    assert not wrong, "\n".join(map(str, wrong))
    assert checks >= 900
    print(f"\n{checks} checks of routes")
