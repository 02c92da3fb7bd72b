"""Every route x who asks: W01, W03, W17, L08. A route that is not in the table fails, and so does an entry without a route."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import httpx
import pytest

from gateway.access.model import TokenScope
from tests.api.conftest import Api

#: open: no token needed. sign-in: neither, but a body. look, stream: any token. change: a token of scope admin.
MATRIX: Final = {
    ("GET", "/healthz"): "open",
    ("GET", "/readyz"): "open",
    ("GET", "/metrics"): "open",
    ("GET", "/openapi.json"): "open",
    ("GET", "/v1/users"): "look",
    ("POST", "/v1/users"): "change",
    ("GET", "/v1/users/{name}"): "look",
    ("PATCH", "/v1/users/{name}"): "change",
    ("DELETE", "/v1/users/{name}"): "change",
    ("POST", "/v1/users/{name}/password"): "change",
    ("GET", "/v1/groups"): "look",
    ("POST", "/v1/groups"): "change",
    ("GET", "/v1/groups/{name}"): "look",
    ("DELETE", "/v1/groups/{name}"): "change",
    ("PUT", "/v1/groups/{name}/members/{user}"): "change",
    ("DELETE", "/v1/groups/{name}/members/{user}"): "change",
    ("GET", "/v1/targets"): "look",
    ("GET", "/v1/target-health"): "look",
    ("POST", "/v1/targets"): "change",
    ("GET", "/v1/targets/{name}"): "look",
    ("PATCH", "/v1/targets/{name}"): "change",
    ("DELETE", "/v1/targets/{name}"): "change",
    ("PUT", "/v1/targets/{name}/logins/{mode}"): "change",
    ("DELETE", "/v1/targets/{name}/logins/{mode}"): "change",
    ("PUT", "/v1/targets/{name}/permits/{kind}/{item}"): "change",
    ("DELETE", "/v1/targets/{name}/permits/{kind}/{item}"): "change",
    ("GET", "/v1/targets/{name}/adoption"): "look",
    ("POST", "/v1/targets/{name}/adoption"): "change",
    ("POST", "/v1/targets/{name}/adoption/undo"): "change",
    ("DELETE", "/v1/targets/{name}/adoption/admin"): "change",
    ("GET", "/v1/targets/{name}/outside-use"): "look",
    ("PUT", "/v1/targets/{name}/observation"): "change",
    ("DELETE", "/v1/targets/{name}/observation"): "change",
    ("POST", "/v1/targets/{name}/rotate-credential"): "change",
    ("PUT", "/v1/targets/{name}/managed"): "change",
    ("GET", "/v1/targets/{name}/managed-logins"): "look",
    ("POST", "/v1/targets/{name}/clean"): "change",
    ("POST", "/v1/targets/{name}/check"): "change",
    ("POST", "/v1/targets/{name}/audit"): "change",
    ("POST", "/v1/targets/{name}/preview"): "change",
    ("POST", "/v1/targets/{name}/refresh"): "change",
    ("GET", "/v1/targets/{name}/init-sql"): "look",
    ("PUT", "/v1/targets/{name}/environment"): "change",
    ("GET", "/v1/environments"): "look",
    ("POST", "/v1/environments"): "change",
    ("GET", "/v1/environments/{name}"): "look",
    ("PATCH", "/v1/environments/{name}"): "change",
    ("DELETE", "/v1/environments/{name}"): "change",
    ("GET", "/v1/roles"): "look",
    ("POST", "/v1/roles"): "change",
    ("GET", "/v1/roles/{name}"): "look",
    ("DELETE", "/v1/roles/{name}"): "change",
    ("PATCH", "/v1/roles/{name}/members"): "change",
    ("PUT", "/v1/roles/{name}/environments/{environment}"): "change",
    ("DELETE", "/v1/roles/{name}/environments/{environment}/{permission}"): "change",
    ("GET", "/v1/permissions/verbs"): "look",
    ("GET", "/v1/permissions/report"): "look",
    ("GET", "/v1/permissions/users/{user}"): "look",
    ("GET", "/v1/permissions/users/{user}/why/{verb}"): "look",
    ("GET", "/v1/grants"): "look",
    ("GET", "/v1/grants/why"): "look",
    ("POST", "/v1/grants"): "change",
    ("DELETE", "/v1/grants"): "change",
    ("GET", "/v1/grants/{grant_id}"): "look",
    ("PATCH", "/v1/grants/{grant_id}"): "change",
    ("DELETE", "/v1/grants/{grant_id}"): "change",
    ("GET", "/v1/allowlist"): "look",
    ("POST", "/v1/allowlist"): "change",
    ("GET", "/v1/allowlist/{entry_id}"): "look",
    ("DELETE", "/v1/allowlist/{entry_id}"): "change",
    ("GET", "/v1/sessions"): "look",
    ("GET", "/v1/sessions/stream"): "stream",
    ("GET", "/v1/sessions/{session_id}"): "look",
    ("POST", "/v1/sessions/{session_id}/cancel"): "change",
    ("POST", "/v1/sessions/{session_id}/terminate"): "change",
    ("POST", "/v1/sessions/terminate"): "change",
    ("GET", "/v1/audit"): "look",
    ("GET", "/v1/audit/stream"): "stream",
    ("POST", "/v1/policy/explain"): "change",
    ("GET", "/v1/policy/rules"): "look",
    ("GET", "/v1/manifest"): "look",
    ("POST", "/v1/manifest"): "change",
    ("GET", "/v1/manifest/schema"): "look",
    ("GET", "/v1/tokens"): "look",
    ("POST", "/v1/tokens"): "change",
    ("GET", "/v1/tokens/{name}"): "look",
    ("DELETE", "/v1/tokens/{name}"): "change",
    ("GET", "/v1/credentials"): "look",
    ("POST", "/v1/credentials"): "change",
    ("GET", "/v1/credentials/{credential}"): "look",
    ("DELETE", "/v1/credentials/{credential}"): "change",
    ("POST", "/v1/sign-in"): "sign-in",
    ("POST", "/v1/sign-in/enrolment"): "sign-in",
    ("POST", "/v1/sign-in/enrolment/confirm"): "sign-in",
    ("POST", "/v1/sign-in/password"): "sign-in",
    ("POST", "/v1/sign-in/provider"): "sign-in",
    ("POST", "/v1/sign-in/provider/finish"): "sign-in",
    ("DELETE", "/v1/sign-in"): "change",
    ("GET", "/v1/me"): "look",
    ("GET", "/v1/accounts"): "look",
    ("POST", "/v1/accounts"): "change",
    ("GET", "/v1/accounts/{name}"): "look",
    ("PATCH", "/v1/accounts/{name}"): "change",
    ("DELETE", "/v1/accounts/{name}"): "change",
    ("POST", "/v1/accounts/{name}/recovery"): "change",
    ("DELETE", "/v1/accounts/{name}/sign-ins"): "change",
    ("PUT", "/v1/accounts/{name}/identity"): "change",
    ("DELETE", "/v1/accounts/{name}/identity"): "change",
    ("GET", "/v1/claim-mappings"): "look",
    ("POST", "/v1/claim-mappings"): "change",
    ("GET", "/v1/claim-mappings/{mapping_id}"): "look",
    ("DELETE", "/v1/claim-mappings/{mapping_id}"): "change",
    ("GET", "/v1/access-requests"): "look",
    ("POST", "/v1/access-requests"): "change",
    ("GET", "/v1/access-requests/{request}"): "look",
    ("GET", "/v1/access-requests/{request}/review"): "look",
    ("POST", "/v1/access-requests/{request}/approve"): "change",
    ("POST", "/v1/access-requests/{request}/deny"): "change",
    ("POST", "/v1/access-requests/{request}/cancel"): "change",
    ("POST", "/v1/access-requests/{request}/relinquish"): "change",
    ("POST", "/v1/access-requests/{request}/revoke"): "change",
    ("POST", "/v1/access-requests/{request}/review"): "change",
    ("GET", "/v1/askable"): "look",
    ("GET", "/v1/approval-policies"): "look",
    ("POST", "/v1/approval-policies"): "change",
    ("GET", "/v1/approval-policies/{name}"): "look",
    ("PATCH", "/v1/approval-policies/{name}"): "change",
    ("DELETE", "/v1/approval-policies/{name}"): "change",
    ("GET", "/v1/webhooks"): "look",
    ("POST", "/v1/webhooks"): "change",
    ("GET", "/v1/webhooks/{name}"): "look",
    ("PATCH", "/v1/webhooks/{name}"): "change",
    ("DELETE", "/v1/webhooks/{name}"): "change",
    ("POST", "/v1/webhooks/{name}/secret"): "change",
    ("POST", "/v1/webhooks/{name}/test"): "change",
    ("GET", "/v1/deliveries"): "look",
    ("POST", "/v1/deliveries/{delivery}/redeliver"): "change",
    ("GET", "/v1/whoami"): "look",
    ("GET", "/v1/lockdown"): "look",
    ("PUT", "/v1/lockdown"): "change",
    ("DELETE", "/v1/lockdown"): "change",
}

ALWAYS: Final = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-frame-options": "DENY",
}


def filled(path: str) -> str:
    given = {"mode": "read_only", "kind": "schema", "permission": "read"}
    return re.sub(r"\{(\w+)\}", lambda name: given.get(name[1], "nobody"), path)


async def ask(client: httpx.AsyncClient, method: str, path: str, **more: object) -> httpx.Response:
    answer = await client.request(method, filled(path), **more)  # type: ignore[arg-type]
    assert ALWAYS.items() <= dict(answer.headers).items(), (method, path, answer.headers)
    if answer.status_code >= 400 and path != "/readyz":
        assert answer.headers["content-type"] == "application/problem+json"
        assert {"type", "title", "status", "detail", "rule"} <= answer.json().keys()
        assert answer.json()["status"] == answer.status_code
    return answer


async def test_the_table_holds_every_route_and_no_other(api: Api) -> None:
    document = (await api.anonymous.get("/openapi.json")).json()
    found = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert found | {("GET", "/openapi.json")} == set(MATRIX)


@pytest.mark.parametrize(("method", "path"), MATRIX)
async def test_who_may_ask(api: Api, method: str, path: str) -> None:
    kind = MATRIX[method, path]
    outside = await ask(api.outside, method, path)
    assert (outside.status_code, outside.json()["rule"]) == (403, "address-not-admitted")
    expired = await api.token(lifetime=timedelta(seconds=1))
    late = datetime.now(UTC) + timedelta(seconds=2)
    anonymous = await ask(api.anonymous, method, path)
    if kind == "open":
        assert anonymous.status_code in (200, 503)
        return
    if kind == "sign-in":
        assert (anonymous.status_code, anonymous.json()["rule"]) == (422, "request-invalid")
        return
    assert (anonymous.status_code, anonymous.headers["www-authenticate"]) == (401, 'Bearer realm="pgbastion"')
    for header in ("Bearer", "Bearer x", f"Basic {api.admin_token}", f"bearer {api.admin_token}x", "Bearer \u00e9"):
        wrong = await ask(api.anonymous, method, path, headers={"Authorization": header.encode("latin-1")})
        assert (wrong.status_code, wrong.json()["rule"]) == (401, "token-required")
    object.__setattr__(api.context, "clock", lambda: late)
    async with api.client(expired[1]) as client:
        assert (await ask(client, method, path)).status_code == 401
    if kind == "stream":
        return  # without end: see test_api_streams
    by_reader = await ask(api.reader, method, path)
    if kind == "change":
        assert (by_reader.status_code, by_reader.json()["rule"]) == (403, "scope-insufficient")
    else:
        assert by_reader.status_code in (200, 404, 503) or by_reader.json()["rule"] == "request-invalid"
    assert (await ask(api.admin, method, path)).status_code not in (401, 403, 405, 500)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "PROPFIND"])
@pytest.mark.parametrize(
    "path", ["/", "/docs", "/redoc", "/v1", "/v1/", "/v2/users", "/v1/users/", "/v1/nothing", "/v1//users"]
)
async def test_what_is_no_route_says_nothing_to_strangers(api: Api, method: str, path: str) -> None:
    assert (await api.anonymous.request(method, path)).status_code == 401
    assert (await api.admin.request(method, path)).status_code in (404, 405)


async def test_a_session_in_process_needs_no_token_and_a_network_cannot_claim_to_be_one(api: Api) -> None:
    from admin_api.app import acting_as
    from tests.api.conftest import client_of

    async with client_of(acting_as(api.app, "os:ana"), None, "192.0.2.7") as client:
        assert (await client.get("/v1/whoami")).json() == {
            "actor": "os:ana",
            "scope": "admin",
            "user": None,
            "owner": True,
            "token": None,
            "valid_until": None,
        }
    claims = {"pgbastion.actor": "os:ana", "X-Pgbastion-Actor": "os:ana"}
    assert (await api.anonymous.get("/v1/whoami", headers=claims)).status_code == 401


async def test_a_token_made_for_reading_cannot_make_itself_more(api: Api) -> None:
    name, text = await api.token(TokenScope.READ)
    async with api.client(text, **{"X-HTTP-Method-Override": "GET"}) as client:
        soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        made = await client.post("/v1/tokens", json={"name": "more", "scope": "admin", "valid_until": soon})
        assert made.status_code == 403
        assert (await client.delete(f"/v1/tokens/{name}")).status_code == 403


@pytest.mark.parametrize(
    ("address", "listed", "admitted"),
    [
        ("::ffff:10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("2002:0a01:0203::1", "10.0.0.0/8", False),
        ("64:ff9b::10.1.2.3", "10.0.0.0/8", False),
        ("fe80::1%eth0", "fe80::/10", True),
        ("2001:db8::1", "2001:db8::/32", True),
        ("not an address", "0.0.0.0/0", False),
    ],
)
async def test_the_apis_own_list_reads_addresses_as_all_lists_do(api: Api, address: str, listed: str, admitted: bool) -> None:
    settings = api.settings.now  # L01, L02, L12
    api.settings.replace(settings.model_copy(update={"admin_api": settings.admin_api.model_copy(update={"allow": [listed]})}))
    async with api.client(None, address) as client:
        assert (await client.get("/healthz")).status_code == (200 if admitted else 403)


async def test_an_empty_list_admits_nobody(api: Api) -> None:  # L04
    settings = api.settings.now
    api.settings.replace(settings.model_copy(update={"admin_api": settings.admin_api.model_copy(update={"allow": []})}))
    assert (await api.admin.get("/healthz")).status_code == 403


async def test_wrong_tokens_are_throttled_by_address_and_nobody_else_pays(api: Api) -> None:  # W12
    free = api.settings.now.throttle.free_failures
    await api.admin.get("/v1/whoami")  # known from here
    answers = [await api.anonymous.get("/v1/whoami", headers={"Authorization": f"Bearer pgb_{n:043}"}) for n in range(free + 5)]
    assert [answer.status_code for answer in answers] == [401] * free + [429] * 5
    assert len({answer.text for answer in answers[:free]}) == 1
    assert int(answers[-1].headers["retry-after"]) >= 1
    _, fresh = await api.token()
    async with api.client(fresh) as guessed_right:
        assert (await guessed_right.get("/v1/whoami")).status_code == 429
    assert (await api.admin.get("/v1/whoami")).status_code == 200
    async with api.client(fresh, "127.0.0.2") as elsewhere:
        assert (await elsewhere.get("/v1/whoami")).status_code == 200
    assert (await api.anonymous.get("/healthz")).status_code == 200
