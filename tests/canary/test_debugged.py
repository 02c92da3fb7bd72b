"""All libraries say all they can say, the interpreter shows stacks when it dies, and things go wrong: no secret in any of it."""

import contextlib
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.access_mode import AccessMode
from gateway.secret import Secret
from tests.canary.places import family
from tests.canary.scanner import Figures
from tests.canary.talkative import upstream_database
from tests.canary.world import TYPED_SQL, World, made_world
from tests.support.faults import until
from tests.support.oidc_provider import CLIENT_ID, CLIENT_SECRET, Served, provider
from tests.support.upstream import Upstream

DEBUGGED = Path(__file__).with_name("debugged")


class Someone:
    name = "ana_a"
    password = ""
    sign_in = ""


@pytest.fixture(scope="module")
def idp() -> Iterator[Served]:
    with provider() as served:
        yield served


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, talkative: Upstream, figures: Figures, idp: Served) -> Iterator[World]:
    paths = os.pathsep.join(filter(None, (str(DEBUGGED), os.environ.get("PYTHONPATH"))))
    environment = {"PYTHONPATH": paths, "PYTHONASYNCIODEBUG": "1", "PYTHONFAULTHANDLER": "1"}
    folder = tmp_path_factory.mktemp("debugged")
    (folder / "client-secret").write_text(CLIENT_SECRET)
    oidc = {"issuer": idp.issuer, "client_id": CLIENT_ID, "client_secret_file": str(folder / "client-secret")}
    with made_world(folder, talkative, figures, environment, oidc=oidc, store={"poll_seconds": 0.5}) as world:
        world.canaries.note("OIDC client secret", CLIENT_SECRET)
        ro = world.canaries.make("upstream password")
        upstream_database(talkative, "debugged", debugged_ro=ro)
        Someone.password, Someone.sign_in = world.canaries.make("a person's"), world.canaries.make("password for signing in")
        world.command("users", "create", Someone.name, "--password-stdin", given=f"{Someone.password}\n")
        world.command("accounts", "create", Someone.name, "--password-stdin", given=f"{Someone.sign_in}\n")
        tls = ("--tls", "verify-full", "--ca-file", str(talkative.ca_file)) if talkative.has_tls else ("--tls", "disable")
        place = ("--host", talkative.host, "--port", str(talkative.port), "--dbname", "debugged", *tls)
        world.command("targets", "create", "shop", *place)
        world.gateway.login("shop", AccessMode.READ_ONLY, "debugged_ro", Secret(ro))
        world.command("grants", "create", "--user", Someone.name, "--target", "shop", "--mode", "ro")
        settled(world)
        yield world


def settled(world: World) -> None:
    until(lambda: "yes-it-is" in asked(world, "SELECT 'yes-it-' || 'is'"), 20, 0.2)


def asked(world: World, *statements: str, password: str = "") -> str:
    return world.psql(*statements, user=Someone.name, password=password or Someone.password, database="shop")


def test_it_is_debugged_indeed(world: World) -> None:
    """Otherwise this would show nothing."""
    until(lambda: "DEBUG asyncio" in world.log and "DEBUG aiosqlite" in world.log, 5)


def test_work_with_all_lines_of_log(world: World, idp: Served) -> None:
    canaries = world.canaries
    asked(world, "SELECT 1", "SELEC", "SELECT 1/0", f"CREATE ROLE a PASSWORD '{canaries.make_plain(TYPED_SQL)}'")
    asked(world, "SELECT 1", password=canaries.make("mistyped password"))
    world.command("targets", "test", "shop", "--mode", "ro", status=None)
    world.ask("POST", "/v1/users", json={"name": "ben_b", "password": canaries.make("a person's")})
    world.ask("POST", "/v1/users", json={"name": "ben_b", "password": [canaries.make("a person's")]})
    world.ask("POST", "/v1/users", json={"name": "eva_e"}, shows=("a person's", "password"))
    world.ask("GET", "/v1/users", token=f"pgb_{canaries.make_plain('API token (wrong)')}")
    made = {"target": "shop", "user": Someone.name}
    world.ask("POST", "/v1/credentials", json=made, shows=("short-lived credential", "password"))
    proofs = {"name": Someone.name, "password": Someone.sign_in}
    world.ask("POST", "/v1/sign-in", token=None, json=proofs, shows=("API token (sign-in)", "token"))
    world.ask("POST", "/v1/sign-in", token=None, json={**proofs, "password": canaries.make("mistyped password")})
    begun = world.ask("POST", "/v1/sign-in/provider", token=None, json={"redirect_uri": "http://127.0.0.1:9/callback"}).json()
    body = {"flow": begun["flow"], "state": begun["state"], "code": canaries.make("OIDC code")}
    assert world.ask("POST", "/v1/sign-in/provider/finish", token=None, json=body).status_code >= 400
    for secret in idp.handled():
        canaries.note("OIDC tokens and PKCE verifier", secret)
    assert len(idp.handled()) >= 2
    assert not world.look_everywhere()


