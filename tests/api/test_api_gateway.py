"""The API beside a real gateway, as the supervisor starts both: what it changes, people at the database feel."""

import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest

from tests.support.gateway import RunningGateway, running_gateway
from tests.support.short_names import SHORT_NAMES
from tests.support.upstream import Database


@pytest.fixture(scope="module")
def gateway() -> Iterator[RunningGateway]:
    listen = {"host": "127.0.0.1", "port": 0, "drain_seconds": 1.0, "workers": 2}
    with running_gateway(listen=listen, admin_api={"port": 0}, users=SHORT_NAMES) as running:
        yield running


@pytest.fixture(scope="module")
def boss(gateway: RunningGateway) -> Iterator[httpx.Client]:
    """With the first token, which was printed once."""
    url = None
    deadline = time.monotonic() + 30
    while url is None:
        assert time.monotonic() < deadline
        url = re.search(r"admin API is at (\S+)", "".join(gateway.log))
        time.sleep(0.05)
    (token,) = set(re.findall(r"pgb_[A-Za-z0-9_-]{43}", "".join(gateway.log)))
    with httpx.Client(base_url=url[1], headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=30) as client:
        yield client


def done(answer: httpx.Response) -> Any:
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


def connect(gateway: RunningGateway, password: str) -> "psycopg.Connection[Any]":
    """As soon as the workers know."""
    deadline = time.monotonic() + 5
    while True:
        try:
            return psycopg.connect(
                host=gateway.host,
                port=gateway.port,
                user="ana",
                password=password,
                dbname="shop",
                sslmode="verify-full",
                sslrootcert=str(gateway.ca_file),
                autocommit=True,
            )
        except psycopg.OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_everything_that_an_admin_does(gateway: RunningGateway, boss: httpx.Client, database: Database) -> None:
    assert done(boss.get("/readyz"))["workers"] == 2
    upstream = database.upstream
    place = {"host": upstream.host, "port": upstream.port, "dbname": database.name}
    tls = {"ca_pem": upstream.ca_file.read_text()} if upstream.has_tls else {"tls": "disable"}
    done(boss.post("/v1/targets", json={"name": "shop", **place, **tls}))
    login = {"login": database.app_ro.name, "password": database.app_ro.password.reveal()}
    done(boss.put("/v1/targets/shop/logins/read_only", json=login))
    checked = done(boss.post("/v1/targets/shop/check?mode=read_only"))
    assert checked["ok"], checked
    password = done(boss.post("/v1/users", json={"name": "ana"}))["password"]
    grant = done(boss.post("/v1/grants", json={"user": "ana", "target": "shop", "mode": "read_only"}))

    with connect(gateway, password) as person:
        assert person.execute("SELECT 1").fetchone() == (1,)
        (session,) = [each for each in done(boss.get("/v1/sessions"))["items"] if each["user"] == "ana"]
        assert done(boss.get(f"/v1/sessions/{session['session']}"))["target"] == "shop"
        text = boss.get("/metrics").text
        assert 'pgbastion_target_sessions{target="shop"} 1.0' in text
        assert "pgbastion_up 1.0" in text
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            person.execute("DELETE FROM no_such_table")
        # Taken away: the session ends, and its client reads why.
        done(boss.delete(f"/v1/grants/{grant['id']}?reason=report+is+done"))
        assert_ends(person)
    events = done(boss.get("/v1/audit", params={"user": "ana", "limit": 1000}))["items"]
    kinds = {str(each.get("action", each["event"])) for each in events}
    assert {"user.created", "grant.created", "grant.revoked", "statement"} <= kinds

    done(boss.post("/v1/grants", json={"user": "ana", "target": "shop", "mode": "read_only"}))
    with connect(gateway, password) as person:
        done(boss.post("/v1/sessions/terminate?reason=failover", json={"target": "shop"}))
        assert "failover" in assert_ends(person)
    with connect(gateway, password) as person:
        done(boss.put("/v1/lockdown?reason=incident+42"))
        assert "incident 42" in assert_ends(person)
    done(boss.delete("/v1/lockdown"))
    connect(gateway, password).close()


def assert_ends(person: "psycopg.Connection[Any]") -> str:
    """Within the second that is promised; what the client was told."""
    began = time.monotonic()
    while time.monotonic() - began < 2.0:
        try:
            person.execute("SELECT 1")
        except psycopg.OperationalError as told:
            return str(told)
        time.sleep(0.02)
    raise AssertionError("the session is still there")
