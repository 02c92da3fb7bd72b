"""Each resource: made, shown, changed, listed and deleted, with the audit event of each change."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway.bus.lines import Payload
from gateway.settings.model import Users
from tests.api.conftest import Api, Worker

SOON = (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="seconds")


async def test_a_users_life(api: Api) -> None:
    await api.admin.post("/v1/groups", json={"name": "analysts"})
    made = await api.admin.post("/v1/users?reason=new", json={"name": "ana", "groups": ["analysts"], "valid_until": SOON})
    assert made.status_code == 201, made.text
    assert made.headers["location"] == "/v1/users/ana"
    record = made.json()
    assert len(record.pop("password")) == 64
    shown = await api.admin.get("/v1/users/ana")
    assert shown.json() == record
    assert shown.headers["etag"] == f'"{record["version"]}"'
    assert (record["groups"], record["enabled"]) == (["analysts"], True)

    changed = await api.admin.patch(
        "/v1/users/ana?reason=left", json={"enabled": False, "valid_until": None, "allowlist": "restrict"}
    )
    assert changed.status_code == 200, changed.text
    assert (changed.json()["enabled"], changed.json()["valid_until"], changed.json()["allowlist"]) == (False, None, "restrict")
    again = await api.admin.patch("/v1/users/ana", json={"enabled": False})
    assert (again.status_code, again.json()["rule"]) == (422, "user-disabled-already")

    password = await api.admin.post("/v1/users/ana/password", json={"password": "a long passphrase"})
    assert (password.status_code, password.json()["password"]) == (200, None)

    assert (await api.admin.delete("/v1/users/ana")).status_code == 204
    unknown = await api.admin.get("/v1/users/ana")
    assert (unknown.status_code, unknown.json()["rule"]) == (404, "user-unknown")

    events = await api.store.read_events(limit=100)
    told = [(each.event.action, each.event.actor, each.event.reason) for each in events if each.event.object_name == "ana"]
    assert told[0] == ("user.created", "token:boss", "new")
    assert {("user.expiry_changed", "token:boss", "left"), ("user.disabled", "token:boss", "left")} <= set(told)
    assert told[-1][0] == "user.deleted"


async def test_a_user_is_shown_with_what_it_is_and_whether_it_is_here(api: Api, worker: Worker) -> None:
    made = await api.user(read_only=True, kind="machine", email="ana@example.com")
    assert (made["sessions"], made["last_login_at"]) == (0, None)
    worker.session("s-1")
    worker.session("s-2")
    await api.store.record_logins({made["id"]: datetime(2030, 1, 31, 18, tzinfo=UTC)})
    (listed,) = (await api.admin.get("/v1/users")).json()["items"]
    facts = ("read_only", "kind", "email", "protected", "password_encryption", "sessions", "last_login_at")
    assert {each: listed[each] for each in facts} == {
        "read_only": True,
        "kind": "machine",
        "email": "ana@example.com",
        "protected": False,
        "password_encryption": "SCRAM-SHA-256",
        "sessions": 2,
        "last_login_at": "2030-01-31T18:00:00Z",
    }
    changed = await api.admin.patch("/v1/users/ana", json={"protected": True, "email": None, "read_only": None})
    assert {each: changed.json()[each] for each in ("protected", "email", "read_only")} == {
        "protected": True,
        "email": None,
        "read_only": True,
    }
    for answer in (await api.admin.delete("/v1/users/ana"), await api.admin.post("/v1/users/ana/password", json={})):
        assert (answer.status_code, answer.json()["rule"]) == (422, "user-protected")
        assert answer.json()["detail"] == 'User "ana" is protected'


async def test_the_rules_of_the_settings_hold(api: Api) -> None:
    api.settings.replace(api.settings.now.model_copy(update={"users": Users()}))
    for body, detail in (
        ({"name": "ana"}, "Name must contain between 6 and 32 characters"),
        ({"name": "my_user", "password": "short"}, "Password must contain between 24 and 64 characters"),
    ):
        answer = await api.admin.post("/v1/users", json=body)
        assert (answer.status_code, answer.json()["detail"]) == (422, detail)
    manifest = {"version": 1, "users": [{"name": "ana", "password": "x" * 30}]}
    for query in ("", "?dry_run=true"):
        answer = await api.admin.post(f"/v1/manifest{query}", json=manifest)
        assert answer.status_code == 422
        assert "Name must contain between 6 and 32 characters" in answer.json()["detail"]


async def test_several_changes_of_one_request_are_one_revision_or_none(api: Api) -> None:
    await api.user()
    before = (await api.store.read()).revision
    good = await api.admin.patch("/v1/users/ana", json={"enabled": False, "valid_until": SOON})
    assert good.status_code == 200
    assert (await api.store.read()).revision == before + 1 == good.json()["version"]
    bad = await api.admin.patch("/v1/users/ana", json={"valid_until": None, "enabled": False})
    assert bad.status_code == 422
    user = (await api.store.read()).users["ana"]
    assert user.valid_until is not None


async def test_several_changes_of_one_request_leave_an_owner(api: Api) -> None:
    await api.user()
    await api.admin.patch("/v1/roles/owners/members", json={"add": ["ana"]})
    for body in ({"enabled": False}, {"valid_until": SOON, "enabled": False}):
        refused = await api.admin.patch("/v1/users/ana", json=body)
        assert (refused.status_code, refused.json()["rule"]) == (422, "last-owner")
    user = (await api.store.read()).users["ana"]
    assert (user.enabled, user.valid_until) == (True, None)


async def test_a_groups_life(api: Api) -> None:
    await api.user("ana")
    await api.user("ben")
    made = await api.admin.post("/v1/groups", json={"name": "analysts", "members": ["ana"]})
    assert made.status_code == 201, made.text
    added = await api.admin.put("/v1/groups/analysts/members/ben")
    assert added.json()["members"] == ["ana", "ben"]
    listed = (await api.admin.get("/v1/groups", params={"user": "ben"})).json()["items"]
    assert [each["name"] for each in listed] == ["analysts"]
    removed = await api.admin.delete("/v1/groups/analysts/members/ana")
    assert removed.json()["members"] == ["ben"]
    assert (await api.admin.get("/v1/groups/analysts")).headers["etag"] == removed.headers["etag"]
    assert (await api.admin.delete("/v1/groups/analysts")).status_code == 204
    assert (await api.admin.get("/v1/groups")).json() == {"next": None, "items": []}


async def test_a_targets_life(api: Api) -> None:
    made = await api.target(max_sessions=5, open_ahead=2)
    assert made["open_ahead"] == 2
    assert (await api.admin.patch("/v1/targets/shop", json={"open_ahead": 3})).json()["open_ahead"] == 3
    assert (await api.admin.patch("/v1/targets/shop", json={"open_ahead": -1})).json()["rule"] == "open-ahead-invalid"
    patched = await api.admin.patch("/v1/targets/shop", json={"rotate_every_days": 30})
    assert patched.json()["rotate_every_days"] == 30
    assert (await api.admin.patch("/v1/targets/shop", json={"rotate_every_days": None})).json()["rotate_every_days"] is None
    assert (await api.admin.patch("/v1/targets/shop", json={"rotate_every_days": 0})).json()["rule"] == "rotate-every-invalid"
    assert (made["port"], made["tls"], made["max_sessions"], made["own_ca"]) == (5432, "verify-full", 5, False)
    login = await api.admin.put("/v1/targets/shop/logins/read_only", json={"login": "app_ro", "password": "s3cret-of-upstream"})
    assert login.json()["logins"] == {"read_only": "app_ro"}
    permitted = await api.admin.put("/v1/targets/shop/permits/function/reports.total")
    assert permitted.json()["allowed_functions"] == ["reports.total"]
    changes = {"host": "db2.internal", "enabled": False, "max_sessions": None}
    assert (await api.admin.patch("/v1/targets/shop", json=changes)).json()["rule"] == "logins-would-move"
    assert (await api.admin.patch("/v1/targets/shop", json={"tls": "require"})).json()["rule"] == "logins-would-weaken"
    assert (await api.admin.patch("/v1/targets/shop", json={**changes, "keep_logins": True})).status_code == 422
    given = {"passwords": {"read_only": "s3cret-of-upstream"}}
    unknown = await api.admin.patch("/v1/targets/shop", json={**changes, "passwords": {"read_write": "s3cret-of-upstream"}})
    assert unknown.json()["rule"] == "login-unknown"
    changed = await api.admin.patch("/v1/targets/shop", json={**changes, **given})
    assert "s3cret" not in unknown.text + changed.text
    assert changed.status_code == 200, changed.text
    assert (changed.json()["host"], changed.json()["enabled"], changed.json()["max_sessions"]) == ("db2.internal", False, None)
    shown = await api.admin.get("/v1/targets/shop")
    assert (shown.json(), shown.headers["etag"]) == (changed.json(), changed.headers["etag"])
    sql = (await api.admin.get("/v1/targets/shop/init-sql")).json()["sql"]
    assert "app_ro" in sql
    assert (await api.admin.delete("/v1/targets/shop/permits/function/reports.total")).json()["allowed_functions"] == []
    assert (await api.admin.delete("/v1/targets/shop/logins/read_only")).json()["logins"] == {}
    assert (await api.admin.delete("/v1/targets/shop")).status_code == 204


async def test_a_grants_life(api: Api) -> None:
    await api.user()
    await api.target()
    await api.admin.post("/v1/groups", json={"name": "analysts"})
    body = {"user": "ana", "target": "shop", "mode": "read_only", "valid_until": SOON}
    made = await api.admin.post("/v1/grants", json=body)
    assert made.status_code == 201, made.text
    again = await api.admin.post("/v1/grants", json=body)
    assert (again.status_code, again.json()["rule"]) == (409, "grant-exists")
    grant = made.json()
    assert (grant["user"], grant["group"], grant["live"]) == ("ana", None, True)
    moved = await api.admin.patch(f"/v1/grants/{grant['id']}", json={"valid_until": None})
    assert moved.json()["valid_until"] is None
    await api.admin.post("/v1/grants", json={"group": "analysts", "target": "shop", "mode": "read_write"})
    listed = (await api.admin.get("/v1/grants", params={"target": "shop"})).json()["items"]
    assert [(each["user"], each["group"], each["mode"]) for each in listed] == [
        ("ana", None, "read_only"),
        (None, "analysts", "read_write"),
    ]
    gone = await api.admin.delete("/v1/grants", params={"user": "ana", "target": "shop"})
    assert [each["id"] for each in gone.json()["items"]] == [grant["id"]]
    assert (await api.admin.delete(f"/v1/grants/{listed[1]['id']}")).status_code == 204
    assert (await api.admin.delete("/v1/grants", params={"user": "ana"})).status_code == 422
    assert (await api.admin.delete("/v1/grants", params={"target": "shop"})).json()["rule"] == "holder-unclear"


async def test_what_a_grant_carries(api: Api) -> None:
    await api.user()
    await api.target()
    body = {"user": "ana", "target": "shop", "mode": "read_write", "options": ["unfiltered-writes", "no-ddl"]}
    made = await api.admin.post("/v1/grants", json={**body, "max_changed_rows": 1000})
    assert made.status_code == 201, made.text
    grant = made.json()
    path = f"/v1/grants/{grant['id']}"
    assert (grant["options"], grant["max_changed_rows"]) == (["no-ddl", "unfiltered-writes"], 1000)
    assert (await api.reader.get(path)).json() == grant
    for change in ({"options": ["report-only"]}, {"max_changed_rows": None}, {"valid_until": SOON}, {"options": []}):
        before = await api.admin.get(path)
        moved = await api.admin.patch(path, json=change, headers={"If-Match": before.headers["etag"]})
        assert moved.status_code == 200, moved.text
        other = {*change, "version", "changes_at"}
        same = {name: value for name, value in before.json().items() if name not in other}
        assert same == {name: value for name, value in moved.json().items() if name not in other}
        assert [moved.json()[name] for name in change if name != "valid_until"] == [
            value for name, value in change.items() if name != "valid_until"
        ]
        stale = await api.admin.patch(path, json={"options": ["no-ddl"]}, headers={"If-Match": before.headers["etag"]})
        assert (stale.status_code, stale.json()["rule"]) == (409, "changed-meanwhile")
    listed = (await api.admin.get("/v1/grants")).json()["items"]
    assert [(each["options"], each["max_changed_rows"]) for each in listed] == [([], None)]


async def test_when_a_grant_may_be_used_and_why_it_counts_or_not(api: Api) -> None:
    await api.user()
    await api.target()
    body = {"user": "ana", "target": "shop", "mode": "read_only"}
    window = "Mon-Fri 08:00-18:00 Europe/Zurich"
    limits = {"max_sessions": 5, "statement_timeout_ms": 30_000, "idle_in_transaction_timeout_seconds": 60}
    grant = (await api.admin.post("/v1/grants", json={**body, "valid_from": SOON, "windows": [window], **limits})).json()
    assert {name: grant[name] for name in limits} == limits
    begins = SOON.replace("+00:00", "Z")
    assert (grant["valid_from"], grant["windows"], grant["state"], grant["live"]) == (begins, [window], "not-yet", True)
    assert grant["changes_at"] >= begins
    for both in ({}, {"replace": True, "beside": True}):
        assert (await api.admin.post("/v1/grants", json={**body, **both})).status_code in (409, 422)
    wide = (await api.admin.post("/v1/grants", json={**body, "beside": True})).json()
    why = (await api.reader.get("/v1/grants/why", params={"user": "ana", "target": "shop"})).json()
    assert (why["mode"], why["admitted"]) == ("read_only", False)
    assert [each["rule"] for each in why["obstacles"]] == ["target-without-login"]
    assert [(each["grant"]["id"], each["part"]) for each in why["grants"]] == [(wide["id"], "counts"), (grant["id"], "not-yet")]
    path = f"/v1/grants/{grant['id']}"
    moved = (await api.admin.patch(path, json={"valid_from": None, "windows": [], "max_sessions": None})).json()
    assert (moved["valid_from"], moved["windows"], moved["max_sessions"], moved["state"]) == (None, [], None, "live")
    assert (moved["statement_timeout_ms"], moved["changes_at"]) == (30_000, None)
    wrong = await api.admin.patch(path, json={"windows": ["always"]})
    assert (wrong.status_code, wrong.json()["rule"]) == (422, "window-invalid")
    assert (await api.reader.get("/v1/grants/why", params={"user": "nobody", "target": "shop"})).status_code == 404


WRONG_TERMS = [
    ({"max_sessions": 0}, "request-invalid"),
    ({"windows": "Mon 08:00-18:00"}, "request-invalid"),
    ({"windows": ["Mon 08:00-18:00 Mars/Olympus"]}, "window-invalid"),
    ({"options": ["no-ddl"]}, "option-not-for-mode"),
    ({"options": ["temporary-tables", "report-only"]}, "option-not-for-mode"),
    ({"max_changed_rows": 1000}, "option-not-for-mode"),
    ({"options": ["ddl"]}, "request-invalid"),
    ({"options": "no-ddl"}, "request-invalid"),
    ({"options": None}, "request-invalid"),
    ({"max_changed_rows": 0}, "request-invalid"),
    ({"max_changed_rows": "5"}, "request-invalid"),
    ({"max_changed_rows": 10**9 + 1}, "request-invalid"),
]


@pytest.mark.parametrize(("terms", "rule"), WRONG_TERMS)
async def test_what_a_grant_cannot_carry_is_refused_and_changes_nothing(api: Api, terms: Payload, rule: str) -> None:
    await api.user()
    await api.target()
    body = {"user": "ana", "target": "shop", "mode": "read_only"}
    refused = await api.admin.post("/v1/grants", json={**body, **terms})
    assert (refused.status_code, refused.json()["rule"]) == (422, rule)
    made = (await api.admin.post("/v1/grants", json=body)).json()
    refused = await api.admin.patch(f"/v1/grants/{made['id']}", json={**terms, "valid_until": SOON})
    assert (refused.status_code, refused.json()["rule"]) == (422, rule)
    assert refused.headers["content-type"] == "application/problem+json"
    assert (await api.admin.get(f"/v1/grants/{made['id']}")).json() == made
    assert (await api.admin.patch(f"/v1/grants/{made['id']}", json={})).json()["rule"] == "request-invalid"
    assert (await api.admin.patch(f"/v1/grants/{made['id']}", json={"options": []})).json()["rule"] == "nothing-to-change"


async def test_an_allowlist_entrys_life(api: Api) -> None:
    await api.user()
    made = await api.admin.post("/v1/allowlist", json={"network": "10.1.0.0/16", "label": "office"})
    assert made.status_code == 201, made.text
    own = await api.admin.post("/v1/allowlist", json={"network": "192.0.2.7", "level": {"user": "ana"}})
    assert (own.json()["network"], own.json()["level"]) == ("192.0.2.7/32", "user ana")
    listed = (await api.admin.get("/v1/allowlist")).json()["items"]
    assert [each["level"] for each in listed] == ["global", "user ana"]
    assert (await api.admin.get("/v1/allowlist", params={"user": "ana"})).json()["items"] == listed[1:]
    assert (await api.admin.get(f"/v1/allowlist/{listed[0]['id']}")).json() == listed[0]
    assert (await api.admin.delete(f"/v1/allowlist/{listed[0]['id']}")).status_code == 204
    assert (await api.admin.get(f"/v1/allowlist/{listed[0]['id']}")).status_code == 404


@pytest.mark.parametrize(
    "network", ["010.0.0.1", "127.1", "0x7f.1", "10.0.0.0/33", "10.0.0.1/8", " 10.0.0.0/8", "::ffff:10.0.0.1/128"]
)
async def test_networks_that_programs_read_differently_are_refused(api: Api, network: str) -> None:  # L03
    answer = await api.admin.post("/v1/allowlist", json={"network": network})
    assert (answer.status_code, answer.json()["rule"]) == (422, "network-invalid")


async def test_a_tokens_life(api: Api) -> None:
    made = await api.admin.post("/v1/tokens", json={"name": "deploy", "scope": "read", "valid_until": SOON})
    assert made.status_code == 201, made.text
    text = made.json()["token"]
    async with api.client(text) as client:
        me = (await client.get("/v1/whoami")).json()
        assert (me["actor"], me["scope"]) == ("token:deploy", "read")
        shown = (await api.admin.get("/v1/tokens/deploy")).json()
        assert "token" not in shown
        assert shown["created_by"] == "token:boss"
        assert (await api.admin.delete("/v1/tokens/deploy")).status_code == 204
        assert (await client.get("/v1/whoami")).status_code == 401


async def test_a_token_that_has_ended_opens_nothing(api: Api) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    made = await api.admin.post("/v1/tokens", json={"name": "brief", "scope": "admin", "valid_until": soon})
    late = datetime.now(UTC) + timedelta(seconds=2)
    object.__setattr__(api.context, "clock", lambda: late)
    async with api.client(made.json()["token"]) as client:
        assert (await client.get("/v1/whoami")).status_code == 401


async def test_the_lockdown(api: Api) -> None:
    assert (await api.admin.get("/v1/lockdown")).json() == {"active": False, "reason": None}
    assert (await api.admin.put("/v1/lockdown?reason=incident+42")).json() == {"active": True, "reason": "incident 42"}
    assert (await api.admin.get("/v1/lockdown")).json() == {"active": True, "reason": "incident 42"}
    assert (await api.admin.put("/v1/lockdown")).json()["rule"] == "lockdown-already"
    assert (await api.admin.delete("/v1/lockdown")).json() == {"active": False, "reason": None}


async def test_sessions_come_from_the_running_gateway(api: Api, worker: Worker) -> None:
    worker.session("s1", user="ana")
    worker.session("s2", user="ben")
    listed = (await api.admin.get("/v1/sessions")).json()["items"]
    assert [each["session"] for each in listed] == ["s1", "s2"]
    assert (listed[0]["mode"], listed[0]["options"], listed[0]["max_changed_rows"]) == ("read_only", ["temporary-tables"], None)
    assert (await api.admin.get("/v1/sessions/s2")).json() == listed[1]
    assert (await api.admin.get("/v1/sessions", params={"user": "ben"})).json()["items"] == listed[1:]
    cancelled = await api.admin.post("/v1/sessions/s1/cancel?reason=locks")
    assert (cancelled.status_code, worker.cancelled) == (200, ["s1"])
    assert (await api.admin.post("/v1/sessions/nobody/cancel")).status_code == 404
    ended = await api.admin.post("/v1/sessions/s1/terminate?reason=late")
    assert ended.json() == {"session": "s1", "reason": "late", "live": True}
    assert (await api.admin.post("/v1/sessions/nobody/terminate")).status_code == 404
    assert (await api.admin.post("/v1/sessions/terminate", json={"user": "ben"})).json() == {"sessions": ["s2"]}
    assert (await api.admin.post("/v1/sessions/terminate", json={"all": True})).json() == {"sessions": ["s1", "s2"]}
    assert (await api.admin.post("/v1/sessions/terminate", json={})).status_code == 422
    assert set((await api.store.read()).terminated) == {"s1", "s2"}
    actions = [each.event.action for each in await api.store.read_events(limit=100)]
    assert actions.count("session.cancelled") == 1
    assert actions.count("session.terminated") == 4


async def test_without_a_gateway_sessions_cannot_be_listed_but_ended(api: Api) -> None:
    for path in ("/v1/sessions", "/v1/sessions/s1"):
        answer = await api.admin.get(path)
        assert (answer.status_code, answer.json()["rule"]) == (503, "gateway-unavailable")
    ended = await api.admin.post("/v1/sessions/s1/terminate")
    assert ended.json()["live"] is False
    assert "s1" in (await api.store.read()).terminated
    assert (await api.admin.post("/v1/sessions/s1/cancel")).status_code == 503


async def test_a_target_is_checked_by_the_gateway(api: Api, worker: Worker) -> None:
    await api.target()
    missing = await api.admin.post("/v1/targets/shop/check")
    assert (missing.status_code, missing.json()["rule"]) == (422, "login-missing")
    await api.admin.put("/v1/targets/shop/logins/read_only", json={"login": "app_ro", "password": "x"})
    checked = (await api.admin.post("/v1/targets/shop/check")).json()
    assert (checked["ok"], checked["steps"][0]["name"]) == (True, "DNS")


async def test_a_targets_role_is_audited_by_the_gateway(api: Api, worker: Worker) -> None:
    await api.target()
    missing = await api.admin.post("/v1/targets/shop/audit")
    assert (missing.status_code, missing.json()["rule"]) == (422, "login-missing")
    await api.admin.put("/v1/targets/shop/logins/read_only", json={"login": "app_ro", "password": "x"})
    assert (await api.admin.post("/v1/targets/shop/audit")).status_code == 503  # no worker has heard of it
    finding: Payload = {"check": "limits", "severity": "info", "detail": "d", "meaning": "m", "remedy": "r"}
    clean: Payload = {"login": "app_ro", "findings": [finding], "obstacle": None}
    step: Payload = {"name": "login", "ok": False, "detail": "d", "remedy": "r"}
    for answer, ok in (
        (clean, True),
        ({**clean, "findings": [{**finding, "severity": "warning"}]}, False),
        ({**clean, "findings": [], "obstacle": step}, False),
    ):
        worker.audits = [answer]
        found = (await api.admin.post("/v1/targets/shop/audit")).json()
        assert found == {"target": "shop", "mode": "read_only", "ok": ok, **answer}


async def test_an_entry_is_previewed_by_the_gateway(api: Api, worker: Worker) -> None:
    await api.target()
    where = "/v1/targets/shop/preview"
    assert (await api.admin.post(where)).status_code == 422
    assert (await api.admin.post(where, params={"entry": "no name"})).json()["rule"] == "function-name-invalid"
    missing = await api.admin.post(where, params={"entry": "public.f"})
    assert (missing.status_code, missing.json()["rule"]) == (422, "login-missing")
    await api.admin.put("/v1/targets/shop/logins/read_only", json={"login": "app_ro", "password": "x"})
    assert (await api.admin.post(where, params={"entry": "public.f"})).status_code == 503  # no worker has heard of it
    plain: Payload = {
        "kind": "function",
        "name": "public.f(integer)",
        "volatility": "stable",
        "security_definer": False,
        "language": "sql",
        "owner": "app",
        "warnings": [],
    }
    clean: Payload = {"entry": "public.f", "objects": [plain], "more": 0, "notes": ["a note"], "obstacle": None}
    step: Payload = {"name": "login", "ok": False, "detail": "d", "remedy": "r"}
    for answer, ok in (
        (clean, True),
        ({**clean, "objects": [{**plain, "volatility": "volatile", "warnings": ["it may write"]}], "more": 7}, False),
        ({**clean, "objects": [], "obstacle": step}, False),
    ):
        worker.previews = [answer]
        found = (await api.admin.post(where, params={"entry": "public.f"})).json()
        assert found == {"target": "shop", "ok": ok, **answer}
    assert (await api.admin.get("/v1/targets/shop")).json()["allowed_functions"] == []


async def test_the_right_to_temporary_tables_is_nothing_to_mend_where_grants_use_it(api: Api, worker: Worker) -> None:
    await api.user()
    await api.target()
    for mode in ("read_only", "read_write"):
        await api.admin.put(f"/v1/targets/shop/logins/{mode}", json={"login": "app", "password": "x"})
    finding: Payload = {"check": "temporary", "severity": "warning", "detail": "d", "meaning": "m.", "remedy": "r"}
    other = {**finding, "check": "functions"}
    worker.audits = [{"login": "app", "findings": [finding, other], "obstacle": None}]

    async def weights(mode: str = "read_only") -> list[tuple[str, str]]:
        found = (await api.admin.post("/v1/targets/shop/audit", params={"mode": mode})).json()["findings"]
        return [(each["check"], each["severity"]) for each in found]

    assert await weights() == [("temporary", "warning"), ("functions", "warning")]
    grant = {"user": "ana", "target": "shop", "mode": "read_write", "options": ["temporary-tables"]}
    assert (await api.admin.post("/v1/grants", json=grant)).status_code == 201
    assert await weights() == [("functions", "warning"), ("temporary", "info")]
    assert await weights("read_write") == [("temporary", "warning"), ("functions", "warning")]


async def test_every_rule_is_listed(api: Api) -> None:
    listed = (await api.reader.get("/v1/policy/rules")).json()["items"]
    assert {"rule", "sqlstate", "denies", "why", "example"} <= listed[0].keys()
    assert {"write-statement", "fast-path-call"} <= {each["rule"] for each in listed}


async def test_a_targets_catalog_is_read_again_by_the_gateway(api: Api, worker: Worker) -> None:
    assert (await api.admin.post("/v1/targets/shop/refresh")).status_code == 404
    await api.target()
    nobody = (await api.admin.post("/v1/targets/shop/refresh")).json()
    assert nobody == {"target": "shop", "ok": True, "catalogs": []}
    well = {"worker": 0, "login": "app_ro", "revision": "1f", "seconds": 0.25, "failure": ""}
    worker.catalogs = [{**well, "failure": "unreachable"}, well]
    found = (await api.admin.post("/v1/targets/shop/refresh")).json()
    assert found == {"target": "shop", "ok": False, "catalogs": worker.catalogs}


async def test_a_manifest_is_previewed_applied_once_and_exported(api: Api) -> None:
    manifest = {
        "version": 1,
        "users": [{"name": "ana", "password": "a long passphrase"}],
        "groups": [{"name": "g", "members": ["ana"]}],
    }
    preview = (await api.admin.post("/v1/manifest?dry_run=true", json=manifest)).json()
    assert [(each["kind"], each["action"], each["name"]) for each in preview["changes"]] == [
        ("user", "create", "ana"),
        ("group", "create", "g"),
    ]
    assert (await api.store.read()).users == {}
    params = {"revision": preview["revision"], "reason": "files"}
    applied = await api.admin.post("/v1/manifest", params=params, json=manifest)
    assert len(applied.json()["changes"]) == 2, applied.text
    assert (await api.admin.post("/v1/manifest", params=params, json=manifest)).json()["rule"] == "changed-meanwhile"
    assert (await api.admin.post("/v1/manifest", json=manifest)).json()["changes"] == []
    exported = (await api.admin.get("/v1/manifest")).json()
    assert exported["users"][0]["name"] == "ana"
    assert (await api.admin.post("/v1/manifest?prune=true", json=exported)).json()["changes"] == []
    wrong = await api.admin.post("/v1/manifest", json={"version": 1, "users": [{"name": "ben", "pasword": "x"}]})
    assert (wrong.status_code, wrong.json()["rule"]) == (422, "manifest-invalid")
    assert "properties" in (await api.admin.get("/v1/manifest/schema")).json()
