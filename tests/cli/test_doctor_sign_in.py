"""What doctor finds about owners and the identity provider, against a provider that runs, errs, or is not there."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.access.accounts import Standing
from gateway.cli.local import operator
from gateway.services.identities import hold_back
from gateway.store.provider_checks import ProviderCheck
from gateway.store.sql_store import SqlStore
from tests.cli.world import World
from tests.support.oidc_provider import CLIENT_ID, CLIENT_SECRET, Served, provider


@pytest.fixture(scope="module")
def idp() -> Iterator[Served]:
    with provider() as found:
        yield found


@pytest.fixture
def asked(local: World, idp: Served) -> World:
    """ana is linked and managed; the provider is in the settings."""
    idp.err()
    (local.folder / "secret").write_text(CLIENT_SECRET)
    point_to(local, idp.issuer)
    local.run("users", "create", "ana")
    local.run("accounts", "link", "ana", "--subject", "s-1", "--managed")
    return local


def point_to(local: World, issuer: str) -> None:
    plain = local.config.read_text().partition("\n[oidc]")[0]
    secret = local.folder / "secret"
    local.config.write_text(
        f'{plain}\n[oidc]\nissuer = "{issuer}"\nclient_id = "{CLIENT_ID}"\nclient_secret_file = "{secret}"\n'
    )


def planned(local: World, vouched_at: datetime, due_at: datetime) -> None:
    async def put() -> None:
        store = SqlStore(f"sqlite+aiosqlite:///{local.state}/store.sqlite3")
        ana = (await store.read()).users["ana"].id
        await store.put_provider_check(ProviderCheck(ana, b"sealed", vouched_at), due_at)

    asyncio.run(put())


def found(local: World, check: str) -> list[dict[str, Any]]:
    """What doctor says; other findings (nothing is granted) are a problem of their own."""
    return [each for each in local.json("doctor", "--skip-targets", status=1) if each["check"] == check]


def test_a_provider_that_answers(asked: World) -> None:
    now = datetime.now(UTC)
    planned(asked, now, now + timedelta(minutes=5))
    (provider_found,) = found(asked, "identity provider")
    assert provider_found["state"] == "ok"
    (checks,) = found(asked, "provider checks")
    assert (checks["state"], checks["detail"]) == ("ok", "1 person is asked about every 5 minutes; 0 refused by the provider")


@pytest.mark.parametrize("how", ["silent", "away", "another issuer", "no secret"])
def test_one_that_does_not_says_who_loses_what_and_when(asked: World, idp: Served, how: str) -> None:
    vouched_at = datetime(2026, 11, 1, 8, 30, tzinfo=UTC)
    planned(asked, vouched_at, datetime.now(UTC) + timedelta(minutes=5))
    match how:
        case "silent":
            idp.err(silent=True)
        case "away":
            point_to(asked, "http://127.0.0.1:9")
        case "another issuer":
            point_to(asked, f"{idp.issuer}/")
        case _:
            (asked.folder / "secret").unlink()
    said = found(asked, "identity provider")[-1]
    assert (said["state"], bool(said["remedy"])) == ("problem", True)
    assert "nobody can sign in through it" in said["detail"]
    assert "1 managed person loses access to databases from 2026-11-01 09:30 UTC on" in said["detail"]
    assert CLIENT_SECRET not in str(said)


def test_nobody_asks_in_time(asked: World) -> None:
    now = datetime.now(UTC)
    planned(asked, now - timedelta(hours=1), now - timedelta(minutes=30))
    (checks,) = found(asked, "provider checks")
    assert (checks["state"], checks["detail"].partition(",")[0]) == ("problem", "1 of 1 are late")
    assert "does the gateway run" in checks["remedy"]


def test_who_is_out_because_nobody_answers(asked: World) -> None:
    store = operator(asked.config).store
    ana = asyncio.run(store.read()).users["ana"].id
    asyncio.run(hold_back(store, account_id=ana, standing=Standing.UNVERIFIED, why="it did not answer"))
    (checks,) = found(asked, "provider checks")
    assert (checks["state"], checks["detail"].partition(" out ")[0]) == ("warning", "1 person is")


def test_leftovers_of_another_provider(asked: World) -> None:
    asked.run("groups", "create", "analysts")
    asked.run("oidc", "mappings", "create", "data", "--group", "analysts")
    asked.config.write_text(asked.config.read_text().partition("\n[oidc]")[0] + "\n")
    assert [each["state"] for each in found(asked, "identity provider")] == ["warning", "warning"]


def test_owners(local: World) -> None:
    local.run("users", "create", "ana")
    local.run("users", "create", "eve")
    assert found(local, "owners")[0]["detail"].startswith("nobody but")
    local.run("roles", "members", "owners", "--add", "ana", "--add", "eve")
    local.run("users", "disable", "eve")
    assert found(local, "owners")[0]["detail"] == "ana"
