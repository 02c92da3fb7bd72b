"""`pgbastion login`, whoami and logout: a real program, a real admin API, and an identity provider as a process of its own.

What a person does in a browser is answered over HTTP; everything else is the way it is.
"""

import contextlib
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pyotp
import pytest

from tests.cli.terminal import Terminal
from tests.cli.world import World, served
from tests.support.oidc_provider import CLIENT_ID, CLIENT_SECRET, Served, provider

PROGRAM = [sys.executable, "-c", "from gateway.cli.main import run; run()"]
PASSWORD = "sign-in-canary-91aa"


@dataclass
class Computer:
    """A person's own, which knows the admin API's URL and nothing else."""

    home: Path
    url: str
    secrets: list[str] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PGBASTION_")}
        return {**kept, **self.own, "COLUMNS": "200"}

    @property
    def own(self) -> dict[str, str]:
        return {"HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home / "config"), "PGBASTION_NO_KEYRING": "1"}

    def run(self, *words: str, given: str = "", status: int = 0) -> str:
        done = subprocess.run(
            [*PROGRAM, *words], input=given, capture_output=True, text=True, env=self.environment, cwd=self.home, timeout=60
        )
        assert done.returncode == status, (words, done)
        assert not any(secret in done.stdout + done.stderr for secret in self.secrets)
        return done.stdout if status == 0 else done.stderr

    @property
    def tokens(self) -> Path:
        return self.home / "config" / "pgbastion" / "tokens.json"


@pytest.fixture(scope="module")
def idp() -> Iterator[Served]:
    with provider() as found:
        yield found


@pytest.fixture
def home(tmp_path: Path, plain_environment: None) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@contextlib.contextmanager
def opened(local: World, home: Path, more: str = "") -> Iterator[Computer]:
    local.config.write_text(local.config.read_text() + more)
    with served(local) as remote:
        yield Computer(home, remote.options[1])


def test_a_password_a_code_and_out_again(local: World, home: Path) -> None:
    local.run("users", "create", "ana")
    local.run("accounts", "create", "ana", "--password-stdin", given=f"{PASSWORD}\n")
    with opened(local, home) as computer:
        computer.secrets.append(PASSWORD)
        assert "wrong" in computer.run(
            "login", "--url", computer.url, "--name", "ana", "--password-stdin", given="wrong-canary\n", status=1
        )
        said = computer.run("login", "--url", computer.url, "--name", "ana", "--password-stdin", given=f"{PASSWORD}\n")
        assert f"Signed in to {computer.url} as ana until" in said
        assert computer.tokens.stat().st_mode & 0o777 == 0o600
        computer.secrets.append(re.findall(r"pgb_[\w-]{43}", computer.tokens.read_text())[0])
        assert computer.run("whoami").startswith(f"user:ana at {computer.url} until 20")
        assert "may not do this" in computer.run("accounts", "list", status=1)
        assert computer.run("logout") == f"Signed out of {computer.url}.\n"
        assert not computer.tokens.exists()
        computer.run("whoami", status=1)


def test_an_authenticator_at_a_terminal(local: World, home: Path) -> None:
    local.run("users", "create", "ana")
    local.run("roles", "members", "owners", "--add", "ana")
    local.run("accounts", "create", "ana", "--password-stdin", given=f"{PASSWORD}\n")
    with opened(local, home) as computer:
        terminal = Terminal("login", "--url", computer.url, "--name", "ana", environment=computer.own)
        terminal.wait_for("Password: ")
        terminal.type(f"{PASSWORD}\n")
        terminal.wait_for("Code (empty without an authenticator)")
        terminal.type("\n")
        terminal.wait_for("Code that it shows")
        secret = re.findall(r"by its secret: ([A-Z2-7]{32})", terminal.seen)[0]
        terminal.type(f"{pyotp.TOTP(secret).now()}\n")
        screen = terminal.end()
        assert (screen.status, PASSWORD in screen.raw) == (0, False)
        assert len(re.findall(r"^  [a-z2-7]{5}-[a-z2-7]{5}-[a-z2-7]{5}$", screen.text, re.M)) == 10
        assert "Owner: yes" in computer.run("whoami")
        assert "Authenticator: yes, 10 recovery codes left" in computer.run("whoami")


def test_through_the_provider_with_a_browser(local: World, home: Path, idp: Served) -> None:
    """The whole way: discovery, PKCE, the login page, the loopback, groups; and out again when the provider says no."""
    idp.put("s-1", preferred_username="ana", groups=["data"])
    local.run("users", "create", "ana")
    local.run("groups", "create", "analysts")
    local.run("oidc", "mappings", "create", "data", "--group", "analysts")
    secret = local.folder / "client-secret"
    secret.write_text(CLIENT_SECRET)
    settings = provider_settings(idp, secret) + "recheck_minutes = 0.01\n"
    with opened(local, home, settings) as computer:
        local.run("accounts", "link", "ana", "--subject", "s-1", "--managed")
        page, said = by_browser(computer, idp, "s-1")
        assert page.status_code == 200
        assert "Close this window" in page.text
        assert f"Signed in to {computer.url} as ana until" in said
        assert "Groups: analysts." in computer.run("whoami")
        idp.put("s-1", enabled=False)
        deadline = time.monotonic() + 30
        while local.json("accounts", "show", "ana")["standing"] != "refused":
            assert time.monotonic() < deadline
            time.sleep(0.2)
        computer.run("whoami", status=1)
        idp.put("s-1", preferred_username="ana", groups=[])
        by_browser(computer, idp, "s-1")
        assert f"{idp.issuer}/logout?client_id=pgbastion" in computer.run("logout")
        events = [event["action"] for event in local.json_lines("audit", "search")]
        assert {"account.linked", "account.refused", "account.vouched_for", "sign_in.created", "sign_in.ended"} <= set(events)


def test_nobody_else_answers_for_the_browser(local: World, home: Path, idp: Served) -> None:
    idp.put("s-1", preferred_username="ana")
    secret = local.folder / "client-secret"
    secret.write_text(CLIENT_SECRET)
    settings = provider_settings(idp, secret)
    with opened(local, home, settings) as computer, started(computer) as (process, lines):
        url = httpx.URL(next_url(lines))
        back = url.params["redirect_uri"]
        for wrong in (
            f"{back}?code=x",
            f"{back}?code=x&state=guessed",
            back.replace("callback", "other"),
            f"{back}?state=&code=",
        ):
            assert httpx.get(wrong).status_code in (400, 404)
        assert httpx.post(back, data={"code": "x", "state": url.params["state"]}).status_code == 404
        elsewhere = httpx.get(f"{back}?code=x&state={url.params['state']}", headers={"Host": "evil.example"})
        assert elsewhere.status_code == 404
        denied = httpx.get(back, params={"state": url.params["state"], "error": "access_denied"})
        assert "did not succeed" in denied.text
        process.wait(30)
        assert process.returncode == 1
        assert process.stderr is not None
        assert "access_denied" in process.stderr.read()
    assert not computer.tokens.exists()


def provider_settings(idp: Served, secret: Path) -> str:
    return f'\n[oidc]\nissuer = "{idp.issuer}"\nclient_id = "{CLIENT_ID}"\nclient_secret_file = "{secret}"\n'


@contextlib.contextmanager
def started(computer: Computer) -> Iterator[tuple[subprocess.Popen[str], "queue.Queue[str]"]]:
    lines: queue.Queue[str] = queue.Queue()
    environment = {**computer.environment, "PYTHONUNBUFFERED": "1"}
    command = [*PROGRAM, "login", "--oidc", "--url", computer.url]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=computer.home
    ) as process:
        assert process.stdout is not None
        stdout = process.stdout

        def read() -> None:
            for line in stdout:
                lines.put(line)

        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield process, lines
        finally:
            process.kill()
            reader.join()


def next_url(lines: "queue.Queue[str]") -> str:
    while not (line := lines.get(timeout=60).strip()).startswith("http"):
        pass
    return line


def by_browser(computer: Computer, idp: Served, sub: str) -> tuple[httpx.Response, str]:
    with started(computer) as (process, lines):
        page = idp.browse(next_url(lines), sub)
        assert process.wait(60) == 0, process.stderr.read() if process.stderr else ""
        said = ""
        while "Signed in" not in said:
            said += lines.get(timeout=10)
    return page, said
