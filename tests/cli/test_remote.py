"""Commands over the network: who is believed, what is said when nobody answers, and what never leaves in clear text."""

import contextlib
import json
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import trustme

from tests.cli.terminal import PROGRAM
from tests.cli.world import World, served


def test_the_actor_is_the_token(remote: World) -> None:
    remote.run("users", "create", "ana", "--reason", "from far")
    (event,) = [each for each in remote.here().json_lines("audit", "search") if each.get("action") == "user.created"]
    assert (event["actor"], event["reason"]) == ("token:far", "from far")


def test_options_may_stand_before_the_command_or_in_the_environment(
    remote: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    remote.run("users", "create", "ana")
    _, url, _, file = remote.options
    nowhere = World(tmp_path / "nowhere")
    with monkeypatch.context() as patch:
        assert [
            each["name"] for each in World(nowhere.folder, ()).json("--url", url, "--token-file", file, "users", "list")
        ] == ["ana"]
        patch.undo()
    monkeypatch.setenv("PGBASTION_URL", url)
    monkeypatch.setenv("PGBASTION_TOKEN", Path(file).read_text().strip())
    monkeypatch.delenv("PGBASTION_TOKEN_FILE", raising=False)
    assert [each["name"] for each in nowhere.json("users", "list")] == ["ana"]
    # A configuration that is named wins over the URL in the environment.
    other = tmp_path / "other.toml"
    other.write_text('state_dir = "other"\n')
    assert nowhere.json("users", "list", "--config", str(other)) == []
    assert nowhere.run("users", "list", "--config", str(other), "--url", url, status=2)


def test_a_token_that_is_none(remote: World, tmp_path: Path) -> None:
    url = remote.options[1]
    bad = tmp_path / "bad"
    for content, text in (("pgb_wrong", "needs a valid token"), ("", "is empty"), ("two words", "does not hold an API token")):
        bad.write_text(content)
        assert text in World(remote.folder).error("users", "list", "--url", url, "--token-file", str(bad))
    assert "there is no API token" in World(remote.folder).error("users", "list", "--url", url)


def test_a_token_that_may_only_look(remote: World, tmp_path: Path) -> None:
    token = remote.json("tokens", "create", "eyes", "--scope", "read")["token"]
    file = tmp_path / "eyes"
    file.write_text(token)
    reader = World(remote.folder, ("--url", remote.options[1], "--token-file", str(file)))
    assert reader.json("users", "list") == []
    assert "may only look" in reader.error("users", "create", "ana")
    remote.run("tokens", "revoke", "eyes")
    assert "needs a valid token" in reader.error("users", "list")


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://127.0.0.1:1", "cannot be reached"),
        ("http://gateway.example.com:6480", "in clear text"),
        ("https://no-such-host.invalid", "cannot be reached"),
        ("ftp://127.0.0.1", "is not one"),
        ("nonsense", "is not one"),
        ("http://user:password@127.0.0.1:1", "is not one"),
    ],
)
def test_an_api_that_is_not_there(local: World, tmp_path: Path, url: str, text: str) -> None:
    file = tmp_path / "token"
    file.write_text("pgb_something")
    error = local.error("users", "list", "--url", url, "--token-file", str(file))
    assert text in error
    assert "password" not in error


