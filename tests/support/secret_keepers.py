"""Stand-ins for those who keep secrets, on loopback, by the HTTP APIs that they document; their own clients talk to them."""

import base64
import contextlib
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import trustme


@dataclass
class Answer:
    status: int
    body: dict[str, Any]
    location: str = ""


@dataclass
class Keeper:
    """`requests`: (method, path, headers, body) of each. `hold`: while it is set nothing is answered."""

    url: str = ""
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        raise NotImplementedError


@dataclass
class FakeVault(Keeper):
    """`kv2`, `kv1`: by mount/path. `tokens` may read; `roles`: AppRole ids and their secret ids; `jwts`: of service accounts.

    `active`: where a standby sends its callers.
    """

    kv2: dict[str, dict[str, Any]] = field(default_factory=dict)
    kv1: dict[str, dict[str, Any]] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    tokens: set[str] = field(default_factory=set)
    roles: dict[str, str] = field(default_factory=dict)
    jwts: dict[str, str] = field(default_factory=dict)
    lease_seconds: int = 3600
    sealed: bool = False
    active: str = ""
    logins: int = 0

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if self.sealed:
            return Answer(503, {"errors": ["Vault is sealed"]})
        if self.active:
            return Answer(307, {}, f"{self.active}{path}")
        path = path.removeprefix("/v1/")
        if method == "POST":
            return self._log_in(path, json.loads(body))
        if headers.get("x-vault-token") not in self.tokens:
            return Answer(403, {"errors": ["permission denied"]})
        return self._read(path)

    def _read(self, path: str) -> Answer:
        mount, _, rest = path.partition("/")
        if path in self.kv1:
            return Answer(200, {"data": self.kv1[path], "lease_duration": 2764800, "renewable": False})
        key = f"{mount}/{rest.removeprefix('data/')}"
        if rest.startswith("data/") and key in self.deleted:
            metadata = {"version": 1, "deletion_time": "2026-01-01T00:00:00Z", "destroyed": False}
            return Answer(404, {"data": {"data": None, "metadata": metadata}})
        if rest.startswith("data/") and key in self.kv2:
            return Answer(200, {"data": {"data": self.kv2[key], "metadata": {"version": 1, "destroyed": False}}})
        return Answer(404, {"errors": []})

    def _log_in(self, path: str, given: dict[str, str]) -> Answer:
        match path:
            case "auth/approle/login" | "auth/elsewhere/login":
                fits = self.roles.get(given["role_id"]) == given["secret_id"]
            case "auth/kubernetes/login":
                fits = self.jwts.get(given["role"]) == given["jwt"]
            case _:
                return Answer(404, {"errors": ["no handler for route"]})
        if not fits:
            return Answer(400, {"errors": ["invalid role or secret ID"]})
        self.logins += 1
        token = f"hvs.given-canary-{self.logins}"
        self.tokens.add(token)
        return Answer(200, {"auth": {"client_token": token, "lease_duration": self.lease_seconds, "renewable": True}})


@dataclass
class FakeSecretsManager(Keeper):
    """AWS: GetSecretValue of `kept`, for whoever signs with `key_id`."""

    kept: dict[str, str] = field(default_factory=dict)
    key_id: str = ""

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if headers.get("x-amz-target") != "secretsmanager.GetSecretValue":
            return Answer(400, {"__type": "UnknownOperationException"})
        signed = headers.get("authorization", "")
        if not signed.startswith(f"AWS4-HMAC-SHA256 Credential={self.key_id}/") or "/secretsmanager/aws4_request" not in signed:
            return Answer(400, {"__type": "UnrecognizedClientException", "message": "The security token is invalid."})
        name = json.loads(body)["SecretId"]
        if name == "forbidden":
            return Answer(400, {"__type": "AccessDeniedException", "Message": "not authorized"})
        if name not in self.kept:
            return Answer(400, {"__type": "ResourceNotFoundException", "message": "Secrets Manager can't find it."})
        return Answer(
            200, {"ARN": "arn:x", "Name": name, "VersionId": "1", "SecretString": self.kept[name], "CreatedDate": 1.0}
        )


@dataclass
class FakeGoogle(Keeper):
    """Google: accessing versions of `kept`, by their whole name."""

    kept: dict[str, str] = field(default_factory=dict)

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        name = path.removeprefix("/v1/").partition(":access")[0]
        if name not in self.kept:
            said = {"code": 404, "message": "Secret not found", "status": "NOT_FOUND"}
            return Answer(404, {"error": said})
        data = self.kept[name].encode()
        return Answer(200, {"name": name, "payload": {"data": base64.b64encode(data).decode()}})


@contextlib.contextmanager
def answering(keeper: Keeper, authority: trustme.CA | None = None) -> Iterator[None]:
    """On a port of loopback; inside TLS with `authority`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            keeper.requests.append((self.command, self.path, headers, body))
            if keeper.hold.is_set():
                keeper.released.wait(20)
            answer = keeper.answer(self.command, self.path.partition("?")[0], headers, body)
            content = json.dumps(answer.body).encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            if answer.location:
                self.send_header("Location", answer.location)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(content)

        do_GET = do_POST = _answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    scheme = "http"
    if authority is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    keeper.url = f"{scheme}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        keeper.released.set()
        server.shutdown()
        server.server_close()
