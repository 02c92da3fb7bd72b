"""Signing in over the API: with a password and a code, and through an identity provider, which runs as a process of its own."""

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qs, urlsplit

import argon2
import httpx
import pyotp
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from admin_api.oidc.desk import ProviderDesk
from admin_api.oidc.flow import begin_flow, seal, unseal
from admin_api.oidc.http import ProviderError
from admin_api.oidc.id_token import Expected, UnknownKey, parse_keys, verify
from admin_api.oidc.watch import ProviderWatch
from admin_api.sign_in_throttle import SignInThrottle
from gateway.access.accounts import Account, Standing
from gateway.services.change import begin
from gateway.services.errors import ServiceError
from gateway.settings import Settings
from gateway.settings.sign_in import Oidc
from gateway.store.sql_store import SqlStore
from tests.api.conftest import Api
from tests.support.oidc_provider import CLIENT_ID, CLIENT_SECRET, Served, provider

PASSWORD = "sign-in-canary-2b7c"
#: As it would be made, but quick to verify: the hash itself says what it costs.
QUICK = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)


async def person(api: Api, name: str = "ana") -> None:
    user = await api.user(name)
    async with begin(api.store, "os:test", "") as change:
        await change.save(Account(user["id"], QUICK), "account.created", name)


async def sign_in(api: Api, code: str = "", password: str = PASSWORD, **more: Any) -> httpx.Response:
    return await api.anonymous.post("/v1/sign-in", json={"name": "ana", "password": password, "code": code, **more})


async def test_a_person_signs_in_has_their_own_rights_and_signs_out(api: Api) -> None:
    await person(api)
    made = (await sign_in(api)).json()
    async with api.client(made["token"]) as client:
        me = (await client.get("/v1/me")).json()
        assert (me["actor"], me["user"], me["owner"], me["kind"]) == ("user:ana", "ana", False, "session")
        for path in ("/v1/accounts", "/v1/claim-mappings"):
            assert (await client.get(path)).status_code == 403
        assert (await client.post("/v1/users", json={"name": "ben"})).status_code == 403
        assert (await client.delete("/v1/sign-in")).json() == {"end_session_url": None}
        assert (await client.get("/v1/me")).status_code == 401
    for client in (api.admin, api.reader):
        answer = await client.delete("/v1/sign-in")
        assert answer.status_code in (403, 404)  # a token that was made for a program


async def test_a_sign_in_is_nothing_any_more_when_the_user_is_disabled(api: Api) -> None:
    await person(api)
    token = (await sign_in(api)).json()["token"]
    async with api.client(token) as client:
        assert (await client.get("/v1/me")).status_code == 200
        await api.admin.patch("/v1/users/ana", json={"enabled": False})
        assert (await client.get("/v1/me")).status_code == 401
    assert (await sign_in(api)).status_code == 401


async def test_an_authenticator_is_set_up_by_the_person_and_asked_for_from_then_on(api: Api) -> None:
    await person(api)
    proofs = {"name": "ana", "password": PASSWORD}
    begun = (await api.anonymous.post("/v1/sign-in/enrolment", json=proofs)).json()
    assert begun["url"].startswith("otpauth://totp/pgbastion:ana?secret=")
    confirm = {**proofs, "pending": begun["pending"]}
    wrong = await api.anonymous.post("/v1/sign-in/enrolment/confirm", json={**confirm, "code": "000000"})
    assert (wrong.status_code, wrong.json()["rule"]) == (401, "sign-in-refused")
    forged = await api.anonymous.post("/v1/sign-in/enrolment/confirm", json={**confirm, "code": "000000", "pending": "AQ=="})
    assert (forged.status_code, forged.json()["rule"]) == (422, "enrolment-stale")
    code = pyotp.TOTP(begun["secret"]).now()
    made = (await api.anonymous.post("/v1/sign-in/enrolment/confirm", json={**confirm, "code": code})).json()
    assert len(made["recovery_codes"]) == 10
    for spent in ("", code):
        assert (await sign_in(api, spent)).status_code == 401
    assert (await sign_in(api, made["recovery_codes"][0])).json()["recovery_codes_left"] == 9
    account = (await api.admin.get("/v1/accounts/ana")).json()
    assert (account["authenticator"], account["recovery_codes_left"], account["sign_ins"]) == (True, 9, 2)
    shown = (await api.admin.get("/v1/accounts")).text + (await api.admin.get("/v1/audit")).text
    for secret in (begun["secret"], made["token"], *made["recovery_codes"], PASSWORD):
        assert secret not in shown


