"""Database users as a hosted panel's command line has them, prompt by prompt, under the rules that a gateway has by default."""

import re
from pathlib import Path

import pytest

from tests.cli.terminal import Screen, Terminal
from tests.cli.world import World

PROMPT = "Password (Will be generated if left empty): "
AGAIN = "Password Confirmation: "
CHOSEN = "a chosen one with 30 letters .."


@pytest.fixture
def panel(tmp_path: Path, plain_environment: None) -> World:
    """The default rules for names and passwords."""
    (tmp_path / "pgbastion.toml").write_text('state_dir = "state"\n')
    return World(tmp_path)


def typed(panel: World, *words: str, answers: tuple[tuple[str, str], ...] = (), columns: int = 100) -> Screen:
    """`answers`: what is asked, and what is typed then."""
    terminal = Terminal(*words, environment={"PGBASTION_CONFIG": str(panel.config)}, columns=columns)
    for number, (question, answer) in enumerate(answers):
        terminal.wait_for(question, count=sum(1 for earlier, _ in answers[: number + 1] if earlier == question))
        terminal.type(f"{answer}\r")
    return terminal.end()


def test_create_with_a_generated_password(panel: World) -> None:
    screen = typed(panel, "users", "create", "my_user", "--read-only", answers=((PROMPT, ""),))
    assert screen.status == 0
    found = re.search(r'User "my_user" created with password "([^"]{64})"\.', screen.text.replace("\n", ""))
    assert found, screen.text
    (user,) = panel.json("users", "list")
    assert (user["name"], user["read_only"], user["protected"]) == ("my_user", True, False)
    assert found[1] not in panel.run("users", "list").stdout


def test_create_with_a_chosen_password(panel: World) -> None:
    screen = typed(panel, "users", "create", "my_user", answers=((PROMPT, CHOSEN), (AGAIN, CHOSEN)))
    assert 'User "my_user" created.' in screen.lines
    assert CHOSEN not in screen.raw


def test_three_tries(panel: World) -> None:
    wrong = ((PROMPT, CHOSEN), (AGAIN, "something else"))
    screen = typed(panel, "users", "create", "my_user", answers=wrong * 3)
    assert screen.status == 1
    assert "nothing was done" in screen.text
    right = typed(panel, "users", "create", "my_user", answers=(*wrong, (PROMPT, CHOSEN), (AGAIN, CHOSEN)))
    assert 'User "my_user" created.' in right.lines


def test_answers_that_refuse(panel: World) -> None:
    panel.run("users", "create", "my_user")
    panel.run("users", "create", "standard_user", "--protected")
    for words, given, answer in (
        (["users", "create", "my_user"], "", 'User "my_user" already exists'),
        (["users", "create", "short"], "", "Name must contain between 6 and 32 characters"),
        (["users", "create", "a" * 33], "", "Name must contain between 6 and 32 characters"),
        (["users", "create", "1_user"], "", "Name must start with a letter and contain only A-Z a-z 0-9 _"),
        (["users", "create", "other_user", "--password-stdin"], "short", "Password must contain between 24 and 64 characters"),
        (["users", "create", "other_user", "--password-stdin"], "'" * 30, "Password must not contain \" or '"),
        (["users", "update-password", "standard_user"], "", 'User "standard_user" is protected'),
        (["users", "delete", "standard_user", "--yes"], "", 'User "standard_user" is protected'),
        (["users", "delete", "my_user"], "", "no terminal to ask on"),
    ):
        assert answer in panel.error(*words, given=given), words
    assert sorted(user["name"] for user in panel.json("users", "list")) == ["my_user", "standard_user"]


def test_the_list_has_its_columns(panel: World) -> None:
    panel.run("users", "create", "my_user", "--read-only")
    panel.run("groups", "create", "analysts")
    panel.run("users", "create", "standard_user", "--protected", "--group", "analysts")
    heading, _, first, second = (
        re.split(r"\s{2,}", line.strip()) for line in panel.run("users", "list").stdout.splitlines() if line.strip()
    )
    assert heading[:8] == [
        "USERNAME", "READ-ONLY", "PROTECTED", "PASSWORD ENCRYPTION", "last login", "sessions", "expires", "groups",
    ]  # fmt: skip
    assert first[:8] == ["my_user", "yes", "no", "SCRAM-SHA-256", "-", "-", "-", "-"]
    assert second[:8] == ["standard_user", "no", "yes", "SCRAM-SHA-256", "-", "-", "-", "analysts"]


def test_update_a_password_and_delete(panel: World) -> None:
    panel.run("users", "create", "my_user")
    made = typed(panel, "users", "update-password", "my_user", answers=((PROMPT, ""),))
    assert re.search(r'Password of user "my_user" updated with password "[^"]{64}"\.', made.text.replace("\n", ""))
    chosen = panel.run("users", "update-password", "my_user", "--password-stdin", given=f"{CHOSEN}\n")
    assert chosen.stdout == 'Password of user "my_user" updated.\n'
    kept = typed(panel, "users", "delete", "my_user", answers=(("[y/N]", "n"),))
    assert kept.status == 1
    assert "nothing was done" in kept.text
    gone = typed(panel, "users", "delete", "my_user", answers=(("[y/N]", "y"),))
    assert 'User "my_user" deleted.' in gone.text
    assert panel.json("users", "list") == []


def test_protect_unprotect_and_the_other_facts(panel: World) -> None:
    panel.run("users", "create", "nightly_etl", "--machine", "--email", "etl@example.com")
    assert panel.run("users", "update", "nightly_etl", "--protected").stdout == 'User "nightly_etl" updated: protected yes.\n'
    assert "is protected" in panel.error("users", "delete", "nightly_etl", "--yes")
    panel.run("users", "update", "nightly_etl", "--no-protected", "--read-only", "--kind", "person", "--email", "")
    user = panel.json("users", "show", "nightly_etl")
    assert (user["protected"], user["read_only"], user["kind"], user["email"]) == (False, True, "person", None)
    panel.run("users", "update", "nightly_etl", status=2)
    panel.run("users", "delete", "nightly_etl", "--yes")
