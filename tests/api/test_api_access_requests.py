"""Access requests over the API: asked, listed page by page, decided on what was looked at, and what nobody else learns."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from gateway.access.model import TokenScope
from gateway.services.tokens import Bounds, create_token
from tests.api.conftest import WHY, Api, Worker

POLICY = {
    "name": "production",
    "environment": "default",
    "modes": ["read_only", "read_write"],
    "steps": [{"approvers": ["user:ben"]}],
    "rules": [{"kind": "short-read", "within_seconds": 600}],
}


@pytest.fixture
async def site(api: Api) -> Api:
    """ana asks for shop, ben decides; eve has nothing to do with it."""
    tls_dir = api.settings.now.tls_dir
    tls_dir.mkdir()
    (tls_dir / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    for name in ("ana", "ben", "eve"):
        await api.user(name)
    await api.target()
    made = await api.admin.post("/v1/approval-policies", json=POLICY)
    assert made.status_code == 201, made.text
    return api


async def client_of(site: Api, name: str) -> httpx.AsyncClient:
    """With a token of theirs, made by whoever has the gateway's machine."""
    soon = datetime.now(UTC) + timedelta(hours=1)
    made = await create_token(
        site.store, name=f"of-{name}", scope=TokenScope.ADMIN, valid_until=soon, bounds=Bounds(user=name), **WHY
    )
    return site.client(made.secret.reveal())