async def test_a_recovery_ends_sign_ins_and_its_password_is_shown_once(api: Api) -> None:
    await person(api)
    token = (await sign_in(api)).json()["token"]
    once = {"Idempotency-Key": "k-1"}
    recovered = await api.admin.post("/v1/accounts/ana/recovery", json={}, headers=once, params={"reason": "lost"})
    password = recovered.json()["generated"]
    again = await api.admin.post("/v1/accounts/ana/recovery", json={}, headers=once, params={"reason": "lost"})
    assert (again.json()["generated"], again.headers["idempotency-replayed"]) == (None, "true")
    async with api.client(token) as client:
        assert (await client.get("/v1/me")).status_code == 401
    assert (await sign_in(api)).status_code == 401
    assert (await sign_in(api, password=password)).status_code == 201
    proofs = {"name": "ana", "password": password, "new_password": PASSWORD}
    assert (await api.anonymous.post("/v1/sign-in/password", json=proofs)).status_code == 204
    assert (await sign_in(api)).status_code == 201


async def test_guesses_run_out_for_strangers_and_not_for_who_was_here_before(api: Api) -> None:
    await person(api)
    assert (await sign_in(api)).status_code == 201
    allowed = api.settings.now.throttle.free_failures
    object.__setattr__(api.settings.now.admin_api, "allow", ["0.0.0.0/0"])
    async with api.client(None, "127.0.0.9") as stranger:
        body = {"name": "ana", "password": "guessed-canary"}
        answers = [(await stranger.post("/v1/sign-in", json=body)).status_code for _ in range(allowed + 1)]
    assert answers == [401] * allowed + [429]
    async with api.client(None, "127.0.0.8") as other:
        assert (await other.post("/v1/sign-in", json={**body, "password": PASSWORD})).status_code == 429
    assert (await sign_in(api)).status_code == 201


def test_attempts_are_counted_by_address_and_by_name_until_they_succeed() -> None:
    here, there = ip_address("192.0.2.1"), ip_address("192.0.2.2")
    throttle = SignInThrottle(2, 60)
    assert [throttle.attempt(here, "ana", now) for now in (0.0, 1.0, 2.0)] == [0.0, 0.0, 58.0]
    assert throttle.attempt(here, "ben", 2.0) > 0  # the address
    assert throttle.attempt(there, "ANA", 2.0) > 0  # the name
    assert throttle.attempt(there, "ben", 2.0) == 0
    throttle.succeeded(there, "ben", 2.0)
    assert throttle.attempt(here, "ana", 60.5) == 0  # the first one is over
    assert [throttle.attempt(there, "ben", now) for now in (3.0, 4.0, 5.0)] == [0.0, 0.0, 58.0]
    fresh = SignInThrottle(2, 60)
    assert [fresh.attempt(here, None, now) for now in (0.0, 1.0, 2.0)] == [0.0, 0.0, 58.0]


# Through the identity provider --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def idp() -> Iterator[Served]:
    with provider() as served:
        yield served


@pytest.fixture
def linked(api: Api, idp: Served) -> Served:
    """The API knows the provider, and asks it anew in each test."""
    secret = api.settings.now.state_dir / "client-secret"
    secret.write_text(f"{CLIENT_SECRET}\n")
    oidc = Oidc(issuer=idp.issuer, client_id=CLIENT_ID, client_secret_file=secret)
    settings = Settings.model_validate({**dict(api.settings.now), "oidc": oidc})
    api.settings.replace(settings)
    assert api.settings.now.oidc.issuer
    idp.err()
    return idp


async def come(api: Api, idp: Served, sub: str, **changed: Any) -> httpx.Response:
    """Begin, the person's browser, finish."""
    begun = await api.anonymous.post("/v1/sign-in/provider", json={"redirect_uri": "http://127.0.0.1:9/callback"})
    assert begun.status_code == 200, begun.text
    begun = begun.json()
    async with httpx.AsyncClient() as browser:
        sent = await browser.post(begun["url"], data={"sub": sub, "password": "there-canary-77"})
    assert sent.status_code == 302, sent.text
    back = {name: values[0] for name, values in parse_qs(urlsplit(sent.headers["location"]).query).items()}
    assert back["state"] == begun["state"]
    body = {"flow": begun["flow"], "state": back["state"], "code": back["code"], **changed}
    return await api.anonymous.post("/v1/sign-in/provider/finish", json=body)


