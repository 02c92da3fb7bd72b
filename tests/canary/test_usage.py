"""Every command, given a secret where it takes none: what it says about that does not repeat it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli.main import COMMANDS, GROUPS, _load
from tests.canary.canaries import Canaries
from tests.canary.commands import Done, run_apart, run_here
from tests.canary.scanner import Figures, Place, Scanner
from tests.support.short_names import SHORT_NAMES_TOML


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    config = tmp_path / "pgbastion.toml"
    config.write_text(f'state_dir = "state"\n[admin_api]\nport = 0\n{SHORT_NAMES_TOML}')
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config"), "PGBASTION_NO_KEYRING": "1"}
    return {**home, "PGBASTION_CONFIG": str(config), "COLUMNS": "200", "NO_COLOR": "1"}


@pytest.fixture
def scanner(figures: Figures) -> Scanner:
    return Scanner(Canaries(), figures)


def commands() -> Iterator[list[str]]:
    for name in {**GROUPS, **COMMANDS}:
        inside = getattr(_load(name), "commands", None)
        for each in inside or [None]:
            yield [name, each] if each else [name]


def look(scanner: Scanner, done: Done) -> None:
    leaks = scanner.look([Place("command output", done.words[:80], done.said.encode())])
    assert not leaks, (done.words, leaks)
    assert "Traceback" not in done.stderr, (done.words, done.stderr[-500:])


def test_arguments_that_no_command_takes(scanner: Scanner, environment: dict[str, str], tmp_path: Path) -> None:
    secret = scanner.canaries.make_plain("argument")
    count = 0
    tries = (
        [*["x"] * 6, secret, secret],
        ["x", f"--password={secret}"],
        ["--password-file", secret],
        ["--token-file", secret],
    )
    for words in commands():
        if words in (["serve"], ["connect"], ["tunnel"], ["completion"]):
            continue
        for more in tries:
            if words[0] in ("audit", "policy", "sessions") and len(more) > 2:
                continue  # they take texts
            done = run_here([*words, *more], environment)
            assert done.status != 0, done.words
            look(scanner, done)
            count += 1
    for more in (["x", "--password", secret], [f"--password-stdin={secret}"], ["--password-file", f"{tmp_path}/{secret * 10}"]):
        look(scanner, run_here(["users", "create", *more], environment))
    assert count > 250


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://ana:{}@127.0.0.1:1/shop",
        "postgresql://ana:a/{}@127.0.0.1:1/shop",
        "postgresql://ana:{}/a@127.0.0.1:1/shop",
        "postgresql://ana:[{}@127.0.0.1:1/shop",
        "postgresql://ana:{}\u2100@127.0.0.1:1/shop",
        "postgresql://ana:{}#a@127.0.0.1:1/shop",
        "postgresql://ana:?{}@127.0.0.1:1/shop",
        "postgresql://ana@127.0.0.1:1/shop?password={}&sslmode=nonsense",
        "postgresql://ana@127.0.0.1:1/shop?passwort={}",
        "postgresql://ana@127.0.0.1:{}/shop",
        "host=127.0.0.1 password={}",
        "{}",
    ],
)
def test_connection_strings_of_ones_own(scanner: Scanner, environment: dict[str, str], uri: str) -> None:
    secret = scanner.canaries.make_plain("a person's")
    new = scanner.canaries.make_plain("a person's")
    done = run_here(["passwd", uri.replace("{}", secret), "--password-stdin"], environment, f"{new}\n")
    assert done.status in (1, 2)
    look(scanner, done)


@pytest.mark.parametrize("where", ["https://u:{}@127.0.0.1:1", "https://127.0.0.1:1/?token={}", "ftp://{}"])
def test_urls_of_the_api(scanner: Scanner, environment: dict[str, str], where: str) -> None:
    secret = scanner.canaries.make_plain("API token")
    token = scanner.canaries.make_plain("API token")
    for variables in ({"PGBASTION_TOKEN": token}, {"PGBASTION_TOKEN_FILE": token}, {"PGBASTION_TOKEN": f"{token} {token}"}):
        done = run_here(["users", "list", "--url", where.replace("{}", secret)], {**environment, **variables})
        assert done.status in (1, 2)
        if "/?token=" not in where:  # where it was sent to is said
            look(scanner, done)


def test_places_of_targets(scanner: Scanner, environment: dict[str, str], tmp_path: Path) -> None:
    """A whole connection string in the place of one of its parts; a private key among the certificates."""
    secret = scanner.canaries.make_plain("target's password")
    for place in (
        ["--host", f"postgresql://u:{secret}@h/d", "--dbname", "d"],
        ["--host", f"u:{secret}@h", "--dbname", "d"],
        ["--host", f"h password={secret}", "--dbname", "d"],
        ["--host", "h", "--dbname", f"postgresql://u:{secret}@h/d"],
        ["--host", "h", "--dbname", f"dbname=d password={secret}"],
    ):
        done = run_here(["targets", "create", "shop", *place], environment)
        assert done.status == 1, done
        look(scanner, done)
    (tmp_path / "ca.pem").write_text(f"-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n")
    done = run_here(
        ["targets", "create", "shop", "--host", "h", "--dbname", "d", "--ca-file", str(tmp_path / "ca.pem")], environment
    )
    assert done.status == 1
    look(scanner, done)
    for words in (["targets", "list", "--json"], ["export"], ["audit", "search", "--json"]):
        look(scanner, run_here(words, environment))


@pytest.mark.parametrize(
    "text",
    [
        'state_dir = "state"\n[store]\npassword = "{}"\n',
        'state_dir = "state"\n[store]\nurl = "postgresql://u:{}@h/d"\n',
        'state_dir = "state"\n[store]\nurl = "{}"\n',
        'state_dir = "state"\n[store]\npassword_file = ["{}"]\n',
        'state_dir = "state"\n[oidc]\nclient_secret = "{}"\n',
        'state_dir = "state"\n[oidc]\nissuer = "https://u:{}@h?x"\n',
        'state_dir = "state"\n[listen]\nport = "{}"\n',
        'state_dir = "state"\n[listen]\nport = {}\n',
        'state_dir = "state"\nlisten = "{}"\n',
        'state_dir = "state"\n[store]\nurl = "{}\n',
    ],
)
def test_settings_that_are_wrong(scanner: Scanner, environment: dict[str, str], text: str) -> None:
    secret = scanner.canaries.make_plain("in the settings")
    Path(environment["PGBASTION_CONFIG"]).write_text(text.replace("{}", secret))
    for words in (["doctor"], ["doctor", "--json"], ["users", "list"], *([["serve"]] if "oidc" in text else [])):
        done = (run_apart if words == ["serve"] else run_here)(words, environment)
        assert done.status == 1, done
        look(scanner, done)


def test_settings_in_the_environment(scanner: Scanner, environment: dict[str, str]) -> None:
    secret = scanner.canaries.make_plain("in the settings")
    for name in ("STORE__PASSWORD", "STORE__URL", "LISTEN__PORT", "OIDC__CLIENT_SECRET", "AUDIT__ALSO"):
        done = run_here(
            ["users", "list"], {**environment, f"PGBASTION_{name}": f"[{secret}" if name == "AUDIT__ALSO" else secret}
        )
        assert done.status == 1
        look(scanner, done)


def test_no_message_of_the_suite_hides_what_it_is_about() -> None:
    """What replaced the arguments still says that there are too many."""
    assert re.search("arguments that this command does not take", run_here(["users", "create", "a", "b"], {}).stderr)
