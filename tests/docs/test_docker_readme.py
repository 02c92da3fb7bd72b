"""The commands of docker/README.md. No engine is needed here: so what an engine would do is held against the files it would read.

Run as they stand: what makes the shared password. Run without the container around it: every `pgbastion ...` that is run inside
one, in order, against a real gateway and a real PostgreSQL. Read: `docker build`, `run`, `cp` and `compose`, whose files, images,
containers, services, ports, paths and settings must be those of the recipe and the compose file.
"""

import argparse
import os
import re
import shlex
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.settings import Settings, load
from tests.docs.site import places, prepare
from tests.docs.test_commands import Command, Site
from tests.support.upstream import Database, Upstream

ROOT = Path(__file__).parents[2]
README = (ROOT / "docker" / "README.md").read_text()
RECIPE = (ROOT / "docker" / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
INSIDE = ("docker compose -f docker/compose.yaml exec gateway ", "docker exec -it pgbastion ")
SECRET = re.compile(r"^(install|openssl|chmod) ")


def commands() -> list[str]:
    """Of the indented blocks; a line that ends in a backslash goes on."""
    lines = re.findall(r"^    (\S(?:.*\\\n)*.*)$", README, re.MULTILINE)
    return [re.sub(r"\s*\\\n\s*", " ", line) for line in lines]


def engine_commands() -> list[list[str]]:
    return [shlex.split(command) for command in commands() if command.startswith("docker ") and not command.startswith(INSIDE)]


def test_every_command_is_looked_at() -> None:
    for command in commands():
        assert command.startswith("docker ") or SECRET.match(command), command
    kinds = {" ".join(words[1:2]) for words in engine_commands()}
    assert kinds == {"build", "compose", "run", "cp"}, "look at the new one, too"


def test_the_shared_password_is_made_as_it_says(tmp_path: Path) -> None:
    for command in commands():
        if SECRET.match(command):
            if shutil.which(shlex.split(command)[0]) is None:
                pytest.skip(f"{command.split()[0]} is not installed")
            subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)
    (secret,) = COMPOSE["secrets"].values()
    made = tmp_path / "docker" / secret["file"]
    assert len(made.read_text().strip()) == 64
    assert stat.S_IMODE(made.stat().st_mode) == 0o444
    assert stat.S_IMODE(made.parent.stat().st_mode) == 0o700


@pytest.fixture
def site(tmp_path: Path, postgres: Upstream, database: Database) -> Iterator[Site]:
    api_port = prepare(tmp_path, postgres, database)
    made = Site(tmp_path, places(tmp_path, postgres, database, api_port))
    made.places["--host db.example.com"] = f"{made.places.pop('--host db.internal')} --ca-file db-ca.pem"
    made.places["--ca-file db-ca.pem"] = made.places.pop("--ca-file db-ca.pem", "--ca-file db-ca.pem")  # last
    try:
        yield made
    finally:
        made.stop()


def test_what_is_run_inside_works_in_this_order(site: Site) -> None:
    """A password is asked for on the terminal there; here it is in a file. The first start is the test's own."""
    site.serve("pgbastion serve --config /etc/pgbastion/pgbastion.toml")
    site.run(Command("export PGBASTION_CONFIG=/etc/pgbastion/pgbastion.toml", 0, ""))
    found = [command.removeprefix(inside) for command in commands() for inside in INSIDE if command.startswith(inside)]
    found = [command for command in found if command.startswith("pgbastion ") and "..." not in command]
    assert len(found) >= 7
    for command in found:
        asks = re.match(r"pgbastion targets login\b", command)
        done = site.run(Command(f"{command} --password-file app_ro.password" if asks else command, 0, ""))
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


# --- what only an engine runs


def options(words: list[str], *known: tuple[str, ...]) -> argparse.Namespace:
    """An option that is not among these is looked at first."""
    parser = argparse.ArgumentParser(exit_on_error=False, allow_abbrev=False)
    for names in known:
        parser.add_argument(*names, action="append", default=[])
    parser.add_argument("rest", nargs="*")
    return parser.parse_args(words)


