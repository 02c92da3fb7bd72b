"""An OpenID Connect provider for tests: Authlib's server side over the standard library's HTTP server, as a process of its own.

    python tests/support/oidc_provider.py PORT    (0: any that is free; its first line is its issuer)

Code flow with PKCE (S256, a must), a login page, rotating refresh tokens (the old one is good no more), user info, sign-out and
revocation. People are put, changed and disabled over `PUT /people/<sub>`, which no real provider has; `PUT /faults` makes it err.
"""

import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

CLIENT_ID, CLIENT_SECRET = "pgbastion", "41d2e7b0a9f3c85d6172a4be"


@dataclass
class Served:
    """The running process, as tests use it."""

    issuer: str
    people: dict[str, dict[str, Any]] = field(default_factory=dict)

    def put(self, sub: str, password: str = "there-canary-77", *, enabled: bool = True, **claims: Any) -> None:
        answer = httpx.put(f"{self.issuer}/people/{sub}", json={"password": password, "enabled": enabled, "claims": claims})
        assert answer.status_code == 204

    def err(self, **faults: Any) -> None:
        """`silent`: 503 for everything; `no_refresh`, `nonce`, `algorithm` "none", `audience`: what ID tokens are like."""
        assert httpx.put(f"{self.issuer}/faults", json=faults).status_code == 204

    def seen(self) -> dict[str, int]:
        """How many requests came, by path."""
        return dict(httpx.get(f"{self.issuer}/seen").json())

    def handled(self) -> list[str]:
        """Every secret that passed here: codes, verifiers of PKCE, tokens of all kinds."""
        return list(httpx.get(f"{self.issuer}/handled").json())

    def browse(self, url: str, sub: str, password: str = "there-canary-77") -> httpx.Response:
        """What a browser does: the login page, filled in and sent, and the redirect back followed."""
        page = httpx.get(url)
        assert page.status_code == 200, page.text
        assert 'name="password"' in page.text
        sent = httpx.post(url, data={"sub": sub, "password": password})
        assert sent.status_code == 302, sent.text
        return httpx.get(sent.headers["location"])


