"""What answers hold and what they never hold: secrets, other people's words, more than was asked for."""

import asyncio
import base64
import json
import re
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from admin_api.admission import SIGN_IN_PATHS
from admin_api.bodies import Bodies
from gateway.bus.gateway import BusGateway
from gateway.store.errors import StoreUnavailableError
from tests.api.conftest import CANARY, Api, Worker

INJECTIONS = (
    "' OR '1'='1",
    "'; DROP TABLE users; --",
    '" OR ""="',
    "1) UNION SELECT verifier FROM users --",
    "%' --",
    "\\'; --",
    "admin'/*",
    "${jndi:x}",
    "{{7*7}}",
    "\u0000",
    "a\r\nX-Injected: 1",
    "../../etc/passwd",
    "%",
    "_",
)


async def recorded(api: Api) -> list[bytes]:
    """Every answer to `api.admin` from now on, head and body."""
    answers: list[bytes] = []

    async def keep(answer: httpx.Response) -> None:
        answers.append(str(answer.headers).encode() + await answer.aread())

    api.admin.event_hooks["response"].append(keep)
    return answers


async def test_no_answer_holds_a_secret(api: Api, capsys: pytest.CaptureFixture[str]) -> None:  # W11, W29, K01
    answers = await recorded(api)
    password, upstream = f"{CANARY}-password", f"{CANARY}-upstream"
    await api.admin.post("/v1/users", json={"name": "ana", "password": password})
    await api.admin.post("/v1/users/ana/password", json={"password": password + "2"})
    await api.target()
    await api.admin.put("/v1/targets/shop/logins/read_only", json={"login": "app_ro", "password": upstream})
    await api.admin.patch("/v1/targets/shop", json={"max_sessions": 4})
    # What cannot be accepted is not repeated either.
    for bad in (
        {"name": "ben", "password": CANARY * 20},
        {"name": "ben", "password": CANARY + "\u0007" * 12},
        {"name": "ben", "password": [CANARY]},
        {"name": "ben", "password": {CANARY: CANARY}},
        {"name": ["ben"], "password": password},
        {"name": "ben", "password": password, "valid_until": CANARY},
    ):
        assert (await api.admin.post("/v1/users", json=bad)).status_code == 422
    for login in ({"login": "x\n", "password": upstream}, {"login": 7, "password": upstream}, {"password": upstream}):
        assert (await api.admin.put("/v1/targets/shop/logins/read_only", json=login)).status_code == 422
    wrong = {"name": "ben", "password": password}
    for users in ([{**wrong, "x": 1}], [{**wrong, "name": "b b"}], [{"password": password}]):
        assert (await api.admin.post("/v1/manifest", json={"version": 1, "users": users})).status_code == 422
    manifest = {"version": 1, "users": [{"name": "ben", "password": password}]}
    for query in ("?dry_run=true", ""):
        assert (await api.admin.post(f"/v1/manifest{query}", json=manifest)).status_code == 200
    for path in ("users", "users/ana", "targets", "targets/shop", "targets/shop/init-sql", "tokens", "tokens/boss", "manifest"):
        assert (await api.admin.get(f"/v1/{path}")).status_code == 200

    snapshot = await api.store.read()
    secrets = [CANARY.encode(), b"SCRAM-SHA-256$", api.admin_token.encode(), api.read_token.encode()]
    for user in snapshot.users.values():
        salt, keys = user.verifier.split("$")[1:]
        secrets += [part.encode() for part in (*salt.split(":")[1:], *keys.split(":"))]
    for token in snapshot.tokens.values():
        secrets += [token.token_hash.hex().encode(), base64.b64encode(token.token_hash)]
    for role in snapshot.targets["shop"].roles.values():
        secrets += [role.sealed_secret.hex().encode(), base64.b64encode(role.sealed_secret)]
    assert len(answers) > 20
    logged = "".join(capsys.readouterr()).encode()
    for secret in secrets:
        assert not [answer for answer in answers if secret in answer], secret
        assert secret not in logged


async def test_passwords_and_tokens_are_shown_once(api: Api) -> None:
    made = await api.user()
    answers = await recorded(api)
    token = await api.admin.post("/v1/tokens", json={"name": "t", "scope": "read", "valid_until": "2099-01-01T00:00:00Z"})
    shown = [made["password"].encode(), token.json()["token"].encode()]
    for path in ("users", "users/ana", "tokens", "tokens/t", "manifest"):
        await api.admin.get(f"/v1/{path}")
    assert [sum(secret in answer for answer in answers) for secret in shown] == [0, 1]