def test_the_image_that_is_built_is_the_one_that_is_run() -> None:
    (build,) = [words[2:] for words in engine_commands() if words[1] == "build"]
    given = options(build, ("-t",), ("-f",))
    assert given.t == [COMPOSE["services"]["gateway"]["image"]]
    assert (ROOT / given.f[0]).read_text() == RECIPE
    assert given.rest == ["."]
    context = COMPOSE["services"]["gateway"]["build"]
    assert (ROOT / "docker" / context["context"]).resolve() == ROOT
    assert (ROOT / context["dockerfile"]).read_text() == RECIPE
    for name in re.findall(r"--build-arg (\w+)", README):
        assert f"ARG {name}=" in RECIPE


def test_compose_is_asked_for_services_that_are_there() -> None:
    asked = [words for words in engine_commands() if words[1] == "compose"]
    assert {words[4] for words in asked} == {"up", "logs"}
    for words in asked:
        assert words[2] == "-f"
        assert yaml.safe_load((ROOT / words[3]).read_text()) == COMPOSE
        assert not {word for word in words[5:] if not word.startswith("-")} - set(COMPOSE["services"])
        assert {word for word in words[5:] if word.startswith("-")} <= {"--detach", "--build", "--wait"}
    for service in re.findall(r"compose\.yaml exec (\w+)", README):
        assert service in COMPOSE["services"]


def test_one_container_is_run_with_what_the_recipe_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run,) = [words[2:] for words in engine_commands() if words[1] == "run"]
    run = [word for word in run if word != "--read-only"]
    names = ("--name", "--tmpfs", "--cap-drop", "--security-opt", "--stop-timeout", "-p", "-v", "-e")
    given = options(run, *((name,) for name in names))
    assert given.rest == [COMPOSE["services"]["gateway"]["image"]]
    assert (given.cap_drop, given.security_opt) == (["ALL"], ["no-new-privileges"])
    exposed = re.search(r"^EXPOSE (.*)$", RECIPE, re.MULTILINE)
    assert exposed is not None
    assert {each.split(":")[1] for each in given.p} <= set(exposed[1].split())
    settings = default_settings(tmp_path, monkeypatch, dict(each.split("=", 1) for each in given.e))
    assert [each.split(":")[1] for each in given.v] == [str(settings.state_dir)]
    assert settings.tls.names == ["gateway.example.com"]
    assert int(given.stop_timeout[0]) >= settings.listen.drain_seconds + 10
    (copied,) = [words[2:] for words in engine_commands() if words[1] == "cp"]
    assert copied[0] == f"{given.name[0]}:{settings.tls_dir / 'ca.pem'}"
    assert all(
        re.match(rf"docker exec -it {given.name[0]} pgbastion", each) for each in re.findall(r"docker exec [^`]*", README)
    )


def default_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> Settings:
    for name in os.environ:
        if name.startswith("PGBASTION_"):
            monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    copied = tmp_path / "pgbastion.toml"
    copied.write_text((ROOT / "configs" / "pgbastion.toml").read_text())
    return load(copied)


def test_every_variable_is_a_setting() -> None:
    """Wherever one is named below docker/."""
    for path in sorted((ROOT / "docker").glob("[A-Za-z]*")):
        if path.is_file():
            for section, name in re.findall(r"PGBASTION_([A-Z]+(?:_[A-Z]+)*)__([A-Z]+(?:_[A-Z]+)*)", path.read_text()):
                part = Settings.model_fields[section.lower()].annotation
                assert part is not None
                assert name.lower() in part.model_fields, f"{path.name}: {section}.{name}"
    for value in re.findall(r"PGBASTION_[A-Z_]+__HOST=(\S+?)[`\s]", README):
        assert value == "0.0.0.0"


def test_the_recipe_runs_programs_that_there_are() -> None:
    for instruction in ("ENTRYPOINT", "HEALTHCHECK"):
        found = re.search(rf"^{instruction}.*?\[(.*)\]", RECIPE, re.MULTILINE)
        assert found is not None
        assert '"pgbastion"' in found[1].split(", ")[0]
    assert re.search(r'^pgbastion = "gateway\.cli\.main:run"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    health = COMPOSE["services"]["gateway"]["healthcheck"]["test"]
    assert " ".join(health[1:]) == "pgbastion sessions list --json"
    assert 'CMD ["pgbastion", "sessions", "list", "--json"]' in RECIPE
