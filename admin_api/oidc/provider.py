"""The identity provider: what it says of itself, a person's sign-in there, and whether it still vouches for somebody.

Everything is found by discovery (`/.well-known/openid-configuration`). What it says of itself and its keys are remembered for a
while; an unknown key makes them be read again, at most once a minute, so that strangers' tokens cannot make us ask and ask.
"""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote_plus, urlencode

from joserfc.jwk import KeySet

from admin_api.oidc.flow import Flow
from admin_api.oidc.http import JsonObject, ProviderError, ProviderHttp, ProviderRefused
from admin_api.oidc.id_token import Expected, UnknownKey, parse_keys, verify
from gateway.access.accounts import Identity
from gateway.secret import Secret
from gateway.services.identities import Vouched
from gateway.settings.sign_in import Oidc

_REMEMBERED: Final = timedelta(minutes=10)
_KEYS_AGAIN: Final = timedelta(minutes=1)
_DISCOVERY: Final = "/.well-known/openid-configuration"
_MAX_GROUPS: Final = 5000
_MAX_TEXT: Final = 255


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Of the discovery document, what we use. `algorithms`: of ID tokens. `says_issuer`: with each sign-in (RFC 9207)."""

    authorization: str
    token: str
    keys: str
    userinfo: str | None
    end_session: str | None
    revocation: str | None
    algorithms: tuple[str, ...]
    basic: bool
    says_issuer: bool


@dataclass(frozen=True, slots=True)
class Said:
    """What the provider said of a person, verified. `refresh` None: it gave no refresh token (or, asked with one, no new one)."""

    vouched: Vouched
    refresh: Secret | None = field(default=None, repr=False)


class Provider:
    """One provider, as the settings describe it. Every method raises ProviderError."""

    def __init__(self, settings: Oidc, clock: Callable[[], datetime]) -> None:
        self.settings = settings
        self._clock = clock
        self._http = ProviderHttp(settings.ca_file)
        self._endpoints: Endpoints | None = None
        self._keys: KeySet | None = None
        self._read_at: datetime | None = None
        self._keys_at: datetime | None = None

    async def check(self) -> None:
        """Everything that a sign-in needs of us and of it, but for the person: discovery, keys, our secret."""
        endpoints = await self._known()
        await self._read_keys(endpoints, self._clock())
        self._as_client(endpoints, {})

    async def authorization_url(self, flow: Flow) -> str:
        """Where the person's browser goes."""
        endpoints = await self._known()
        challenge = urlsafe_b64encode(hashlib.sha256(flow.verifier.reveal().encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": flow.redirect_uri,
            "scope": " ".join(self.settings.scopes),
            "state": flow.state,
            "nonce": flow.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"{endpoints.authorization}{'&' if '?' in endpoints.authorization else '?'}{urlencode(query)}"

    async def redeem(self, code: Secret, flow: Flow, issuer: str | None) -> Said:
        """Who has signed in. `issuer`: as the browser brought it; None: it brought none."""
        endpoints = await self._known()
        if issuer != self.settings.issuer and (issuer is not None or endpoints.says_issuer):
            raise ProviderError("the answer to the sign-in came from another identity provider")
        form = {
            "grant_type": "authorization_code",
            "code": code.reveal(),
            "redirect_uri": flow.redirect_uri,
            "code_verifier": flow.verifier.reveal(),
        }
        answer = await self._token(endpoints, form)
        text = answer.get("id_token")
        if not isinstance(text, str):
            raise ProviderError("the identity provider gave no ID token")
        claims = await self._verified(text, Expected(self.settings.issuer, self.settings.client_id, flow.nonce))
        if self.settings.groups_claim not in claims or self.settings.name_claim not in claims:
            claims = await self._with_userinfo(endpoints, claims, answer.get("access_token"))
        return Said(self._vouched(claims), _secret(answer.get("refresh_token")))

    async def ask_again(self, refresh: Secret, identity: Identity) -> Said:
        """Does it still vouch for this person? ProviderRefused: no."""
        endpoints = await self._known()
        answer = await self._token(endpoints, {"grant_type": "refresh_token", "refresh_token": refresh.reveal()})
        text = answer.get("id_token")
        if not isinstance(text, str):
            return Said(Vouched(identity), _secret(answer.get("refresh_token")))
        expected = Expected(self.settings.issuer, self.settings.client_id, None, identity.subject)
        claims = await self._verified(text, expected)
        return Said(self._vouched(claims), _secret(answer.get("refresh_token")))

    async def revoke(self, refresh: Secret) -> None:
        """It is not needed any more (RFC 7009). A provider that has no way to say so is left alone."""
        endpoints = await self._known()
        if endpoints.revocation is not None:
            form = {"token": refresh.reveal(), "token_type_hint": "refresh_token"}
            await self._http.post(endpoints.revocation, *self._as_client(endpoints, form))

    async def end_session_url(self) -> str | None:
        """Where the person's browser signs out of the provider, too; None: it has no such place."""
        endpoints = await self._known()
        if endpoints.end_session is None:
            return None
        return f"{endpoints.end_session}?{urlencode({'client_id': self.settings.client_id})}"

    async def close(self) -> None:
        await self._http.close()

    async def _known(self) -> Endpoints:
        now = self._clock()
        if self._endpoints is None or self._read_at is None or now - self._read_at > _REMEMBERED:
            document = await self._http.get(self.settings.issuer.rstrip("/") + _DISCOVERY)
            if document.get("issuer") != self.settings.issuer:
                raise ProviderError("the discovery document is of another issuer than oidc.issuer, to the letter")
            self._endpoints, self._read_at, self._keys = _endpoints(document), now, None
        return self._endpoints

    async def _verified(self, text: str, expected: Expected) -> Mapping[str, object]:
        endpoints, now = await self._known(), self._clock()
        keys = self._keys if self._keys is not None else await self._read_keys(endpoints, now)
        try:
            return verify(text, keys, endpoints.algorithms, expected, now)
        except UnknownKey:
            if self._keys_at is not None and now - self._keys_at < _KEYS_AGAIN:
                raise
        return verify(text, await self._read_keys(endpoints, now), endpoints.algorithms, expected, now)

    async def _read_keys(self, endpoints: Endpoints, now: datetime) -> KeySet:
        self._keys_at = now
        self._keys = keys = parse_keys(await self._http.get(endpoints.keys))
        return keys

    async def _token(self, endpoints: Endpoints, form: Mapping[str, str]) -> JsonObject:
        return await self._http.post(endpoints.token, *self._as_client(endpoints, form))

    def _as_client(self, endpoints: Endpoints, form: Mapping[str, str]) -> tuple[Mapping[str, str], tuple[str, str] | None]:
        """With the client's secret, if there is one: it is read each time, so that a new one needs no restart."""
        file, client_id = self.settings.client_secret_file, self.settings.client_id
        if file is None:
            return {**form, "client_id": client_id}, None
        try:
            secret = file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ProviderError(f"the client's secret {file} cannot be read") from error
        if endpoints.basic:
            return form, (quote_plus(client_id), quote_plus(secret))
        return {**form, "client_id": client_id, "client_secret": secret}, None

    async def _with_userinfo(self, endpoints: Endpoints, claims: Mapping[str, object], access: object) -> Mapping[str, object]:
        """What the ID token says goes before it; and it must be of the same person."""
        if endpoints.userinfo is None or not isinstance(access, str):
            return claims
        more = await self._http.get(endpoints.userinfo, access)
        if more.get("sub") != claims["sub"]:
            raise ProviderError("the user info is of another person than the ID token")
        return {**more, **claims}

    def _vouched(self, claims: Mapping[str, object]) -> Vouched:
        name, email = claims.get(self.settings.name_claim), claims.get("email")
        if claims.get("email_verified") is not True:
            email = None  # anybody can say that an address is theirs, and an address says who somebody is in Slack
        return Vouched(
            Identity(self.settings.issuer, str(claims["sub"])),
            name if isinstance(name, str) and 0 < len(name) <= _MAX_TEXT else None,
            email if isinstance(email, str) and 0 < len(email) <= _MAX_TEXT else None,
            _groups(claims.get(self.settings.groups_claim)),
        )


def _groups(value: object) -> frozenset[str] | None:
    """A list of names, or one name. Raises ProviderError for what is neither: nobody's rights may hang on a guess."""
    if value is None:
        return None
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or len(found) > _MAX_GROUPS or not all(isinstance(each, str) for each in found):
        raise ProviderError("the claim with the groups is not a list of names")
    return frozenset(found)


def _endpoints(document: JsonObject) -> Endpoints:
    algorithms = _texts(document, "id_token_signing_alg_values_supported") or ("RS256",)
    methods = _texts(document, "token_endpoint_auth_methods_supported") or ("client_secret_basic",)
    return Endpoints(
        authorization=_url(document, "authorization_endpoint"),
        token=_url(document, "token_endpoint"),
        keys=_url(document, "jwks_uri"),
        userinfo=_url_if_any(document, "userinfo_endpoint"),
        end_session=_url_if_any(document, "end_session_endpoint"),
        revocation=_url_if_any(document, "revocation_endpoint"),
        algorithms=algorithms,
        basic="client_secret_basic" in methods,
        says_issuer=document.get("authorization_response_iss_parameter_supported") is True,
    )


def _url(document: JsonObject, name: str) -> str:
    if (found := _url_if_any(document, name)) is None:
        raise ProviderError(f"the discovery document has no {name}")
    return found


def _url_if_any(document: JsonObject, name: str) -> str | None:
    found = document.get(name)
    return found if isinstance(found, str) and found else None


def _texts(document: JsonObject, name: str) -> tuple[str, ...]:
    found = document.get(name)
    return tuple(each for each in found if isinstance(each, str)) if isinstance(found, list) else ()


def _secret(value: object) -> Secret | None:
    return Secret(value) if isinstance(value, str) and value else None


__all__ = ["Endpoints", "Provider", "ProviderError", "ProviderRefused", "Said"]