async def known(api: Api, idp: Served, sub: str = "s-1", *, managed: bool = True) -> None:
    idp.put(sub, preferred_username="ana", groups=["data"])
    await api.user("ana")
    answer = await api.admin.put("/v1/accounts/ana/identity", json={"subject": sub, "managed": managed})
    assert answer.status_code == 200, answer.text


async def test_who_is_linked_signs_in_and_their_groups_follow(api: Api, linked: Served) -> None:
    await known(api, linked)
    await api.admin.post("/v1/groups", json={"name": "analysts"})
    await api.admin.post("/v1/claim-mappings", json={"value": "data", "group": "analysts"})
    made = await come(api, linked, "s-1")
    assert made.status_code == 201, made.text
    async with api.client(made.json()["token"]) as client:
        me = (await client.get("/v1/me")).json()
        assert (me["actor"], me["groups"], me["provider"]) == ("user:ana", ["analysts"], linked.issuer)
        assert (await client.delete("/v1/sign-in")).json()["end_session_url"].startswith(f"{linked.issuer}/logout?")


async def test_what_is_not_as_it_was_begun_is_refused(api: Api, linked: Served) -> None:
    await known(api, linked)
    for changed, status, rule in (
        ({"state": "another"}, 422, "sign-in-stale"),
        ({"flow": "AQ=="}, 422, "sign-in-stale"),
        ({"issuer": "https://elsewhere.example"}, 401, "sign-in-refused"),
        ({"code": "guessed"}, 401, "sign-in-refused"),
    ):
        answer = await come(api, linked, "s-1", **changed)
        assert (answer.status_code, answer.json()["rule"]) == (status, rule)
    for fault in ({"nonce": "another"}, {"audience": "somebody-else"}, {"kid": "two"}):
        linked.err(**fault)
        answer = await come(api, linked, "s-1")
        assert (answer.status_code, answer.json()["rule"]) == (401, "sign-in-refused")


async def test_who_is_not_linked_is_not_let_in(api: Api, linked: Served) -> None:
    linked.put("s-2", preferred_username="ana")
    await api.user("ana")
    answer = await come(api, linked, "s-2")
    assert (answer.status_code, answer.json()["rule"]) == (403, "identity-not-linked")


@pytest.mark.parametrize(
    ("verified", "kept"), [({"email_verified": True}, True), ({"email_verified": False}, False), ({}, False)]
)
async def test_an_address_counts_only_if_the_provider_has_verified_it(
    api: Api, linked: Served, verified: dict[str, bool], kept: bool
) -> None:
    """It says who somebody is in Slack, and which two accounts are one person's."""
    oidc = api.settings.now.oidc.model_copy(update={"create_users": True})
    api.settings.replace(api.settings.now.model_copy(update={"oidc": oidc}))
    name = f"newcomer-{len(verified)}{kept}".lower()
    linked.put(name, preferred_username=name, email=f"{name}@example.com", **verified)
    made = await come(api, linked, name)
    assert made.status_code == 201, made.text
    email = (await api.admin.get(f"/v1/users/{made.json()['user']}")).json()["email"]
    assert email == (f"{name}@example.com" if kept else None)


async def test_a_provider_that_does_not_answer_is_no_refusal(api: Api, linked: Served) -> None:
    linked.err(silent=True)
    answer = await api.anonymous.post("/v1/sign-in/provider", json={"redirect_uri": "http://127.0.0.1:9/callback"})
    assert (answer.status_code, answer.json()["rule"]) == (503, "provider-unavailable")


@pytest.mark.parametrize(
    "redirect",
    [
        "https://127.0.0.1:9/callback",
        "http://localhost:9/callback",
        "http://127.0.0.1:9/other",
        "http://127.0.0.1:99999/callback",
    ],
)
async def test_a_redirect_leads_to_this_computer_alone(api: Api, linked: Served, redirect: str) -> None:
    answer = await api.anonymous.post("/v1/sign-in/provider", json={"redirect_uri": redirect})
    assert (answer.status_code, answer.json()["rule"]) == (422, "redirect-invalid")