async def test_a_body_that_trickles_is_cut_off() -> None:  # W19: 1 B/s
    async def never(*_: Any) -> None:
        raise AssertionError("it must not come so far")

    bodies = Bodies(never, max_bytes=lambda: 1000, read_seconds=0.3)
    sent: list[Any] = []

    async def trickle() -> dict[str, Any]:
        await asyncio.sleep(0.1)
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    await bodies({"type": "http", "headers": [(b"content-type", b"application/json")]}, trickle, send)
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]


async def test_an_unexpected_error_is_a_number(api: Api, capsys: pytest.CaptureFixture[str]) -> None:  # W18
    async def broken() -> Any:
        raise RuntimeError(f"{CANARY} at 10.0.0.7")

    object.__setattr__(api.context, "read", broken)
    answer = await api.admin.get("/v1/users")
    assert (answer.status_code, answer.json()["rule"]) == (500, "internal-error")
    assert CANARY not in answer.text
    assert "Traceback" not in answer.text
    logged = "".join(capsys.readouterr())
    assert answer.json()["incident"] in logged
    assert api.admin_token not in logged


async def test_a_silent_store_is_said_without_its_path(api: Api) -> None:
    async def silent() -> Any:
        raise StoreUnavailableError(f"the store {api.settings.now.state_dir}/store.sqlite3 does not answer")

    object.__setattr__(api.context, "read", silent)
    for client in (api.admin, api.anonymous):
        answer = await client.get("/v1/users")
        assert (answer.status_code, answer.json()["rule"], answer.headers["retry-after"]) == (503, "store-unavailable", "1")
        assert str(api.settings.now.state_dir) not in answer.text
    assert (await api.anonymous.get("/readyz")).json()["store"] is False
    assert (await api.anonymous.get("/healthz")).status_code == 200


async def test_fields_that_nobody_knows_are_refused(api: Api) -> None:  # W06
    document = (await api.anonymous.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    bodies = 0
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if "requestBody" not in operation or path == "/v1/manifest":
                continue
            bodies += 1
            name = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            assert schemas[name]["additionalProperties"] is False, name
            foreign = {"role", "approved_by", "expires_at", "id", "version", "scope_", "verifier"} - schemas[name][
                "properties"
            ].keys()
            assert len(foreign) >= 5
            for extra in sorted(foreign):
                answer = await api.admin.request(method.upper(), path.replace("{mode}", "read_only"), json={extra: "x"})
                assert (answer.status_code, answer.json()["rule"]) == (422, "request-invalid")
                assert f"body.{extra}" in [field["field"] for field in answer.json()["fields"]]
    assert bodies >= 12


async def test_kinds_near_to_the_right_one_are_refused(api: Api) -> None:
    for body in (
        {"name": "shop", "host": "h", "dbname": "d", "port": "5432"},
        {"name": "shop", "host": "h", "dbname": "d", "port": 5432.5},
        {"name": "shop", "host": "h", "dbname": "d", "port": True},
        {"name": "shop", "host": "h", "dbname": "d", "allow_md5": 1},
        {"name": "shop", "host": "h", "dbname": "d", "tls": "none"},
        {"name": 5, "host": "h", "dbname": "d"},
        [],
        "shop",
        None,
    ):
        assert (await api.admin.post("/v1/targets", json=body)).status_code == 422, body
    for until in ("2030-01-31", "2030-01-31T00:00:00", 1900000000, "tomorrow", "2020-01-01T00:00:00Z", "9" * 50, "", True):
        answer = await api.admin.post("/v1/users", json={"name": "ana", "valid_until": until})
        assert answer.status_code == 422, until


@pytest.mark.parametrize("field", ["host", "dbname", "name"])
@pytest.mark.parametrize(
    "value",
    [
        "a b",
        "a'b",
        'a"',
        "host=evil",
        "options=-c x",
        "service=x",
        "a\r\nb",
        "a\u0000",
        "/var/run/x",
        "a,b",
        "a;b",
        "",
        "x" * 300,
    ],
)
async def test_a_place_is_fields_and_never_a_connection_string(api: Api, field: str, value: str) -> None:  # W28
    body = {"name": "shop", "host": "db", "dbname": "d", field: value}
    answer = await api.admin.post("/v1/targets", json=body)
    printable_database = field == "dbname" and value.isprintable() and 0 < len(value) < 64
    if printable_database:
        # PostgreSQL takes such names; it goes there in a field of its own.
        assert (answer.status_code, answer.json()["dbname"]) == (201, value)
    else:
        assert answer.status_code == 422, answer.text


@pytest.mark.parametrize("text", INJECTIONS)
async def test_text_is_only_text(api: Api, text: str) -> None:  # W22, W23
    await api.user()
    await api.target()
    before = await api.store.read()
    for path in ("/v1/users", "/v1/targets"):
        found = (await api.admin.get(path, params={"text": text})).json()["items"]
        assert found == ([] if text not in "ana shop_" or text == "_" else found)
    for path, names in {
        "/v1/grants": ("user", "group", "target"),
        "/v1/allowlist": ("user", "target"),
    }.items():
        for name in names:
            assert (await api.admin.get(path, params={name: text})).json()["items"] == []
    quoted = "/" + quote(text, safe="")
    for resource in ("users", "groups", "targets", "grants", "allowlist", "tokens"):
        for method in ("GET", "DELETE"):
            assert (await api.admin.request(method, f"/v1/{resource}{quoted}")).status_code in (404, 405)
    for path, body in (
        ("/v1/users", {"name": text}),
        ("/v1/groups", {"name": text}),
        ("/v1/grants", {"user": text, "target": text, "mode": "read_only"}),
        ("/v1/allowlist", {"network": text}),
        ("/v1/allowlist", {"network": "10.0.0.0/8", "level": {"user": text}}),
    ):
        assert (await api.admin.post(path, json=body)).status_code in (404, 422)
    # A label and a reason are anybody's words: kept as they are, unless they would move a cursor.
    made = await api.admin.post("/v1/allowlist", params={"reason": text}, json={"network": "10.0.0.0/8", "label": text})
    assert made.status_code == (201 if text.isprintable() else 422)
    assert "x-injected" not in made.headers
    after = await api.store.read()
    assert (after.users, after.targets, after.tokens) == (before.users, before.targets, before.tokens)


async def test_pages_put_together_are_the_whole(api: Api) -> None:  # W22
    names = [f"user-{number:03}" for number in range(25)]
    for name in names:
        await api.user(name)
    for limit in (1, 7, 24, 25, 1000):
        found: list[str] = []
        after: dict[str, str] = {}
        while True:
            page = (await api.admin.get("/v1/users", params={"limit": limit, **after})).json()
            assert len(page["items"]) <= limit
            found += [each["name"] for each in page["items"]]
            if page["next"] is None:
                break
            after = {"after": page["next"]}
        assert found == names
    first = (await api.admin.get("/v1/users", params={"limit": 10})).json()
    for name in names[5:12]:
        await api.admin.delete(f"/v1/users/{name}")
    rest = (await api.admin.get("/v1/users", params={"limit": 1000, "after": first["next"]})).json()
    assert [each["name"] for each in rest["items"]] == names[12:]


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "1001"},
        {"limit": "-1"},
        {"limit": "ten"},
        {"limit": "1e3"},
        {"after": "x"},
        {"after": "bnVsbA"},
        {"after": "WzFd"},
        {"after": "A" * 3000},
        {"enabled": "perhaps"},
        {"usr": "ana"},
        {"offset": "1"},
    ],
)
async def test_what_a_listing_does_not_know_is_refused(api: Api, query: dict[str, str]) -> None:  # W22
    answer = await api.admin.get("/v1/users", params=query)
    assert answer.status_code == 422
    assert answer.json()["rule"] in ("request-invalid", "cursor-invalid", "parameter-unknown")


