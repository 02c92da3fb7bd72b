"""Two admins at once, and one request that is sent many times: W25."""

import asyncio
from collections.abc import Sequence

import httpx

from admin_api.app import create_app
from tests.api.conftest import Api, client_of


async def test_of_two_admins_who_looked_at_the_same_one_is_told(api: Api) -> None:
    await api.user()
    seen = (await api.admin.get("/v1/users/ana")).headers["etag"]
    first, second = await asyncio.gather(
        api.admin.patch("/v1/users/ana", json={"enabled": False}, headers={"If-Match": seen}),
        api.admin.patch("/v1/users/ana", json={"allowlist": "restrict"}, headers={"If-Match": seen}),
    )
    assert sorted((first.status_code, second.status_code)) == [200, 409]
    loser = first if first.status_code == 409 else second
    assert loser.json()["rule"] == "changed-meanwhile"
    winner = second if first.status_code == 409 else first
    shown = await api.admin.get("/v1/users/ana")
    assert (shown.json(), shown.headers["etag"]) == (winner.json(), winner.headers["etag"])


async def test_every_change_can_be_held_against_a_version(api: Api) -> None:
    await api.user()
    await api.target()
    await api.admin.post("/v1/groups", json={"name": "g"})
    grant = (await api.admin.post("/v1/grants", json={"user": "ana", "target": "shop", "mode": "read_only"})).json()["id"]
    entry = (await api.admin.post("/v1/allowlist", json={"network": "10.0.0.0/8"})).json()["id"]
    token, _ = await api.token()
    changes: Sequence[tuple[str, str, object]] = (
        ("PATCH", "/v1/users/ana", {"enabled": False}),
        ("POST", "/v1/users/ana/password", {}),
        ("DELETE", "/v1/users/ana", None),
        ("PUT", "/v1/groups/g/members/ana", None),
        ("DELETE", "/v1/groups/g/members/ana", None),
        ("DELETE", "/v1/groups/g", None),
        ("PATCH", "/v1/targets/shop", {"enabled": False}),
        ("PUT", "/v1/targets/shop/logins/read_only", {"login": "x", "password": "y"}),
        ("DELETE", "/v1/targets/shop/logins/read_only", None),
        ("PUT", "/v1/targets/shop/permits/schema/s", None),
        ("DELETE", "/v1/targets/shop/permits/schema/s", None),
        ("DELETE", "/v1/targets/shop", None),
        ("PATCH", f"/v1/grants/{grant}", {"valid_until": None}),
        ("DELETE", f"/v1/grants/{grant}", None),
        ("DELETE", f"/v1/allowlist/{entry}", None),
        ("DELETE", f"/v1/tokens/{token}", None),
    )
    before = (await api.store.read()).revision
    for method, path, body in changes:
        answer = await api.admin.request(method, path, json=body, headers={"If-Match": '"1"'})
        assert (answer.status_code, answer.json()["rule"]) == (409, "changed-meanwhile"), (method, path, answer.text)
        for wrong in ("1", '"x"', 'W/"1"', '"1", "2"', '"' + "9" * 40 + '"'):
            answer = await api.admin.request(method, path, json=body, headers={"If-Match": wrong})
            assert (answer.status_code, answer.json()["rule"]) == (422, "if-match-invalid")
    assert (await api.store.read()).revision == before
    assert (await api.admin.patch("/v1/users/ana", json={"enabled": False}, headers={"If-Match": "*"})).status_code == 200


async def test_what_did_not_change_is_not_sent_again(api: Api) -> None:
    async def check(*paths: str) -> None:
        for path in paths:
            seen = await api.admin.get(path)
            again = await api.admin.get(path, headers={"If-None-Match": f'"other", {seen.headers["etag"]}'})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", seen.headers["etag"])

    await api.user()
    await api.target()
    await check("/v1/users", "/v1/targets", "/v1/targets/shop")
    await api.admin.post("/v1/grants", json={"user": "ana", "target": "shop", "mode": "read_only"})
    await check("/v1/users", "/v1/grants")
    await api.admin.patch("/v1/targets/shop", json={"enabled": False})
    for path in ("/v1/users", "/v1/targets"):
        assert (await api.admin.get(path, headers={"If-None-Match": '"1"'})).status_code == 200


async def test_a_user_whose_grants_changed_is_not_called_unchanged(api: Api) -> None:
    await api.user()
    await api.target()
    seen = await api.admin.get("/v1/users/ana")
    await api.admin.post("/v1/grants", json={"user": "ana", "target": "shop", "mode": "read_only"})
    again = await api.admin.get("/v1/users/ana", headers={"If-None-Match": seen.headers["etag"]})
    assert (again.status_code, again.json()["grants"]) == (200, 1)


async def sent_at_once(clients: Sequence[httpx.AsyncClient], key: str, path: str, body: object) -> list[httpx.Response]:
    return await asyncio.gather(*(each.post(path, json=body, headers={"Idempotency-Key": key}) for each in clients))