class Watched:
    """The watch, by a clock that the test moves."""

    def __init__(self, api: Api) -> None:
        self.now = datetime.now(UTC)
        self._api = api
        self._desk = ProviderDesk(replace(api.context, clock=lambda: self.now))
        self.store = SqlStore(api.settings.now, clock=lambda: self.now)
        self._watch = ProviderWatch(self.store, api.vault, self._desk.provider, lambda: self.now)

    async def look_after(self, minutes: float) -> int:
        self.now += timedelta(minutes=minutes)
        found = self._desk.provider()
        assert found is not None
        return await self._watch.look(found)

    async def standing(self) -> Standing:
        snapshot = await self.store.read()
        return snapshot.accounts[snapshot.users["ana"].id].standing


async def test_who_is_disabled_there_is_out_within_the_stated_time(api: Api, linked: Served) -> None:
    await known(api, linked)
    token = (await come(api, linked, "s-1")).json()["token"]
    watched = Watched(api)
    assert await watched.look_after(0) == 0  # asked a moment ago
    assert await watched.look_after(5.1) == 1
    assert await watched.standing() is Standing.GOOD
    assert await watched.look_after(5.1) == 1  # with the refresh token that came in place of the first
    assert await watched.standing() is Standing.GOOD
    linked.put("s-1", enabled=False)
    assert await watched.look_after(5.1) == 1
    assert await watched.standing() is Standing.REFUSED
    assert (await watched.store.read()).held_back
    async with api.client(token) as client:
        assert (await client.get("/v1/me")).status_code == 401
    linked.put("s-1", preferred_username="ana")
    assert await watched.look_after(5.1) == 0  # nobody asks any more: it takes a new sign-in
    assert (await come(api, linked, "s-1")).status_code == 201
    assert await watched.standing() is Standing.GOOD


async def test_who_leaves_a_group_there_leaves_it_here(api: Api, linked: Served) -> None:
    await known(api, linked)
    await api.admin.post("/v1/groups", json={"name": "analysts"})
    await api.admin.post("/v1/claim-mappings", json={"value": "data", "group": "analysts"})
    await come(api, linked, "s-1")
    linked.put("s-1", preferred_username="ana", groups=[])
    await Watched(api).look_after(5.1)
    assert (await api.admin.get("/v1/groups/analysts")).json()["members"] == []


async def test_silence_for_too_long_is_a_no_until_the_provider_speaks(api: Api, linked: Served) -> None:
    await known(api, linked)
    await come(api, linked, "s-1")
    watched = Watched(api)
    linked.err(silent=True)
    for minutes, expected in ((5.1, Standing.GOOD), (50, Standing.GOOD), (6, Standing.UNVERIFIED)):
        assert await watched.look_after(minutes) == 1
        assert await watched.standing() is expected
    linked.err()
    await watched.look_after(5.1)
    assert await watched.standing() is Standing.GOOD


async def test_without_a_refresh_token_a_sign_in_is_good_as_long_as_silence_is(api: Api, linked: Served) -> None:
    await known(api, linked)
    linked.err(no_refresh=True)
    await come(api, linked, "s-1")
    watched = Watched(api)
    assert await watched.look_after(50) == 0
    assert await watched.look_after(10.1) == 1
    assert await watched.standing() is Standing.UNVERIFIED


async def test_a_refresh_token_that_is_not_needed_is_given_back(api: Api, linked: Served) -> None:
    await known(api, linked, managed=False)
    await come(api, linked, "s-1")
    before = linked.seen().get("/revoke", 0)
    watched = Watched(api)
    assert await watched.look_after(24 * 60) == 1  # the sign-in is over
    assert linked.seen()["/revoke"] == before + 1
    assert await watched.look_after(24 * 60) == 0


async def test_of_two_processes_one_asks(api: Api, linked: Served) -> None:
    await known(api, linked)
    await come(api, linked, "s-1")
    now = datetime.now(UTC) + timedelta(minutes=6)
    stores = [SqlStore(api.settings.now, clock=lambda: now) for _ in range(2)]
    taken = [await store.take_provider_checks(now + timedelta(minutes=5), 10) for store in stores]
    assert [len(each) for each in taken] == [1, 0]
    sealed = taken[0][0].sealed_refresh
    assert b"refresh" not in sealed


# What an ID token has to be -----------------------------------------------------------------------------------------------------

KEY = RSAKey.generate_key(2048, {"kid": "a"})
NOW = datetime.now(UTC)
SECONDS = int(NOW.timestamp())
EXPECTED = Expected("https://id.example", "me", "n-1")
GOOD: dict[str, Any] = {
    "iss": "https://id.example", "aud": "me", "exp": SECONDS + 60, "iat": SECONDS, "sub": "s-1", "nonce": "n-1",
}  # fmt: skip