def test_a_store_that_is_locked_and_gone(world: World) -> None:
    """Every route that writes fails, with whatever its layers have to say about it."""
    file = next(world.own.rglob("store.sqlite3"))
    secret = world.canaries.make("a person's")
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        answer = world.ask("POST", "/v1/users", json={"name": "gus_g", "password": secret})
        assert answer.status_code == 503, answer.text
        world.command("users", "create", "gus_g", "--password-stdin", given=f"{secret}\n", status=1)
        other.execute("ROLLBACK")
    away = file.with_name("away")
    file.rename(away)
    try:
        world.ask("POST", "/v1/users", json={"name": "gus_g", "password": secret})
        asked(world, "SELECT 1")
    finally:
        for leftover in file.parent.glob("store.sqlite3*"):
            if leftover.suffix not in ("-wal", "-shm") and leftover.name == "store.sqlite3":
                leftover.unlink()
        away.rename(file)
    settled(world)
    assert not world.look_everywhere()


def test_a_row_that_was_swapped(world: World) -> None:
    """The sealed password of another row: a session is refused, and the log says which row, not what is in it."""
    file = next(world.own.rglob("store.sqlite3"))
    with contextlib.closing(sqlite3.connect(file, isolation_level=None, timeout=10)) as other:
        (sealed,) = other.execute("SELECT sealed_secret FROM target_roles").fetchone()
        broken = sealed[:-1] + bytes([sealed[-1] ^ 1])
        other.execute("UPDATE target_roles SET sealed_secret = ?", [broken])
        other.execute("UPDATE meta SET revision = revision + 1")
        until(lambda: "yes-it-is" not in asked(world, "SELECT 'yes-it-' || 'is'"), 20, 0.2)
        world.command("targets", "test", "shop", "--mode", "ro", status=None)
        world.command("doctor", status=None)
        world.command("doctor", "--json", status=None)
        other.execute("UPDATE target_roles SET sealed_secret = ?", [sealed])
        other.execute("UPDATE meta SET revision = revision + 1")
    settled(world)
    assert not world.look_everywhere()


@pytest.mark.parametrize(
    ("program", "number"),
    [
        ("gateway.app", signal.SIGABRT),
        ("gateway.app", signal.SIGKILL),
        ("admin_api", signal.SIGSEGV),
        ("judging.child", signal.SIGABRT),
    ],
)
def test_processes_that_die(world: World, program: str, number: signal.Signals) -> None:
    """In the middle of work; with the stacks that the interpreter shows."""
    process = next(each for each in family(world.gateway.process.pid) if program in " ".join(each.cmdline()))
    process.send_signal(number)
    process.wait(10)
    if number in (signal.SIGABRT, signal.SIGSEGV):
        until(lambda: "Fatal Python error" in world.log, 5)
    settled(world)
    until(lambda: answers(world), 20, 0.2)
    assert not world.look_everywhere()
    assert not [each for each in world.own.rglob("core*") if each.is_file()]


def answers(world: World) -> bool:
    with contextlib.suppress(Exception):
        return world.ask("GET", "/v1/users").status_code == 200
    return False


def test_everything_dies_and_begins_anew(world: World) -> None:
    for process in family(world.gateway.process.pid):
        process.kill()
    world.gateway.process.wait(10)
    time.sleep(0.2)
    assert not world.look_everywhere()
    world.start()
    settled(world)
    assert not world.look_everywhere()
