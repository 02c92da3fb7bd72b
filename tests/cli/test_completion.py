"""Shell completion: in a real bash, and by the protocol of the others. Names come from the store, and nothing ever fails."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.terminal import PROGRAM
from tests.cli.world import World


@pytest.fixture
def filled(local: World) -> World:
    for name in ("ana", "anton", "ben"):
        local.run("users", "create", name)
    local.run("groups", "create", "analysts")
    local.run("targets", "create", "shop", "--host", "h", "--dbname", "d")
    return local


def environment(world: World) -> dict[str, str]:
    return {**os.environ, "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}", "PGBASTION_CONFIG": str(world.config)}


def completed(world: World, line: str) -> list[str]:
    """What bash would offer behind this line."""
    words = line.split(" ")
    script = f"""
        source <("{PROGRAM}" completion bash)
        COMP_WORDS=({" ".join(f"'{word}'" for word in words)}); COMP_CWORD={len(words) - 1}
        _pgbastion_completion "pgbastion"
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", script], env=environment(world), capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash(filled: World) -> None:
    assert completed(filled, "pgbastion gr") == ["groups", "grants"]
    assert {"create", "list", "show", "passwd"} <= set(completed(filled, "pgbastion users "))
    assert completed(filled, "pgbastion users disable an") == ["ana", "anton"]
    assert completed(filled, "pgbastion grants create --user b") == ["ben"]
    assert completed(filled, "pgbastion grants create --group a") == ["analysts"]
    assert completed(filled, "pgbastion targets show s") == ["shop"]
    assert completed(filled, "pgbastion grants create --mode read_w") == ["read_write"]
    assert completed(filled, "pgbastion grants create --option no") == ["no-ddl"]
    assert completed(filled, "pgbastion grants update x --option no-ddl --option unf") == ["unfiltered-writes"]
    assert {"--option", "--no-options"} <= set(completed(filled, "pgbastion grants update x --"))
    assert "--expires" in completed(filled, "pgbastion users create ana --exp")
    assert completed(filled, f"pgbastion --config {filled.config} targets show s") == ["shop"]


def test_other_shells_speak_the_same_protocol(filled: World) -> None:
    for shell, variables in (
        ("zsh", {"_TYPER_COMPLETE_ARGS": "pgbastion users disable an"}),
        ("fish", {"_TYPER_COMPLETE_ARGS": "pgbastion users disable an", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
    ):
        done = subprocess.run(
            [PROGRAM],
            env={**environment(filled), **variables, "_PGBASTION_COMPLETE": f"complete_{shell}"},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert "anton" in done.stdout
        assert "ben" not in done.stdout


def test_scripts_name_the_program(local: World) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "_PGBASTION_COMPLETE" in local.run("completion", shell).stdout
    local.run("completion", "tcsh", status=2)


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_nothing_is_offered_and_nothing_is_made_without_a_store(local: World, tmp_path: Path) -> None:
    assert completed(local, "pgbastion users show a") == []
    assert not local.state.exists()
    local.config.write_text("nonsense")
    assert completed(local, "pgbastion users show a") == []


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_names_come_over_the_network_too(remote: World) -> None:
    remote.run("users", "create", "ana")
    url, file = remote.options[1], remote.options[3]
    assert completed(remote, f"pgbastion --url {url} --token-file {file} users show a") == ["ana"]
