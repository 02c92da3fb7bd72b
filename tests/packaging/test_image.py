"""W33: the image. Its recipe is read always; it is built and run where PGBASTION_TEST_IMAGE asks for that.

PGBASTION_TEST_IMAGE=NAME builds on that base image by buildah, without an engine; =debootstrap makes a Debian base first (root).
PGBASTION_TEST_IMAGE_VOLUMES=HOST:CONTAINER:ro,... is what the build needs to see of this machine, say a pip.conf.
"""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import settings

ROOT = Path(__file__).parents[2]
RECIPE = (ROOT / "docker" / "Dockerfile").read_text()
WANTED = os.environ.get("PGBASTION_TEST_IMAGE", "")
IMAGE = "localhost/pgbastion:test"
MAX_ADDED_MB = 300  # what we put on top of the base
built_only = pytest.mark.skipif(not WANTED, reason="PGBASTION_TEST_IMAGE is not set")


def instructions(name: str) -> list[str]:
    lines = RECIPE.replace("\\\n", " ").splitlines()
    return [line.split(None, 1)[1] for line in lines if line.startswith(f"{name} ")]


def test_it_runs_as_nobody_and_holds_no_secret() -> None:
    assert instructions("USER") == ["10001:10001"]
    assert "0700 /var/lib/pgbastion" in RECIPE
    assert not re.search(r"(?i)^(ARG|ENV).*(password|secret|token|debug)", RECIPE, re.MULTILINE)
    assert "--require-hashes" in RECIPE
    assert not re.search(r"\b(curl|wget|ADD|sudo|chmod 777)\b", RECIPE)


def test_its_ports_and_paths_are_the_settings_defaults() -> None:
    assert instructions("EXPOSE") == [f"{settings.Listen().port} {settings.AdminApi().port}"]
    (volume,) = instructions("VOLUME")
    assert f'state_dir = "{volume}"' in (ROOT / "configs" / "pgbastion.toml").read_text()


def test_what_it_copies_is_there_and_let_through() -> None:
    let_through = (ROOT / ".dockerignore").read_text().splitlines()
    for copied in instructions("COPY"):
        if not copied.startswith("--from"):
            for source in copied.split()[:-1]:
                assert (ROOT / source).exists()
                assert f"!{source}" in let_through


def run(*command: "str | Path", seconds: float = 600) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def buildah(*arguments: "str | Path", seconds: float = 600) -> str:
    assert shutil.which("buildah"), "buildah is not installed"
    return run("buildah", *arguments, seconds=seconds).strip()


def debian(directory: Path) -> str:
    """A small Debian with Python, as an image."""
    packages = "python3,python3-venv,python-is-python3,ca-certificates"
    run("debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", directory / "base")
    container = buildah("from", "scratch")
    buildah("add", "--quiet", container, f"{directory / 'base'}/", "/")
    buildah("config", "--env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", container)
    buildah("commit", "--quiet", "--rm", container, "localhost/pgbastion-test-base")
    return "localhost/pgbastion-test-base"


def megabytes(image: str) -> float:
    (shown,) = {each["size"] for each in json.loads(buildah("images", "--json", image))}
    number, unit = shown.split()
    return float(number) * {"KB": 0.001, "MB": 1, "GB": 1000}[unit]


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A container of the image, freshly built."""
    base = debian(tmp_path_factory.mktemp("debian")) if WANTED == "debootstrap" else WANTED
    volumes = [f"--volume={each}" for each in os.environ.get("PGBASTION_TEST_IMAGE_VOLUMES", "").split(",") if each]
    recipe = ["--format", "docker", "--file", ROOT / "docker" / "Dockerfile", "--build-arg", f"PYTHON={base}"]
    started = time.monotonic()
    buildah("build", "--isolation", "chroot", "--network", "host", *volumes, *recipe, "--tag", IMAGE, ROOT)
    took = time.monotonic() - started
    added = megabytes(IMAGE) - megabytes(base)
    print(f"\nimage built in {took:.0f} s: {megabytes(IMAGE):.0f} MB, {added:.0f} MB of it on top of the base")
    name = buildah("from", IMAGE)
    try:
        assert added < MAX_ADDED_MB
        yield name
    finally:
        buildah("rm", name)


def inside(container: str, *command: str, seconds: float = 60) -> str:
    return buildah("run", "--isolation", "chroot", "--network", "host", container, "--", *command, seconds=seconds)


@built_only
def test_what_is_in_it(container: str) -> None:
    """A user of its own, a program, no pip, no tests, nothing that this user may change but its state."""
    assert inside(container, "pgbastion", "--version").startswith("pgbastion ")
    assert inside(container, "id", "-u") == "10001"
    found = inside(container, "find", "/opt/pgbastion", "/etc/pgbastion", "-writable", "-not", "-type", "l")
    assert found == ""
    assert inside(container, "stat", "-c", "%a %u", "/var/lib/pgbastion") == "700 10001"
    listed = inside(container, "ls", "/opt/pgbastion/bin", "/opt/pgbastion/lib/")
    assert not re.search(r"^pip", listed, re.MULTILINE)
    config = json.loads(buildah("inspect", container))["Docker"]["config"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["pgbastion"]
    assert "Healthcheck" in config


@built_only
def test_it_serves_and_its_health_is_seen(container: str) -> None:
    """serve, the health check and doctor, as the image runs them; then SIGTERM ends it well."""
    started = time.monotonic()
    script = """
    export PGBASTION_LISTEN__PORT=0 PGBASTION_LISTEN__HOST=127.0.0.1 PGBASTION_ADMIN_API__PORT=0
    pgbastion serve >/tmp/serve.log 2>&1 &
    served=$!
    for _ in $(seq 300); do grep -q 'is ready on' /tmp/serve.log && break; sleep 0.1; done
    grep -q 'is ready on' /tmp/serve.log || { cat /tmp/serve.log; exit 1; }
    pgbastion sessions list --json || { echo unhealthy; exit 2; }
    pgbastion doctor; echo "doctor: $?"
    stat -c '%a' /var/lib/pgbastion/master.key /var/lib/pgbastion/store.sqlite3
    kill -TERM $served; wait $served; echo "ended: $?"
    """
    said = inside(container, "sh", "-c", script, seconds=120)
    print(f"\n{said}\nserved and stopped in {time.monotonic() - started:.1f} s")
    # Of a fresh installation doctor says one thing only: that nobody is let in yet.
    assert re.findall(r"^ (\S.*?) +problem ", said, re.MULTILINE) == ["allowlist", "grants"]
    assert "doctor: 1" in said
    assert said.splitlines()[-3:] == ["600", "600", "ended: 0"]