async def test_a_parameter_given_twice_is_refused(api: Api) -> None:
    answer = await api.admin.get("/v1/grants?user=ana&user=ben")
    assert (answer.status_code, answer.json()["rule"]) == (422, "parameter-repeated")
    misspelt = await api.admin.delete("/v1/grants?target=shop&usr=ana")
    assert (misspelt.status_code, misspelt.json()["rule"]) == (422, "parameter-unknown")


async def test_the_document_is_complete(api: Api) -> None:
    document = (await api.anonymous.get("/openapi.json")).json()
    operations = [(path, each) for path, item in document["paths"].items() for each in item.values()]
    ids = [each["operationId"] for _, each in operations]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z_]+", each) for each in ids), ids
    for path, each in operations:
        assert each["tags"], path
        assert each["description"], path
        assert "403" in each["responses"], path
        is_open = not path.startswith("/v1") or (path in SIGN_IN_PATHS and each is document["paths"][path].get("post"))
        assert each.get("security", document["security"]) == ([] if is_open else [{"token": []}]), path
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert "example" in json.dumps(document["components"]["schemas"]["NewUser"])
    refs = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert refs == set(document["components"]["schemas"]) - {"CheckStepRecord"} | refs


async def test_readiness_and_metrics_follow_the_gateway(api: Api, worker: Worker) -> None:
    ready = await api.anonymous.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"ready": True, "store": True, "workers": 1, "workers_expected": 1})
    await api.target()
    worker.session("s1")
    worker.session("s2", target="deleted-since")
    worker.counters = {
        "worker": 3,
        "sessions_live": 2,
        "audit_healthy": 1,
        "store_stale_seconds": 0.5,
        'statements_total{mode="read_only",verdict="denied"}': 7,
        'statements_total{mode="read_write",verdict="denied"}': 1,
    }
    text = (await api.anonymous.get("/metrics")).text
    for line in (
        "pgbastion_up 1.0",
        "pgbastion_workers 1.0",
        'pgbastion_sessions_live{worker="3"} 2.0',
        'pgbastion_statements_total{mode="read_only",verdict="denied",worker="3"} 7.0',
        'pgbastion_target_sessions{target="shop"} 1.0',
        'pgbastion_api_answers_total{method="GET",status="200"}',
        'pgbastion_messages{state="dead"} 0.0',
        "pgbastion_messages_oldest_pending_seconds 0.0",
    ):
        assert line in text, text
    assert "deleted-since" not in text