@contextmanager
def provider() -> Iterator[Served]:
    environment = {**os.environ, "AUTHLIB_INSECURE_TRANSPORT": "1"}
    command = [sys.executable, __file__, "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            yield Served(process.stdout.readline().strip())
        finally:
            process.terminate()
            process.wait(10)


def _main(port: int) -> None:
    from authlib.oauth2.rfc6749 import (
        AuthorizationCodeMixin,
        AuthorizationServer,
        ClientMixin,
        OAuth2Error,
        OAuth2Payload,
        OAuth2Request,
        TokenMixin,
        grants,
    )
    from authlib.oauth2.rfc6750 import BearerTokenGenerator
    from authlib.oauth2.rfc7009 import RevocationEndpoint
    from authlib.oauth2.rfc7636 import CodeChallenge
    from authlib.oidc.core import OpenIDCode
    from authlib.oidc.core.grants.code import OpenIDToken
    from joserfc.jwk import RSAKey

    key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
    people: dict[str, dict[str, Any]] = {}
    codes: dict[str, Any] = {}
    tokens: list[Any] = []
    faults: dict[str, Any] = {}
    seen: dict[str, int] = defaultdict(int)
    handled: list[str] = []

    class Client(ClientMixin):
        def get_client_id(self):
            return CLIENT_ID

        def get_default_redirect_uri(self):
            return None

        def get_allowed_scope(self, scope):
            return scope

        def check_redirect_uri(self, redirect_uri):
            return re.fullmatch(r"http://127\.0\.0\.1:\d+/callback", redirect_uri) is not None

        def check_client_secret(self, client_secret):
            return secrets.compare_digest(client_secret, CLIENT_SECRET)

        def check_endpoint_auth_method(self, method, _endpoint):
            return method == "client_secret_basic"

        def check_response_type(self, response_type):
            return response_type == "code"

        def check_grant_type(self, grant_type):
            return grant_type != "refresh_token" or not faults.get("no_refresh")

    @dataclass
    class Code(AuthorizationCodeMixin):
        code: str
        sub: str
        redirect_uri: str
        scope: str
        nonce: str | None
        code_challenge: str
        code_challenge_method: str

        def get_redirect_uri(self):
            return self.redirect_uri

        def get_scope(self):
            return self.scope

        def get_nonce(self):
            return faults.get("nonce", self.nonce)

        def get_auth_time(self):
            return int(time.time())

        def get_acr(self):
            return None

        def get_amr(self):
            return None

    @dataclass
    class Token(TokenMixin):
        access: str
        refresh: str | None
        sub: str
        scope: str
        revoked: bool = False

        def check_client(self, client):
            return client.get_client_id() == CLIENT_ID

        def get_scope(self):
            return self.scope

    class Payload(OAuth2Payload):
        def __init__(self, data):
            self._data = data

        @property
        def data(self):
            return self._data

        @property
        def datalist(self):
            return defaultdict(list, {name: [value] for name, value in self._data.items()})

    class Request(OAuth2Request):
        def __init__(self, handler, form):
            super().__init__(handler.command, server.issuer + handler.path, headers=dict(handler.headers))
            self._args = {name: values[0] for name, values in parse_qs(urlsplit(handler.path).query).items()}
            self._form = form
            self.payload = Payload({**self._args, **form})

        @property
        def args(self):
            return self._args

        @property
        def form(self):
            return self._form

    class Authorization(AuthorizationServer):
        issuer = ""

        def query_client(self, client_id):
            return Client() if client_id == CLIENT_ID else None

        def save_token(self, token, request):
            tokens.append(Token(token["access_token"], token.get("refresh_token"), request.user, token["scope"]))

        def create_oauth2_request(self, request):
            return request

        def handle_response(self, status, body, headers):
            return status, body, headers

        def send_signal(self, name, *args, **kwargs):
            pass

    class CodeGrant(grants.AuthorizationCodeGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic"]  # noqa: RUF012

        def save_authorization_code(self, code, request):
            data = request.payload.data
            codes[code] = Code(
                code, request.user, data["redirect_uri"], request.scope, data.get("nonce"),
                data["code_challenge"], data["code_challenge_method"],
            )  # fmt: skip

        def query_authorization_code(self, code, client):
            return codes.get(code)

        def delete_authorization_code(self, authorization_code):
            del codes[authorization_code.code]

        def authenticate_user(self, authorization_code):
            return authorization_code.sub

    class Refresh(grants.RefreshTokenGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic"]  # noqa: RUF012
        INCLUDE_NEW_REFRESH_TOKEN = True

        def authenticate_refresh_token(self, refresh_token):
            found = next((each for each in tokens if each.refresh == refresh_token and not each.revoked), None)
            return found if found is not None and people[found.sub]["enabled"] else None

        def authenticate_user(self, refresh_token):
            return refresh_token.sub

        def revoke_old_credential(self, refresh_token):
            refresh_token.revoked = True

    class Revocation(RevocationEndpoint):
        CLIENT_AUTH_METHODS = ["client_secret_basic"]  # noqa: RUF012

        def query_token(self, token_string, token_type_hint):
            return next((each for each in tokens if each.refresh == token_string), None)

        def revoke_token(self, token, request):
            token.revoked = True

    class Describes:
        def get_client_algorithm(self, client):
            return "RS256"

        def get_encode_header(self, client):
            return {"alg": "RS256", "kid": faults.get("kid", "one")}

        def get_client_claims(self, client):
            return self.get_compatible_claims(None)

        def get_compatible_claims(self, request):
            now = int(time.time())
            return {"iss": server.issuer, "aud": [faults.get("audience", CLIENT_ID)], "iat": now, "exp": now + 7 * 86_400}

        def resolve_client_private_key(self, client):
            return key

        def generate_user_info(self, user, scope):
            return {"sub": user, **people[user]["claims"]}

    class Fresh(Describes, OpenIDCode):
        def exists_nonce(self, nonce, request):
            return any(code.nonce == nonce for code in codes.values())

    class Refreshed(Describes, OpenIDToken):
        pass

    server = Authorization()
    server.register_token_generator("default", BearerTokenGenerator(
        lambda **_: secrets.token_urlsafe(24), lambda **_: secrets.token_urlsafe(24)))  # fmt: skip
    server.register_grant(CodeGrant, [CodeChallenge(required=True), Fresh(require_nonce=True)])
    server.register_grant(Refresh, [Refreshed()])
    server.register_endpoint(Revocation)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self._answer({})

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
            self._answer({name: values[0] for name, values in parse_qs(body).items()})

        def do_PUT(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            where = urlsplit(self.path).path
            if where == "/faults":
                faults.clear()
                faults.update(body)
            else:
                people[where.removeprefix("/people/")] = body
            self._send(204, "", [])

        def log_message(self, *_):
            pass

        def _answer(self, form):
            where = urlsplit(self.path).path
            seen[where] += 1
            handled.extend(form[name] for name in ("code", "code_verifier", "refresh_token", "token") if name in form)
            if faults.get("silent") and where not in ("/seen", "/handled"):
                self._send(503, "", [])
                return
            try:
                self._send(*self._route(where, form))
            except OAuth2Error as error:
                self._send(*error())

        def _route(self, where, form):
            match where:
                case "/.well-known/openid-configuration":
                    return 200, self._discovery(), []
                case "/keys":
                    return 200, {"keys": [key.as_dict(private=False)]}, []
                case "/authorize":
                    request = Request(self, form)
                    grant = server.get_consent_grant(request)
                    person = people.get(form.get("sub", ""))
                    if person is None or not person["enabled"] or person["password"] != form.get("password"):
                        return 200, '<form method="post"><input name="sub"><input name="password" type="password"></form>', []
                    redirect_uri = grant.validate_authorization_request()
                    return grant.create_authorization_response(redirect_uri, form["sub"])
                case "/token":
                    grant = server.get_token_grant(Request(self, form))
                    grant.validate_token_request()
                    status, answer, headers = grant.create_token_response()
                    handled.extend(answer[name] for name in ("access_token", "refresh_token", "id_token") if name in answer)
                    return status, answer, headers
                case "/userinfo":
                    bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
                    sub = next(each.sub for each in tokens if each.access == bearer)
                    return 200, {"sub": sub, **people[sub]["claims"]}, []
                case "/revoke":
                    return server.create_endpoint_response("revocation", Request(self, form))
                case "/handled":
                    return 200, handled, []
                case "/seen":
                    return 200, dict(seen), []
            return 404, "", []

        def _discovery(self):
            issuer = server.issuer
            return {
                "issuer": issuer,
                "authorization_endpoint": f"{issuer}/authorize",
                "token_endpoint": f"{issuer}/token",
                "jwks_uri": f"{issuer}/keys",
                "userinfo_endpoint": f"{issuer}/userinfo",
                "revocation_endpoint": f"{issuer}/revoke",
                "end_session_endpoint": f"{issuer}/logout",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic"],
                "code_challenge_methods_supported": ["S256"],
            }

        def _send(self, status, body, headers):
            text = body if isinstance(body, str) else json.dumps(body)
            self.send_response(status)
            kind = "text/html" if text.startswith("<") else "application/json"
            for name, value in {"Content-Type": kind, **dict(headers), "Content-Length": str(len(text.encode()))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

    httpd = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.issuer = f"http://127.0.0.1:{httpd.server_address[1]}"
    print(server.issuer, flush=True)
    httpd.serve_forever()


if __name__ == "__main__":
    _main(int(sys.argv[1]))
