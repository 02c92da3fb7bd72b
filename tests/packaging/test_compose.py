"""W33: the compose file starts nothing with more rights than it needs, no password stands in it, and its settings are ours."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.access.model import TlsMode
from gateway.settings import load
from gateway.store.places import PostgresPlace, locate

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker" / "compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


@pytest.fixture(params=sorted(SERVICES))
def service(request: pytest.FixtureRequest) -> dict[str, Any]:
    return SERVICES[request.param]


def test_a_service_has_no_rights_that_it_does_not_need(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pids_limit"] > 0
    for key in ("privileged", "network_mode", "pid", "ipc", "devices", "userns_mode"):
        assert key not in service
    for mount in service["tmpfs"]:
        assert {"noexec", "nosuid", "nodev"} <= set(mount.split(":")[1].split(","))
    for volume in service["volumes"]:
        assert volume.split(":")[0] in COMPOSE["volumes"], "a named volume, not a folder of the host"


def test_a_service_is_watched_and_ends_in_good_order(service: dict[str, Any]) -> None:
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["restart"] == "unless-stopped"
    assert int(service["stop_grace_period"].removesuffix("s")) > 31  # listen.drain_seconds, and one more


def test_no_password_stands_in_it(service: dict[str, Any]) -> None:
    for name, value in service["environment"].items():
        if any(word in name for word in ("PASSWORD", "SECRET", "TOKEN", "KEY")):
            assert name.endswith("_FILE"), name
            assert value.startswith("/run/secrets/")
            assert value.removeprefix("/run/secrets/") in service["secrets"]
    assert all(set(secret) == {"file"} for secret in COMPOSE["secrets"].values())
    assert "env_file" not in service


def test_the_secrets_are_not_in_the_repository_or_the_image() -> None:
    for secret in COMPOSE["secrets"].values():
        path = Path(secret["file"])
        assert path.parent == Path("secrets")
        assert f"{path.parent}/" in (ROOT / "docker" / ".gitignore").read_text().splitlines()
    assert (ROOT / ".dockerignore").read_text().splitlines()[0] == "*"
    assert not [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!docker")]


def test_the_store_is_reached_by_the_gateway_only() -> None:
    assert COMPOSE["networks"]["store"] == {"internal": True}
    assert SERVICES["store"]["networks"] == ["store"]
    assert "ports" not in SERVICES["store"]
    assert SERVICES["store"]["user"] != "root"
    assert SERVICES["gateway"]["ports"] == ["6432:6432"], "the admin API is not published"
    assert SERVICES["gateway"]["depends_on"]["store"]["condition"] == "service_healthy"
    authentication = SERVICES["store"]["environment"]["POSTGRES_INITDB_ARGS"]
    assert "--auth-host=scram-sha-256 --auth-local=scram-sha-256" in authentication


def test_the_gateways_variables_are_its_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Loaded as the image loads them; an unknown or a wrong one would be refused."""
    for name in os.environ:
        if name.startswith("PGBASTION_"):
            monkeypatch.delenv(name)
    for name, value in SERVICES["gateway"]["environment"].items():
        monkeypatch.setenv(name, value)
    settings = load(ROOT / "configs" / "pgbastion.toml")
    place = locate(settings)
    assert isinstance(place, PostgresPlace)
    assert (place.host, place.tls) == ("store", TlsMode.DISABLE)
    assert place.user == SERVICES["store"]["environment"]["POSTGRES_USER"]
    assert place.database == SERVICES["store"]["environment"]["POSTGRES_DB"]
    assert f"{settings.state_dir}" == SERVICES["gateway"]["volumes"][0].split(":")[1]


def _client() -> list[str] | None:
    """A compose that can read the file without an engine."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and subprocess.run([*command, "version"], capture_output=True, check=False).returncode == 0:
            return command
    return None


def test_compose_itself_takes_it(tmp_path: Path) -> None:
    """Where there is a compose. Without one, at least every name that is used is defined."""
    used = {name for service in SERVICES.values() for name in service["networks"]}
    assert used == set(COMPOSE["networks"])
    assert {name for service in SERVICES.values() for name in service["secrets"]} == set(COMPOSE["secrets"])
    command = _client()
    if command is None:
        return
    text = FILE.read_text()
    if command == ["docker-compose"]:  # its first version does not know projects' names
        text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("name:"))
    copy = tmp_path / "docker" / "compose.yaml"
    (tmp_path / "docker" / "secrets").mkdir(parents=True)
    (tmp_path / "docker" / "secrets" / "store-password").write_text("only for this test\n")
    copy.write_text(text)
    done = subprocess.run([*command, "--file", copy, "config", "--quiet"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