async def test_metrics_without_a_gateway_say_so(api: Api) -> None:
    await api.anonymous.request("BREW", "/coffee")
    text = (await api.anonymous.get("/metrics")).text
    assert "pgbastion_up 0.0" in text
    assert 'method="other",status="401"' in text
    assert (await api.anonymous.get("/readyz")).status_code == 503


async def test_statements_are_explained_as_people_would_be_told(api: Api) -> None:
    denied = (await api.admin.post("/v1/policy/explain", json={"sql": "DELETE FROM orders"})).json()
    assert (denied["allowed"], denied["mode"], denied["kind"]) == (False, "read_only", "delete")
    write = {"sql": "DELETE FROM orders", "mode": "read_write"}
    unfiltered = (await api.admin.post("/v1/policy/explain", json=write)).json()
    assert (unfiltered["allowed"], unfiltered["rule"], unfiltered["node"]) == (False, "where-missing", "DeleteStmt")
    carried = {"options": ["report-only"], "max_changed_rows": 10}
    reported = (await api.admin.post("/v1/policy/explain", json=write | carried)).json()
    assert (reported["allowed"], reported["reported"], reported["row_ceiling"]) == (True, "where-missing", 10)
    for wrong in ({"options": ["x"]}, {"max_changed_rows": 0}):
        assert (await api.admin.post("/v1/policy/explain", json=write | wrong)).status_code == 422
    await api.target()
    call = {"sql": "SELECT reports.total()", "target": "shop"}
    assert (await api.admin.post("/v1/policy/explain", json=call)).json()["allowed"] is False
    await api.admin.put("/v1/targets/shop/permits/function/reports.total")
    assert (await api.admin.post("/v1/policy/explain", json=call)).json()["allowed"] is True
    deep = await api.admin.post("/v1/policy/explain", json={"sql": "SELECT " + "1+" * 60_000 + "1"})
    assert (deep.status_code, deep.json()["allowed"]) == (200, False)
    await api.app.close()


async def test_the_gateway_of_these_tests_is_the_real_client(api: Api) -> None:
    assert isinstance(api.context.gateway, BusGateway)


OURS = (
    "localhost",
    "LocalHost:6480",
    "localhost.:1",
    "127.0.0.1:6480",
    "127.8.8.8",
    "[::1]:6480",
    "192.0.2.7",
    "proxy.test:80",
)
OTHERS = (
    "evil.test",
    "evil.test:6480",
    "127.0.0.1.evil.test",
    "localhost.evil.test",
    "evil.test.localhost",
    "0x7f.1",
    "2130706433",
    "127.1",
    "",
    "localhost@evil.test",
    "evil.test:localhost",
    "[::1].evil.test",
    "proxy.test.evil",
)


@pytest.mark.parametrize("path", ["/metrics", "/openapi.json", "/healthz", "/readyz", "/v1/users", "/nowhere"])
async def test_a_page_whose_name_leads_here_reads_nothing(api: Api, path: str) -> None:
    """DNS rebinding: to a browser, evil.test and what it leads to are one origin, and some answers need no token."""
    named = {**api.settings.now.model_dump(), "admin_api": {"names": ["Proxy.Test."]}}
    api.settings.replace(type(api.settings.now).model_validate(named))
    for host in OTHERS:
        answer = await api.admin.get(path, headers={"Host": host})
        assert (answer.status_code, answer.json()["rule"]) == (421, "host-unknown"), host
        assert host not in answer.text or not host
    for host in OURS:
        answer = await api.admin.get(path, headers={"Host": host})
        assert answer.status_code != 421, host
    api.settings.replace(type(api.settings.now).model_validate({**named, "admin_api": {"names": []}}))
    assert (await api.admin.get(path, headers={"Host": "proxy.test"})).status_code == 421


async def test_in_tls_the_certificate_says_whose_name_it_is(api: Api) -> None:
    api.admin.base_url = httpx.URL("https://gateway.example.com")
    assert (await api.admin.get("/healthz")).status_code == 200