async def ask(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    asked = {"target": "shop", "mode": "read_write", "reason": "a report", **body}
    answer = await client.post("/v1/access-requests", json={name: each for name, each in asked.items() if each is not None})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/v1/access-requests/{answer.json()['number']}"
    found: dict[str, Any] = answer.json()
    return found


async def test_asked_approved_used_and_given_back(site: Api) -> None:
    ana, ben = await client_of(site, "ana"), await client_of(site, "ben")
    made = await ask(ana, duration_seconds=7200, ticket="OPS-1")
    assert (made["state"], made["approvers"], made["yours"], made["connection"]) == ("pending", ["ben"], True, None)
    at = f"/v1/access-requests/{made['number']}"
    review = (await ben.get(f"{at}/review")).json()
    assert review["opened"] == [{"target": "shop", "mode": "read_write", "now": None, "is_new": True, "database_role": None}]
    wrong = await ben.post(f"{at}/approve", json={"fingerprint": "0" * 64})
    assert (wrong.status_code, wrong.json()["rule"]) == (422, "request-changed")
    own = await ana.post(f"{at}/approve", json={"fingerprint": made["fingerprint"]})
    assert own.json()["rule"] == "self-approval"
    by_machine = await site.admin.post(f"{at}/approve", json={"fingerprint": made["fingerprint"]})
    assert by_machine.json()["rule"] == "nobody-signed-in"
    given = (await ben.post(f"{at}/approve", json={"fingerprint": made["fingerprint"], "comment": "ok"})).json()
    assert (given["state"], given["connection"], given["decisions"][0]["by"]) == ("active", None, "ben")
    shown = (await ana.get(at)).json()
    assert shown["connection"]["databases"] == ["shop:rw"]
    assert shown["connection"]["gateway"]["port"] == 6432
    (grant,) = (await site.admin.get("/v1/grants")).json()["items"]
    assert (grant["request_id"], grant["user"], grant["valid_until"]) == (made["id"], "ana", shown["ends_at"])
    back = await ana.post(f"{at}/relinquish")
    assert (back.json()["state"], back.json()["connection"]) == ("relinquished", None)
    assert (await site.admin.get("/v1/grants")).json()["items"] == []


async def test_a_repetition_asks_and_decides_once(site: Api) -> None:
    ana, ben = await client_of(site, "ana"), await client_of(site, "ben")
    body = {"target": "shop", "mode": "read_write"}
    first, again = [await ana.post("/v1/access-requests", json=body, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert first.json()["number"] == again.json()["number"]
    at, verdict = first.headers["location"], {"fingerprint": first.json()["fingerprint"]}
    once = [await ben.post(f"{at}/approve", json=verdict, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [each.status_code for each in once] == [200, 200]
    assert once[1].headers["idempotency-replayed"] == "true"
    assert len((await ben.get(at)).json()["decisions"]) == 1


async def test_what_others_may_not_see_is_not_there(site: Api) -> None:
    ana, eve = await client_of(site, "ana"), await client_of(site, "eve")
    made = await ask(ana)
    hidden, unknown = [await eve.get(f"/v1/access-requests/{number}") for number in (made["number"], 999)]
    assert (hidden.status_code, unknown.status_code) == (404, 404)
    assert hidden.text.replace(str(made["number"]), "N") == unknown.text.replace("999", "N")
    for word, body in (("approve", {"fingerprint": made["fingerprint"]}), ("cancel", None), ("revoke", None)):
        assert (await eve.post(f"/v1/access-requests/{made['number']}/{word}", json=body)).status_code == 404
    assert (await eve.get("/v1/access-requests")).json()["items"] == []
    assert (await eve.get("/v1/approval-policies")).json()["items"] == []
    nowhere, closed = [
        (await ana.post("/v1/access-requests", json={"target": name, "database_role": "x"})).json() for name in ("nope", "shop")
    ]
    assert nowhere["detail"].replace("nope", "shop") == closed["detail"]


async def test_listed_page_by_page_newest_first(site: Api) -> None:
    ana, ben = await client_of(site, "ana"), await client_of(site, "ben")
    numbers = [
        (await ask(ana, duration_seconds=None, statements=[f"SELECT {n} FROM public.orders"], mode=None))["number"]
        for n in range(3)
    ]
    short = await ask(ana, mode="read_only", duration_seconds=300)
    assert (short["state"], short["decisions"][0]["rule"]) == ("active", "short-read")
    found, after = [], None
    while True:
        page = (await ben.get("/v1/access-requests", params={"limit": 2} | ({"after": after} if after else {}))).json()
        found += [each["number"] for each in page["items"]]
        if (after := page["next"]) is None:
            break
    assert found == [short["number"], *reversed(numbers)]
    waiting = (await ben.get("/v1/access-requests", params={"which": "to-decide"})).json()["items"]
    assert [each["number"] for each in waiting] == list(reversed(numbers))
    await ana.post(f"/v1/access-requests/{numbers[0]}/cancel", params={"reason": "no more"})
    over = (await ana.get("/v1/access-requests", params={"live": False})).json()["items"]
    assert [(each["number"], each["ended_because"]) for each in over] == [(numbers[0], "no more")]
    assert (await ana.get("/v1/access-requests", params={"after": "WyJ4Il0"})).json()["rule"] == "cursor-invalid"
    assert (await ana.get("/v1/access-requests", params={"target": "nope"})).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"target": "shop", "environment": "default"},
        {"target": "shop", "database_role": "r", "statements": ["SELECT 1"]},
        {"target": "shop", "statements": ["SELECT 1"], "mode": "read_only"},
        {"target": "shop", "scope": "exact"},
        {"code": "k7m2x9qa", "target": "shop"},
        {"target": "shop", "duration_seconds": 0},
    ],
)
async def test_what_is_no_request(site: Api, body: dict[str, Any]) -> None:
    answer = await (await client_of(site, "ana")).post("/v1/access-requests", json=body)
    assert (answer.status_code, answer.json()["rule"]) == (422, "request-invalid")


async def test_by_the_code_of_a_denial(site: Api, worker: Worker) -> None:
    ana = await client_of(site, "ana")
    who = (await site.store.read()).users["ana"].id
    worker.denied["k7m2x9qa", who] = {"target": "shop", "statement": "DELETE FROM orders WHERE id = 7", "scope": "exact"}
    made = await ask(ana, code="k7m2x9qa", target=None, mode=None)
    assert (made["statements"], made["scope"], made["mode"]) == (["DELETE FROM orders WHERE id = 7"], "exact", "read_write")
    unknown = await ana.post("/v1/access-requests", json={"code": "AAAAAA"})
    assert (unknown.status_code, unknown.json()["rule"]) == (404, "denial-unknown")


async def test_what_can_be_asked_for(site: Api) -> None:
    found = (await (await client_of(site, "ana")).get("/v1/askable")).json()["items"]
    assert [(each["target"], each["mode"]) for each in found] == [
        (None, "read_only"), (None, "read_write"), ("shop", "read_only"), ("shop", "read_write"),
    ]  # fmt: skip


async def test_policies_are_changed_in_part(site: Api) -> None:
    at = "/v1/approval-policies/production"
    before = (await site.admin.get(at)).json()
    changed = await site.admin.patch(
        at, json={"max_seconds": 3600, "rules": []}, headers={"If-Match": f'"{before["version"]}"'}
    )
    assert changed.status_code == 200, changed.text
    differs = {name for name, value in changed.json().items() if before[name] != value}
    assert differs == {"max_seconds", "rules", "version"}
    late = await site.admin.patch(at, json={"max_seconds": 60}, headers={"If-Match": f'"{before["version"]}"'})
    assert late.status_code == 409
    assert (await site.admin.patch(at, json={"steps": None})).json()["rule"] == "approval-policy-invalid"
    assert (await site.admin.post("/v1/approval-policies", json={**POLICY, "name": "other"})).status_code == 409
    assert (await site.admin.delete(at)).status_code == 204


async def test_a_webhooks_secrets_are_shown_once_or_never(site: Api) -> None:
    body = {"name": "chat", "url": "https://chat.example.com/{secret}", "url_secret": "hidden-part-77", "body": "chat"}
    once = {"Idempotency-Key": "w"}
    made, again = [await site.admin.post("/v1/webhooks", json=body, headers=once) for _ in range(2)]
    assert made.status_code == 201, made.text
    secret = made.json()["secret"]
    assert secret.startswith("whsec_")
    assert again.json()["secret"] is None
    rotated = (await site.admin.post("/v1/webhooks/chat/secret", json={})).json()
    assert rotated["secret"] not in (None, secret)
    assert rotated["former_until"] is not None
    changed = await site.admin.patch("/v1/webhooks/chat", json={"enabled": False, "topics": ["access_request.approved"]})
    assert (changed.json()["enabled"], changed.json()["topics"]) == (False, ["access_request.approved"])
    texts = [made.text, (await site.admin.get("/v1/webhooks")).text, (await site.admin.get("/v1/webhooks/chat")).text]
    assert not any("hidden-part-77" in each for each in texts)
    assert not any(secret in each for each in texts[1:])
    assert (await site.admin.delete("/v1/webhooks/chat")).status_code == 204


async def test_deliveries_are_listed_and_sent_again(site: Api) -> None:
    assert (await site.admin.post("/v1/webhooks", json={"name": "siem", "url": "https://siem.example.com/"})).status_code == 201
    made = await ask(await client_of(site, "ana"))
    listed = (await site.admin.get("/v1/deliveries", params={"webhook": "siem"})).json()["items"]
    assert [(each["topic"], each["state"], each["request_id"]) for each in listed] == [
        ("access_request.created", "pending", made["id"])
    ]
    assert "a report" not in str(listed)
    pending = await site.admin.post(f"/v1/deliveries/{listed[0]['id']}/redeliver")
    assert pending.json()["rule"] == "delivery-pending"
    assert (await site.admin.get("/v1/deliveries", params={"webhook": "nope"})).status_code == 404
    assert (await (await client_of(site, "eve")).get("/v1/deliveries")).status_code == 403
