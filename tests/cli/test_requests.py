"""Access requests by command: asked, waited for, decided and given back by people who signed in, and what they see of it."""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.terminal import PROGRAM, Screen, Terminal
from tests.cli.world import World, make_world, served

APPROVED, OVER, DENIED, TIMED_OUT = 0, 1, 2, 4


@dataclass(frozen=True)
class Site:
    """`shop` in `production`, where ben or cara decide about what ana asks; `dev` in `staging`, where a short look is approved by
    itself. `far`: the admin API's own address, as options of a command.
    """

    here: World
    far: tuple[str, str]
    people: dict[str, World]

    def __getitem__(self, name: str) -> World:
        return self.people[name]

    def environment(self, name: str) -> dict[str, str]:
        url, token = self.far[1], self.people[name].options[3]
        return {"PGBASTION_URL": url, "PGBASTION_TOKEN_FILE": token, "XDG_CACHE_HOME": str(self.here.folder / "cache")}

    def on_screen(self, name: str, *words: str, columns: int) -> Screen:
        return Terminal(*words, environment=self.environment(name), columns=columns).end()

    def asked(self, *words: str, reason: str = "a report") -> str:
        """The number of a new request of ana's."""
        made = self["ana"].json("request", "create", *words, "--reason", reason)
        assert made["state"] == "pending", made
        return str(made["number"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("requests")
        for name in ("PGBASTION_URL", "PGBASTION_TOKEN", "PGBASTION_TOKEN_FILE", "PGBASTION_CA_FILE"):
            patch.delenv(name, raising=False)
        for name, value in (("COLUMNS", "200"), ("NO_COLOR", "1"), ("TZ", "UTC"), ("XDG_CACHE_HOME", str(folder / "cache"))):
            patch.setenv(name, value)
        here = make_world(folder)
        for name in ("ana", "ben", "cara"):
            here.run("users", "create", name, "--email", f"{name}@example.com")
        here.run("groups", "create", "leads", "--member", "ben", "--member", "cara")
        for target, environment in (("shop", "production"), ("dev", "staging")):
            here.run("environments", "create", environment)
            here.run("targets", "create", target, "--host", "h", "--dbname", "d", "--environment", environment)
        by = ["--step", "group:leads", "--mode", "ro", "--mode", "rw"]
        glass = ["--break-glass", "user:ana for 30m", "--max", "8h", "--require-reason"]
        here.run("approvals", "create", "production", "--environment", "production", *by, *glass)
        here.run("approvals", "create", "staging", "--environment", "staging", *by, "--rule", "short-read 4h")
        tls = here.state / "tls"
        tls.mkdir(exist_ok=True)
        (tls / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
        with served(here) as remote:
            url = remote.options[1]
            people = {name: signed_in(here, name, url) for name in ("ana", "ben", "cara")}
            yield Site(here, ("--url", url), people)


def signed_in(here: World, name: str, url: str) -> World:
    token = here.json("tokens", "create", f"of-{name}", "--user", name, "--expires", "1h")["token"]
    file = here.folder / f"{name}.token"
    file.touch(mode=0o600)
    file.write_text(token)
    return World(here.folder, ("--url", url, "--token-file", str(file)), f"token:of-{name}", [token])


def test_what_can_be_asked_for(site: Site) -> None:
    found = {(each["target"], each["mode"]): each for each in site["ana"].json("request", "targets")}
    assert {target for target, _ in found} == {"shop", "dev", None}
    assert {mode for _, mode in found} == {"read_only", "read_write"}
    shop = found["shop", "read_only"]
    assert (shop["max_seconds"], shop["default_seconds"], shop["reason_required"]) == (28_800, 3600, True)
    assert "30 min" in site["ana"].run("request", "targets").stdout


def test_asked_shown_approved_and_given_back(site: Site) -> None:
    ana, ben = site["ana"], site["ben"]
    said = ana.run("request", "create", "shop:rw", "--duration", "2h", "--reason", "wrong prices", "--ticket", "OPS-1").stdout
    number = re.match(r'Request (\d+): ana, read_write on "shop", for 2 h\.', said)[1]  # type: ignore[index]
    assert re.search(
        r"^ben, cara may decide until \d{4}-\d\d-\d\d \d\d:\d\d UTC \(in (23 h 59 min|1 d)\)\.$", said, re.MULTILINE
    )
    assert f"pgbastion request wait {number}" in said
    (waiting,) = [each for each in ben.json("request", "list", "--to-decide") if str(each["number"]) == number]
    shown = ben.run("request", "show", number).stdout
    for text in ("wrong prices", "OPS-1", "read_write", waiting["fingerprint"], "0 of 1 said yes", "ben, cara"):
        assert text in shown
    assert 'on "shop": nothing now; read_write if it is approved' in shown
    done = ben.run("request", "approve", number, "--yes", "--comment", "until lunch")
    assert waiting["fingerprint"] in done.stderr
    assert f"Request {number} is approved: ana has read_write on" in done.stdout
    assert "(in 1 h 59 min)" in done.stdout or "(in 2 h)" in done.stdout
    given = ana.run("request", "show", number).stdout
    assert "approved by ben" in given
    assert "until lunch" in given
    assert "host=127.0.0.1" in given
    assert "dbname=shop:rw" in given
    assert "dbname" not in ben.run("request", "show", number).stdout
    assert ana.run("request", "relinquish", number).stdout == f"Request {number} is relinquished.\n"
    assert "is relinquished" in ana.error("request", "relinquish", number)


def test_nobody_decides_about_their_own_and_no_machine_asks(site: Site) -> None:
    number = site.asked("shop")
    assert "nobody decides about their own request" in site["ana"].error("request", "approve", number, "--yes")
    assert "pgbastion login" in site.here.error("request", "create", "shop", "--reason", "x")
    assert "pgbastion login" in site.here.error("request", "approve", number, "--yes")
    site["ana"].run("request", "cancel", number)


def test_what_is_decided_is_what_was_looked_at(site: Site) -> None:
    number = site.asked("shop")
    wrong = site["ben"].error("request", "approve", number, "--fingerprint", "0" * 64)
    assert "what you looked at is not what is asked for" in wrong
    site["ben"].run("request", "approve", number, "--fingerprint", "short", status=2)
    fingerprint = site["ben"].json("request", "show", number)["fingerprint"]
    assert "is denied, no" in site["ben"].run("request", "deny", number, "--fingerprint", fingerprint, "--comment", "no").stdout


def test_without_a_terminal_nothing_is_approved_by_accident(site: Site) -> None:
    number = site.asked("shop")
    assert "no terminal to ask on" in site["ben"].error("request", "approve", number)
    assert site["ben"].json("request", "show", number)["state"] == "pending"
    site["ana"].run("request", "cancel", number)


def waiting_for(site: Site, *words: str) -> "subprocess.Popen[str]":
    command = [str(PROGRAM), "request", *words]
    import os

    kept = {name: value for name, value in os.environ.items() if not name.startswith("PGBASTION_")}
    environment = {**kept, **site.environment("ana")}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.parametrize(
    ("word", "status", "text"),
    [("approve", APPROVED, "host=127.0.0.1"), ("deny", DENIED, "denied by ben"), ("cancel", OVER, "cancelled")],
)
def test_whoever_waits_learns_by_the_exit_status(site: Site, word: str, status: int, text: str) -> None:
    number = site.asked("shop", reason=f"to {word}")
    with waiting_for(site, "wait", number, "--timeout", "1m") as process:
        if word == "cancel":
            site["ana"].run("request", "cancel", number)
        else:
            site["ben"].run("request", word, number, "--yes")
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (status, "")
    assert text in out
    if status == APPROVED:
        site["ana"].run("request", "relinquish", number)


def test_waiting_ends_by_itself(site: Site) -> None:
    words = ["request", "create", "shop", "--reason", "patience", "--wait", "--timeout", "1s"]
    assert "Nobody has decided" in site["ana"].run(*words, status=TIMED_OUT).stdout
    again = json.loads(site["ana"].run(*words, "--json", status=TIMED_OUT).stdout)
    assert again["state"] == "pending"
    site["ana"].run("request", "cancel", str(again["number"]))
    assert "there is no request 999" in site["ana"].run("request", "wait", "999", status=OVER).stderr


def test_a_short_look_is_approved_by_itself(site: Site) -> None:
    said = site["ana"].run("request", "create", "dev", "--wait").stdout
    assert "is approved" in said
    assert "dbname=dev" in said
    (mine,) = [each for each in site["ana"].json("request", "list", "--mine") if each["place"] == "dev"]
    assert [each["rule"] for each in mine["decisions"]] == ["short-read"]
    site["ana"].run("request", "relinquish", str(mine["number"]))


def test_statements_from_a_file_are_shown_with_their_verdicts(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "fix.sql"
    file.write_text("UPDATE public.orders SET state = 'paid' WHERE id = 7;\n")
    number = site.asked("shop", "--sql", str(file), "--scope", "exact")
    shown = site["ben"].json("request", "show", number)
    assert (shown["mode"], shown["scope"], len(shown["statements"])) == ("read_write", "exact", 1)
    text = site["ben"].run("request", "show", number).stdout
    assert "UPDATE public.orders SET state = 'paid' WHERE id = 7" in text
    assert "1 statement (read_write, exact)" in text
    site["ana"].run("request", "cancel", number)
    again = (
        site["ana"].run("request", "create", "shop", "--sql", "-", "--reason", "x", given="SELECT 1 FROM public.orders").stdout
    )
    assert "SELECT" not in again
    assert "1 statement (read_only, relations)" in again
    assert "No such file" in site["ana"].error("request", "create", "shop", "--sql", str(tmp_path / "none.sql"))


def test_an_emergency(site: Site) -> None:
    words = ["shop", "--break-glass", "--duration", "30m", "--reason", "the shop is down"]
    assert "is approved" in site["ana"].run("request", "create", *words).stdout
    (listed,) = site["ben"].json("request", "list", "--to-review")
    number = str(listed["number"])
    assert "nobody has reviewed it yet" in site["ben"].run("request", "show", number).stdout
    site["ana"].run("request", "relinquish", number)
    assert site["ben"].run("request", "review", number, "--comment", "INC-42").stdout == f"Request {number} is reviewed.\n"
    assert site["ben"].json("request", "list", "--to-review") == []
    assert "reviewed by ben" in site["ana"].run("request", "show", number).stdout


def test_an_admin_takes_it_away(site: Site) -> None:
    number = site.asked("shop")
    site["cara"].run("request", "approve", number, "--yes")
    said = site.here.run("request", "revoke", number, "--reason", "the audit is over").stdout
    assert said == f"Request {number} is revoked, the audit is over.\n"
    assert site.here.json("grants", "list", "--user", "ana") == []


def test_wrong_usage(site: Site) -> None:
    for words in (
        ["create"],
        ["create", "shop", "--environment", "production"],
        ["create", "shop", "--role", "r", "--sql", "-"],
        ["create", "shop", "--mode", "rw", "--sql", "-"],
        ["create", "shop", "--scope", "exact"],
        ["create", "shop", "--timeout", "1m"],
        ["create", "shop", "--duration", "never"],
        ["create", "shop", "--from", "k7m2x9qa"],
    ):
        assert site["ana"].run("request", *words, status=2).stdout == ""


@pytest.mark.parametrize("columns", [80, 120])
def test_screens_fit(site: Site, columns: int) -> None:
    number = site.asked(
        "shop", "--duration", "90m", reason="a reason of some length, so that columns have to give way somewhere"
    )
    for who, words in (
        ("ana", ["request", "list"]),
        ("ben", ["request", "list", "--to-decide"]),
        ("ana", ["request", "targets"]),
        ("ben", ["request", "show", number]),
        ("ana", ["request", "create", "--help"]),
        ("ana", ["request", "--help"]),
    ):
        screen = site.on_screen(who, *words, columns=columns)
        assert screen.status == 0, screen.text
        assert all(len(line) <= columns for line in screen.lines), (words, screen.text)
        assert "Traceback" not in screen.text
    site["ana"].run("request", "cancel", number)


def test_an_approver_on_a_terminal_is_shown_it_and_asked(site: Site) -> None:
    number = site.asked("shop")
    terminal = Terminal("request", "approve", number, environment=site.environment("ben"), columns=100)
    terminal.wait_for("[y/N]")
    assert "a report" in terminal.seen
    terminal.type("n\r")
    assert terminal.end().status == 1
    terminal = Terminal("request", "approve", number, environment=site.environment("ben"), columns=100)
    terminal.wait_for("[y/N]")
    terminal.type("y\r")
    assert f"Request {number} is approved" in terminal.end().text
    site["ana"].run("request", "relinquish", number)


def test_waiting_on_a_terminal_shows_for_whom(site: Site) -> None:
    number = site.asked("shop")
    terminal = Terminal("request", "wait", number, environment=site.environment("ana"), columns=100)
    terminal.wait_for("waiting for ben, cara")
    site["ben"].run("request", "deny", number, "--yes", "--comment", "ask for the replica")
    screen = terminal.end()
    assert screen.status == DENIED
    assert "denied by ben" in screen.text
    assert "ask for the replica" in screen.text
