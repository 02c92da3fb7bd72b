"""What people see on a real terminal: tables that fit, questions, colours, and nothing that a name could draw."""

import re
from importlib import import_module

import pytest
from typer.main import get_command

from gateway.cli import main
from tests.cli.terminal import Screen, Terminal
from tests.cli.world import World


def on_screen(world: World, *words: str, columns: int = 100) -> Screen:
    return Terminal(*words, environment={"PGBASTION_CONFIG": str(world.config)}, columns=columns).end()


def fits(screen: Screen, columns: int) -> bool:
    return all(len(line) <= columns for line in screen.lines)


@pytest.mark.parametrize("columns", [80, 140])
def test_tables_fit_the_terminal(local: World, columns: int) -> None:
    for name in ("ana", "a-person-with-a-rather-long-name@example.com"):
        local.run("users", "create", name, "--expires", "90d")
    local.run("targets", "create", "shop", "--host", "a-host-with-a-long-name.internal.example.com", "--dbname", "webshop")
    local.run("grants", "create", "--user", "ana", "--target", "shop", "--mode", "ro")
    for words in (
        ["users", "list"],
        ["users", "show", "ana"],
        ["targets", "list"],
        ["grants", "list"],
        ["doctor", "--skip-targets"],
    ):
        screen = on_screen(local, *words, columns=columns)
        assert fits(screen, columns), words
        assert "Traceback" not in screen.text


def test_what_a_grant_carries_is_whole_on_a_terminal_and_a_column_only_where_there_is_something(local: World) -> None:
    local.run("users", "create", "a-person-with-a-rather-long-name@example.com")
    local.run("groups", "create", "a-group-with-a-long-name")
    local.run("targets", "create", "shop", "--host", "h", "--dbname", "webshop")
    asked = ["grants", "create", "--target", "shop", "--expires", "8h", "--mode"]
    local.run(*asked, "ro", "--user", "a-person-with-a-rather-long-name@example.com")
    assert "carries" not in on_screen(local, "grants", "list").text
    carried = ["no-ddl", "report-only", "temporary-tables", "unfiltered-writes"]
    options = [word for option in carried for word in ("--option", option)]
    local.run(*asked, "rw", "--group", "a-group-with-a-long-name", *options, "--max-changed-rows", "1000")
    for words in (["grants", "list"], ["groups", "show", "a-group-with-a-long-name"], ["targets", "show", "shop"]):
        screen = on_screen(local, *words, columns=100)
        assert fits(screen, 100), words
        for each in ("carries", *carried, "at most 1000 rows"):
            assert each in screen.text, words
    assert ", ".join([*carried, "at most 1000 rows"]) in local.run("grants", "list").stdout


def test_help_fits_and_has_examples(local: World) -> None:
    pages = (["users"], ["users", "create"], ["grants", "create"], ["grants", "update"], ["apply"], ["doctor"])
    for words in (["--help"], *([*page, "--help"] for page in pages)):
        screen = on_screen(local, *words, columns=80)
        assert screen.status == 0
        assert fits(screen, 80), words
    assert "Examples" in on_screen(local, "grants", "create", "--help").text
    assert (
        "pgbastion grants create --user ana_diaz --target shop"
        in on_screen(local, "grants", "create", "--help", columns=120).text
    )


def test_labels_cannot_colour_the_terminal(local: World) -> None:
    local.run("allowlist", "create", "10.0.0.0/8", "--label", "[red]office[/red]")
    screen = on_screen(local, "allowlist", "list")
    assert "[red]office[/red]" in screen.text.replace("\n", "")


def test_apply_shows_the_difference_in_colours_and_asks(local: World) -> None:
    file = local.folder / "access.yaml"
    file.write_text("version: 1\nusers:\n- {name: ana, enabled: false}\ngroups:\n- {name: analysts, members: [ana]}\n")
    local.run("users", "create", "ana")
    for answer, status in (("n\r", 1), ("y\r", 0)):
        terminal = Terminal("apply", str(file), environment={"PGBASTION_CONFIG": str(local.config)})
        terminal.wait_for("[y/N]")
        terminal.type(answer)
        screen = terminal.end()
        assert screen.status == status, screen.text
        assert re.search(r"\x1b\[33m~ user ana", screen.raw)
        assert re.search(r"\x1b\[32m\+ group analysts", screen.raw)
        assert "enabled: yes -> no" in screen.text
        assert local.json("users", "show", "ana")["enabled"] is (status == 1)


def test_what_changed_between_the_question_and_the_answer_is_not_lost(local: World) -> None:
    file = local.folder / "access.yaml"
    file.write_text("version: 1\nusers:\n- {name: ana, enabled: false}\n")
    local.run("users", "create", "ana")
    terminal = Terminal("apply", str(file), environment={"PGBASTION_CONFIG": str(local.config)})
    terminal.wait_for("[y/N]")
    local.run("users", "update", "ana", "--expires", "1h")
    terminal.type("y\r")
    screen = terminal.end()
    assert screen.status == 1
    assert "changed meanwhile" in screen.text
    assert local.json("users", "show", "ana")["enabled"] is True


@pytest.mark.parametrize("words", [["lockdown", "on"], ["sessions", "terminate", "--all"]])
def test_the_kill_switch_asks(local: World, words: list[str]) -> None:
    terminal = Terminal(*words, environment={"PGBASTION_CONFIG": str(local.config)})
    terminal.wait_for("[y/N]")
    terminal.type("\r")
    screen = terminal.end()
    assert screen.status == 1
    assert "nothing was done" in screen.text
    assert local.json("lockdown", "status")["active"] is False


def test_a_backup_moves_a_bar_and_leaves_none(local: World) -> None:
    local.run("users", "create", "ana")
    screen = on_screen(local, "backup", str(local.folder / "b.sqlite3"))
    assert screen.status == 0
    assert "Backed up to" in screen.text.replace("\n", "")


def test_every_command_has_a_sentence_and_an_example(local: World) -> None:
    for name in list(main.GROUPS) + list(main.COMMANDS):
        found = get_command(import_module(f"gateway.cli.{name}").app)
        for command in getattr(found, "commands", {name: found}).values():
            assert command.help, (name, command.name)
            assert "Examples" in (command.epilog or ""), (name, command.name)
            assert "pgbastion" in (command.epilog or ""), (name, command.name)
