"""All of the gateway under one supervisor, or its parts each under one of their own; and the first key to the admin API."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.gateway import processes

SERVE = (
    "import sys; from pathlib import Path; from gateway.serve import Part, run;"
    " sys.exit(run(Path(sys.argv[1]), Part(sys.argv[2]) if len(sys.argv) > 2 else None))"
)
Start = Callable[..., "subprocess.Popen[str]"]
PATIENCE_SECONDS = 60


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []
    config = tmp_path / "pgbastion.toml"
    config.write_text('state_dir = "state"\n[listen]\nport = 0\ndrain_seconds = 1\n[admin_api]\nport = 0\n')

    def _start(*part: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", SERVE, config, *part]
        log = (tmp_path / "log").open("a")
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True))
        return started[-1]

    yield _start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def said(process: "subprocess.Popen[str]", last: str) -> str:
    """What it prints up to the line that holds `last`."""
    assert process.stdout is not None
    found = ""
    for line in process.stdout:
        found += line
        if last in line:
            return found
    raise AssertionError(f"it ended, and said: {found}")


def url_in(text: str) -> str:
    found = re.search(r"admin API is at (\S+)", text)
    assert found is not None
    return found[1]


def end(*ending: "subprocess.Popen[str]") -> None:
    for process in ending:
        process.terminate()
    for process in ending:
        assert process.wait(PATIENCE_SECONDS) == 0


def get(url: str, token: str = "") -> httpx.Response:
    return httpx.get(url, headers={"Authorization": f"Bearer {token}"} if token else {}, timeout=PATIENCE_SECONDS)


def test_the_first_token_is_shown_once_and_opens_the_api(start: Start) -> None:
    first = start()
    text = said(first, "admin API is at")
    assert "pgbastion is ready on 127.0.0.1:" in text
    found = re.search(r"shown this once: (\S+)", text)
    assert found is not None
    token, url = found[1], url_in(text)
    assert f"--url {url}" in text
    assert get(f"{url}/v1/whoami", token).json()["scope"] == "admin"
    assert get(f"{url}/v1/sessions", token).json()["items"] == []
    assert get(f"{url}/v1/whoami").status_code == 401
    end(first)
    second = start()
    text = said(second, "admin API is at")
    assert "once" not in text
    assert token not in text
    end(second)


def test_a_killed_api_is_back_and_a_rolling_restart_replaces_it_too(start: Start, tmp_path: Path) -> None:
    process = start()
    url = url_in(said(process, "admin API is at"))
    first = dict(processes(tmp_path / "state"))["api"]
    os.kill(first, signal.SIGKILL)
    killed_at = time.monotonic()
    assert get(f"{url}/healthz").status_code == 200  # it waited in the queue
    print(f"the API is back after {time.monotonic() - killed_at:.2f} s")
    second = dict(processes(tmp_path / "state"))["api"]
    assert second != first
    process.send_signal(signal.SIGUSR2)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while second in [pid for _, pid in processes(tmp_path / "state")]:
        assert get(f"{url}/healthz").status_code == 200
        assert time.monotonic() < deadline
    end(process)


def test_each_part_alone_and_not_twice(start: Start, tmp_path: Path) -> None:
    api = start("api")  # also before the gateway's own part, which then finds key and schema made
    text = said(api, "admin API is at")
    assert "shown this once" in text
    found = re.search(r"shown this once: (\S+)", text)
    assert found is not None
    url = url_in(text)
    gateway = start("gateway")
    assert "shown this once" not in said(gateway, "pgbastion is ready on")
    assert [name for name, _ in processes(tmp_path / "state")] == ["worker:0"]
    assert get(f"{url}/v1/sessions", found[1]).json()["items"] == []
    again = start("api")
    assert again.wait(PATIENCE_SECONDS) == 1
    assert "another gateway is running with the state directory" in (tmp_path / "log").read_text()
    end(gateway)
    assert get(f"{url}/healthz").status_code == 200
    assert get(f"{url}/v1/sessions", found[1]).status_code == 503
    end(api)
