"""PagerDuty for tests: `GET /oncalls` of its REST API version 2, as documented, with its pages, its errors and its token."""

import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trustme

TOKEN = "pd-canary-5c1e7a"
_PAGE = 2  # smaller than any client expects


@dataclass
class Account:
    """`authority`: whose its certificate is, in PEM. `shifts`: by schedule, e-mail addresses of those who are on call. `invited`:
    who has not taken up their account.

    `faults`: statuses of the next answers. `delay_seconds`: before each. `asked`: how often.
    """

    url: str = ""
    authority: bytes = b""
    shifts: dict[str, list[str]] = field(default_factory=dict)
    invited: set[str] = field(default_factory=set)
    faults: list[int] = field(default_factory=list)
    delay_seconds: float = 0.0
    asked: int = 0


@contextmanager
def pagerduty() -> Iterator[Account]:
    authority = trustme.CA()
    account = Account(authority=authority.cert_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            account.asked += 1
            time.sleep(account.delay_seconds)
            found = urlsplit(self.path)
            if self.headers.get("authorization") != f"Token token={TOKEN}":
                self._answer(401, {"error": {"message": "Authentication failed", "code": 2006}})
            elif account.faults:
                self._answer(account.faults.pop(0), {"error": {"message": "fault"}})
            elif found.path != "/oncalls":
                self._answer(404, {"error": {"message": "Not Found", "code": 2100}})
            else:
                self._answer(200, _oncalls(account, parse_qs(found.query)))

        def _answer(self, status: int, body: dict[str, Any]) -> None:
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    account.url = f"https://localhost:{server.server_address[1]}"
    serving = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    serving.start()
    try:
        yield account
    finally:
        server.shutdown()
        server.server_close()
        serving.join(5)


def _oncalls(account: Account, asked: dict[str, list[str]]) -> dict[str, Any]:
    """Only what was asked for: users are mere references, unless they are included."""
    whole = "users" in asked.get("include[]", [])
    schedules = asked.get("schedule_ids[]") or list(account.shifts)
    entries = [
        {
            "user": _user(email, account, whole=whole),
            "schedule": {"id": schedule, "type": "schedule_reference"},
            "escalation_policy": {"id": "PPOLICY", "type": "escalation_policy_reference"},
            "escalation_level": 1,
            "start": "2026-01-01T00:00:00Z",
            "end": "2036-01-01T00:00:00Z",
        }
        for schedule in schedules
        for email in account.shifts.get(schedule, [])
    ]
    offset, limit = int(asked.get("offset", ["0"])[0]), min(int(asked.get("limit", ["25"])[0]), _PAGE)
    more = offset + limit < len(entries)
    return {"oncalls": entries[offset : offset + limit], "limit": limit, "offset": offset, "more": more, "total": None}


def _user(email: str, account: Account, *, whole: bool) -> dict[str, Any]:
    reference = {"id": f"P{abs(hash(email)) % 10**6}", "summary": email.partition("@")[0]}
    if not whole:
        return {**reference, "type": "user_reference"}
    return {**reference, "type": "user", "email": email, "invitation_sent": email in account.invited}