def test_tls_is_verified(local: World, tmp_path: Path) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    ca.issue_cert("127.0.0.1", "localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    file = tmp_path / "token"
    file.write_text("pgb_something")
    server = (
        "import http.server, ssl, sys\n"
        "class Handler(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200); self.send_header('content-type', 'application/json'); self.end_headers()\n"
        '        self.wfile.write(b\'{"items": [], "next": null}\')\n'
        "    def log_message(self, *_): pass\n"
        "server = http.server.HTTPServer(('127.0.0.1', 0), Handler)\n"
        "context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); context.load_cert_chain(sys.argv[1])\n"
        "server.socket = context.wrap_socket(server.socket, server_side=True)\n"
        "print(server.server_port, flush=True); server.serve_forever()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", server, str(tmp_path / "server.pem")], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            url = f"https://127.0.0.1:{int(process.stdout.readline())}"
            asked = ["users", "list", "--json", "--url", url, "--token-file", str(file)]
            error = local.error(*asked)
            assert "is not trusted" in error
            assert "--ca-file" in error
            assert local.run(*asked, "--ca-file", str(tmp_path / "ca.pem")).stdout == "[]\n"
            assert local.run("--ca-file", str(tmp_path / "ca.pem"), *asked).stdout == "[]\n"
        finally:
            process.kill()


def test_an_answer_that_is_no_admin_api(local: World, tmp_path: Path) -> None:
    server = (
        "import http.server as h; s = h.HTTPServer(('127.0.0.1', 0), h.SimpleHTTPRequestHandler)\n"
        "print(s.server_port, flush=True); s.serve_forever()"
    )
    file = tmp_path / "token"
    file.write_text("pgb_something")
    with subprocess.Popen(
        [sys.executable, "-c", server], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=tmp_path
    ) as process:
        try:
            assert process.stdout is not None
            url = f"http://127.0.0.1:{int(process.stdout.readline())}"
            error = local.error("users", "list", "--url", url, "--token-file", str(file))
            assert "error: the admin API answered with status 404" in error
        finally:
            process.kill()


def test_policy_under_a_targets_lists(local: World) -> None:
    local.run("targets", "create", "shop", "--host", "h", "--dbname", "d")
    local.run("targets", "allow-function", "shop", "app.f")
    with served(local) as remote:
        for world in (local, remote):
            assert "allowed in read_only mode" in world.run("policy", "explain", "--target", "shop", "SELECT app.f()").stdout
            assert world.json("policy", "explain", "SELECT app.f()", status=1)["rule"] == "function-not-listed"
            assert 'there is no target "none"' in world.error("policy", "explain", "--target", "none", "SELECT 1")


def test_the_audit_is_searched_and_followed_from_far(remote: World) -> None:
    for name in ("ana", "ben"):
        remote.run("users", "create", name)
    found = [each for each in remote.json_lines("audit", "search", "--event", "user.*") if each["event"] == "admin"]
    assert [each["object"] for each in found] == ["ana", "ben"]
    assert found == remote.here().json_lines("audit", "search", "--event", "user.*")
    assert [each["object"] for each in remote.json_lines("audit", "tail", "-n", "1")] == ["ben"]
    assert "user.created ben" in remote.run("audit", "search", "--user", "ben").stdout
    program = [str(PROGRAM), "audit", "tail", "-f", "-n", "1", "--json", *remote.options]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["object"] == "ben"
            remote.run("users", "create", "eve")
            assert json.loads(process.stdout.readline())["object"] == "eve"
        finally:
            process.kill()


class Forgetful(threading.Thread):
    """Between a command and the API: of the first `losses` requests to a path, the answer is never handed on. Notes all keys."""

    def __init__(self, port: int, path: str, losses: int) -> None:
        super().__init__(daemon=True)
        self.keys: list[str] = []
        self._port, self._path, self._losses = port, path, losses
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.start()

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                with client, contextlib.suppress(OSError):
                    self._serve(client)

    def _serve(self, client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._port)) as api:
            while head := self._whole(client, b"\r\n\r\n"):
                body = self._body(client, head)
                api.sendall(head + body)
                answer = self._whole(api, b"\r\n\r\n")
                answer += self._body(api, answer)
                if head.startswith(f"POST {self._path}".encode()):
                    found = re.search(rb"(?i)idempotency-key: (\S+)", head)
                    self.keys.append(found[1].decode() if found else "")
                    if len(self.keys) <= self._losses:
                        return
                client.sendall(answer)

    @staticmethod
    def _whole(sock: socket.socket, end: bytes) -> bytes:
        heard = b""
        while not heard.endswith(end):
            if not (piece := sock.recv(1)):
                return b""
            heard += piece
        return heard

    @staticmethod
    def _body(sock: socket.socket, head: bytes) -> bytes:
        found = re.search(rb"(?i)content-length: (\d+)", head)
        left, body = int(found[1]) if found else 0, b""
        while len(body) < left:
            body += sock.recv(left - len(body))
        return body

    def close(self) -> None:
        self._listening.close()


def through(remote: World, path: str, losses: int) -> tuple[Forgetful, World]:
    _, url, *others = remote.options
    between = Forgetful(int(url.rpartition(":")[2]), path, losses)
    return between, World(remote.folder, ("--url", between.url, *others), remote.actor, remote.secrets)


def test_a_change_whose_answer_was_lost_is_made_once(remote: World) -> None:
    between, far = through(remote, "/v1/", 2)
    made = far.run("users", "create", "ana", "--reason", "from far")
    assert made.stdout == 'User "ana" created.\n'
    assert "first answer was lost" in made.stderr
    assert "Make another: pgbastion users update-password ana" in made.stderr
    assert len(between.keys) == 3
    assert len(set(between.keys)) == 1
    assert len(between.keys[0]) >= 32
    events = [each for each in remote.here().json_lines("audit", "search") if each.get("action") == "user.created"]
    assert len(events) == 1
    far.run("groups", "create", "analysts")
    assert len(between.keys) == 4
    assert between.keys[3] not in between.keys[:3]
    between.close()


def test_a_token_that_nobody_saw_is_no_success(remote: World) -> None:
    between, far = through(remote, "/v1/tokens", 1)
    assert "was made, but not shown" in far.error("tokens", "create", "lost")
    assert [each["name"] for each in remote.json("tokens", "list") if each["name"] == "lost"] == ["lost"]
    between.close()


def test_when_no_answer_ever_comes_that_is_said(remote: World) -> None:
    between, far = through(remote, "/v1/", 99)
    assert "A change may have been made or not" in far.error("users", "create", "ana")
    assert len(set(between.keys)) == 1
    assert [each["name"] for each in remote.json("users", "list")] == ["ana"]
    between.close()