def signed(changed: dict[str, Any], key: Any = KEY, algorithm: str = "RS256", kid: str = "a") -> str:
    claims = {name: value for name, value in {**GOOD, **changed}.items() if value is not None}
    return jwt.encode({"alg": algorithm, "kid": kid}, claims, key, algorithms=[algorithm])


def read(text: str, expected: Expected = EXPECTED) -> Any:
    keys = parse_keys({"keys": [KEY.as_dict(private=False), {"kty": "unheard-of"}, {"kty": "RSA"}]})
    return verify(text, keys, ["RS256", "HS256", "none"], expected, NOW)


@pytest.mark.parametrize("changed", [{}, {"aud": ["me"]}, {"aud": ["me", "other"], "azp": "me"}, {"exp": SECONDS - 30}])
def test_an_id_token_is_taken_at_its_word_when_all_of_it_holds(changed: dict[str, Any]) -> None:
    assert read(signed(changed))["sub"] == "s-1"


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://elsewhere.example"}, {"iss": None}, {"aud": "other"}, {"aud": None}, {"aud": ["me", "other"]},
        {"azp": "other"}, {"exp": SECONDS - 61}, {"exp": None}, {"exp": float("nan")}, {"exp": "never"}, {"iat": SECONDS + 61},
        {"iat": None}, {"sub": None}, {"sub": ""}, {"sub": 7}, {"nonce": "n-2"}, {"nonce": None}, {"nbf": SECONDS + 61},
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_id_token_makes_it_nothing(changed: dict[str, Any]) -> None:
    with pytest.raises(ProviderError):
        read(signed(changed))


def test_a_refreshed_one_is_of_the_same_person() -> None:
    assert read(signed({"nonce": None}), replace(EXPECTED, nonce=None, subject="s-1"))["sub"] == "s-1"
    with pytest.raises(ProviderError):
        read(signed({"nonce": None}), replace(EXPECTED, nonce=None, subject="s-2"))


def _with_public_key_as_secret() -> str:
    """What a verifier takes that lets the token say which algorithm it is."""
    head, body = (urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"alg": "HS256", "kid": "a"}, GOOD))
    signature = hmac.digest(KEY.as_pem(private=False), head + b"." + body, "sha256")
    return b".".join((head, body, urlsafe_b64encode(signature).rstrip(b"="))).decode()


def test_only_the_providers_own_keys_sign() -> None:
    stranger = RSAKey.generate_key(2048, {"kid": "a"})
    good = signed({})
    head, body, signature = good.split(".")
    unsigned = "eyJhbGciOiJub25lIn0"  # {"alg":"none"}
    forged = [
        signed({}, stranger), _with_public_key_as_secret(), f"{unsigned}.{body}.", f"{unsigned}.{body}.{signature}",
        f"{head}.{body}.", f"{head}.{body}", "", "a.b.c", good[:-4] + "AAAA", "x" * 100_000,
    ]  # fmt: skip
    for text in forged:
        with pytest.raises(ProviderError):
            read(text)
    with pytest.raises(UnknownKey):
        read(signed({}, RSAKey.generate_key(2048, {"kid": "b"}), kid="b"))


def test_a_flow_is_of_one_provider_and_one_browser_and_of_now(tmp_path: Any) -> None:
    from gateway.store.vault import SealedVault, ensure_key

    ensure_key(tmp_path / "key")
    box = SealedVault.load(tmp_path / "key")
    flow = begin_flow("http://127.0.0.1:9/callback", NOW)
    text = seal(flow, box, "https://id.example")
    again = unseal(text, flow.state, box, "https://id.example", NOW + timedelta(minutes=9))
    assert replace(again, verifier=flow.verifier) == flow
    assert again.verifier.reveal() == flow.verifier.reveal()
    for state, issuer, now in (
        ("another", "https://id.example", NOW),
        (flow.state, "https://elsewhere.example", NOW),
        (flow.state, "https://id.example", NOW + timedelta(minutes=11)),
        (flow.state, "https://id.example", NOW - timedelta(minutes=1)),
    ):
        with pytest.raises(ServiceError) as caught:
            unseal(text, state, box, issuer, now)
        assert caught.value.rule == "sign-in-stale"
    assert flow.verifier.reveal() not in text
