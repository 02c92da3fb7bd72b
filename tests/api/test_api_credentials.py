"""Short-lived credentials over the API: one's own, shown once, with the place to connect to; certificates of machines."""

from dataclasses import replace
from typing import Any

import pytest

from admin_api.endpoint import endpoint_of
from gateway.audit.admin_event import AdminEvent
from gateway.services.errors import ServiceError
from tests.api.conftest import Api, make_settings
from tests.services.world import in_days

CA = "-----BEGIN CERTIFICATE-----\n"


@pytest.fixture
async def site(api: Api) -> Api:
    """ana may read shop; the gateway has made its CA."""
    tls_dir = api.settings.now.tls_dir
    tls_dir.mkdir()
    (tls_dir / "ca.pem").write_text(CA)
    await api.user()
    await api.target()
    granted = await api.admin.post("/v1/grants", json={"user": "ana", "target": "shop", "mode": "read_only"})
    assert granted.status_code == 201, granted.text
    return api


async def of_ana(api: Api) -> str:
    """A token as a sign-in of hers leaves it."""
    name, text = await api.token()
    async with api.store.begin() as work:
        token = work.snapshot.tokens[name]
        work.put(replace(token, user_id=work.snapshot.users["ana"].id, valid_until=in_days(1)))
        await work.commit(AdminEvent("os:test", "token.changed", token.id, name, "", {}))
    return text


async def issue(client: Any, **body: Any) -> Any:
    return await client.post("/v1/credentials", json={"target": "shop", **body})


async def test_one_is_issued_listed_and_revoked_by_its_person(site: Api) -> None:
    async with site.client(await of_ana(site)) as ana:
        made = await issue(ana, seconds=600)
        assert made.status_code == 201, made.text
        body = made.json()
        assert body["login"].startswith("ana~")
        assert (body["user"], body["target"], body["database"], body["live"]) == ("ana", "shop", "shop", True)
        assert body["gateway"] == {"host": "127.0.0.1", "port": 6432, "tls": "ca", "ca_pem": CA}
        assert len(body["password"]) >= 40
        (listed,) = (await ana.get("/v1/credentials")).json()["items"]
        assert listed == {name: body[name] for name in listed}
        assert body["password"] not in (await ana.get(made.headers["location"])).text
        assert (await ana.delete(f"/v1/credentials/{body['login']}")).status_code == 204
        assert (await ana.get("/v1/credentials")).json()["items"] == []


async def test_others_are_not_there(site: Api) -> None:
    made = (await issue(site.admin, user="ana")).json()
    await site.user("ben")
    async with site.client(await of_ana(site)) as ana:
        assert [each["login"] for each in (await ana.get("/v1/credentials")).json()["items"]] == [made["login"]]
        assert (await issue(ana, user="ben")).status_code == 403
        assert (await issue(ana, target="nowhere")).json()["rule"] == "target-unknown"
        assert (await issue(ana, mode="read_write")).json()["rule"] == "mode-not-granted"
    assert (await issue(site.admin)).json()["rule"] == "credential-for-nobody"
    assert (await issue(site.reader, user="ana")).status_code == 403


async def test_a_repetition_shows_no_password(site: Api) -> None:
    once = {"Idempotency-Key": "k1"}
    first = await site.admin.post("/v1/credentials", json={"target": "shop", "user": "ana"}, headers=once)
    again = await site.admin.post("/v1/credentials", json={"target": "shop", "user": "ana"}, headers=once)
    assert (again.json()["login"], again.json()["password"]) == (first.json()["login"], None)
    assert len((await site.admin.get("/v1/credentials")).json()["items"]) == 1


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({}, ("127.0.0.1", 6432, "ca")),
        ({"listen": {"host": "0.0.0.0", "port": 5432}}, ("localhost", 5432, "ca")),
        ({"listen": {"host": "::"}, "tls": {"names": ["gw.example"]}}, ("gw.example", 6432, "ca")),
        ({"public": {"host": "db.example", "port": 5432, "ca_file": "system"}}, ("db.example", 5432, "system")),
        ({"tls": {"mode": "disable"}}, ("127.0.0.1", 6432, "none")),
    ],
)
def test_how_people_reach_the_gateway(
    site: Api, sections: dict[str, Any], expected: tuple[str, int, str], tmp_path: Any
) -> None:
    found = endpoint_of(make_settings(tmp_path, **sections))
    assert (found.host, found.port, found.tls) == expected


def test_an_own_certificate_wants_its_ca_named(tmp_path: Any) -> None:
    files = {"cert_file": tmp_path / "c", "key_file": tmp_path / "k"}
    with pytest.raises(ServiceError) as caught:
        endpoint_of(make_settings(tmp_path, tls=files))
    assert caught.value.rule == "gateway-ca-unset"
    (tmp_path / "ca.pem").write_text(CA)
    found = endpoint_of(make_settings(tmp_path, tls=files, public={"ca_file": tmp_path / "ca.pem"}))
    assert (found.tls, found.ca_pem) == ("ca", CA)


async def test_certificate_names_of_a_machine(api: Api) -> None:
    await api.user("etl", kind="machine")
    names = ["cn:etl", "uri:spiffe://prod/etl"]
    changed = await api.admin.patch("/v1/users/etl", json={"certificate_names": names})
    assert changed.status_code == 200, changed.text
    assert changed.json()["certificate_names"] == names
    assert (await api.admin.get("/v1/users/etl")).json()["certificate_names"] == names
    await api.user("ana")
    refused = await api.admin.patch("/v1/users/ana", json={"certificate_names": ["cn:ana"]})
    assert (refused.status_code, refused.json()["rule"]) == (422, "certificates-for-machines")
    exported = (await api.admin.get("/v1/manifest")).text
    assert "spiffe://prod/etl" in exported