async def test_twenty_equal_requests_at_once_make_one_object(api: Api) -> None:
    answers = await sent_at_once([api.admin] * 20, "k1", "/v1/users", {"name": "ana"})
    assert {answer.status_code for answer in answers} <= {201, 409}
    first = [answer for answer in answers if answer.status_code == 201 and "idempotency-replayed" not in answer.headers]
    assert len(first) == 1
    assert first[0].json()["password"]
    assert {each.json()["rule"] for each in answers if each.status_code == 409} <= {"idempotency-key-in-flight"}
    events = [each.event.action for each in await api.store.read_events(limit=100)]
    assert events.count("user.created") == 1


async def test_equal_requests_to_several_processes_make_one_object(api: Api) -> None:
    others = [client_of(create_app(api.context), api.admin_token) for _ in range(4)]
    for attempt in range(5):
        body = {"name": f"user{attempt}"}
        answers = await sent_at_once([api.admin, *others], f"k{attempt}", "/v1/users", body)
        assert {answer.status_code for answer in answers} == {201}, [answer.text for answer in answers]
        assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
        assert len({answer.json()["id"] for answer in answers}) == 1
    for client in others:
        await client.aclose()


async def test_a_repetition_gets_the_object_as_it_is_now_and_no_secret(api: Api) -> None:
    key = {"Idempotency-Key": "k1"}
    first = await api.admin.post("/v1/users", json={"name": "ana"}, headers=key)
    await api.admin.patch("/v1/users/ana", json={"enabled": False})
    again = await api.admin.post("/v1/users", json={"name": "ana"}, headers=key)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    assert (again.json()["id"], again.json()["enabled"], again.json()["password"]) == (first.json()["id"], False, None)
    await api.admin.delete("/v1/users/ana")
    assert (await api.admin.post("/v1/users", json={"name": "ana"}, headers=key)).status_code == 404

    soon = "2099-01-01T00:00:00Z"
    body = {"name": "deploy", "scope": "read", "valid_until": soon}
    made = await api.admin.post("/v1/tokens", json=body, headers={"Idempotency-Key": "k2"})
    repeated = await api.admin.post("/v1/tokens", json=body, headers={"Idempotency-Key": "k2"})
    assert made.json()["token"]
    assert (repeated.json()["token"], repeated.json()["id"]) == (None, made.json()["id"])


async def test_repetitions_of_every_kind_take_effect_once(api: Api) -> None:
    await api.user()
    requests: Sequence[tuple[str, object]] = (
        ("/v1/groups", {"name": "g"}),
        ("/v1/targets", {"name": "shop", "host": "db", "dbname": "d", "max_sessions": 3}),
        ("/v1/grants", {"user": "ana", "target": "shop", "mode": "read_only"}),
        ("/v1/allowlist", {"network": "10.0.0.0/8"}),
        ("/v1/users/ana/password", {}),
        ("/v1/sessions/s1/terminate", None),
        ("/v1/manifest", {"version": 1, "groups": [{"name": "h"}]}),
    )
    for number, (path, body) in enumerate(requests):
        key = {"Idempotency-Key": f"k{number}"}
        first = await api.admin.post(path, json=body, headers=key)
        assert first.status_code in (200, 201), first.text
        revision = (await api.store.read()).revision
        again = await api.admin.post(path, json=body, headers=key)
        assert (again.status_code, again.headers.get("idempotency-replayed")) == (first.status_code, "true"), again.text
        assert (await api.store.read()).revision == revision


async def test_a_key_stands_for_one_request_of_one_actor(api: Api) -> None:
    key = {"Idempotency-Key": "k1"}
    assert (await api.admin.post("/v1/users", json={"name": "ana"}, headers=key)).status_code == 201
    for path, body in (
        ("/v1/users", {"name": "ben"}),
        ("/v1/groups", {"name": "ana"}),
        ("/v1/users?reason=x", {"name": "ana"}),
    ):
        other = await api.admin.post(path, json=body, headers=key)
        assert (other.status_code, other.json()["rule"]) == (422, "idempotency-key-reused")
    _, text = await api.token()
    async with api.client(text) as colleague:
        assert (await colleague.post("/v1/users", json={"name": "ben"}, headers=key)).status_code == 201


async def test_a_refused_request_does_not_use_up_its_key(api: Api) -> None:
    key = {"Idempotency-Key": "k1"}
    body = {"user": "ana", "target": "shop", "mode": "read_only"}
    assert (await api.admin.post("/v1/grants", json=body, headers=key)).status_code == 404
    await api.user()
    await api.target()
    answer = await api.admin.post("/v1/grants", json=body, headers=key)
    assert (answer.status_code, "idempotency-replayed" in answer.headers) == (201, False)


async def test_a_key_has_bounds(api: Api) -> None:
    for key in ("", "x" * 201):
        answer = await api.admin.post("/v1/groups", json={"name": "g"}, headers={"Idempotency-Key": key})
        assert (answer.status_code, answer.json()["rule"]) == (422, "idempotency-key-invalid")
