"""The same with the store in PostgreSQL: its password, its tables, its log, and what is said when it goes away."""

import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from gateway.access.verifiers import make_verifier
from tests.canary.commands import run_apart, run_here
from tests.canary.scanner import Figures
from tests.canary.talkative import upstream_database
from tests.canary.world import World, made_world
from tests.support.faults import until
from tests.support.upstream import Upstream

OWNER = "canary_store"


class Stored:
    password = ""
    file = Path()
    person = ""


def section(upstream: Upstream, file: Path, **changed: str) -> dict[str, Any]:
    tls = f"sslmode=verify-full&sslrootcert={upstream.ca_file}" if upstream.has_tls else "sslmode=disable"
    facts = {"host": upstream.host, "name": OWNER, "tls": tls, **changed}
    url = f"postgresql://{OWNER}@{facts['host']}:{upstream.port}/{facts['name']}?{facts['tls']}"
    return {"url": url, "password_file": str(file)}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, talkative: Upstream, figures: Figures) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("postgres-store")
    Stored.password, Stored.file = f"Store-{secrets.token_hex(16)}", folder / "store-password"
    Stored.file.touch(mode=0o600)
    Stored.file.write_text(f"{Stored.password}\n")
    with talkative.connect() as admin:
        verifier = sql.Literal(make_verifier(Stored.password, secrets.token_bytes(16)))
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(OWNER), verifier))
        admin.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(OWNER), sql.Identifier(OWNER)))
    with made_world(folder, talkative, figures, store=section(talkative, Stored.file)) as world:
        world.canaries.note("store's password", Stored.password)
        yield world


def test_a_short_day(world: World) -> None:
    canaries, upstream = world.canaries, world.upstream
    ro, Stored.person = canaries.make("upstream password"), canaries.make("a person's")
    upstream_database(upstream, "stored", stored_ro=ro)
    tls = ("--tls", "verify-full", "--ca-file", str(upstream.ca_file)) if upstream.has_tls else ("--tls", "disable")
    world.command(
        "targets", "create", "shop", "--host", upstream.host, "--port", str(upstream.port), "--dbname", "stored", *tls
    )
    world.command("targets", "login", "shop", "--mode", "ro", "--login", "stored_ro", "--password-stdin", given=f"{ro}\n")
    world.command("users", "create", "ana_a", "--password-stdin", given=f"{Stored.person}\n")
    world.command("users", "create", "ben_b", "--generate", "--json", shows="a person's")
    world.command("accounts", "create", "ana_a", "--generate", "--json", shows="password for signing in")
    world.command("grants", "create", "--user", "ana_a", "--target", "shop", "--mode", "ro")
    world.command("tokens", "create", "deploy", "--json", shows="API token")
    world.ask("POST", "/v1/credentials", json={"target": "shop", "user": "ana_a"}, shows=("short-lived credential", "password"))
    chosen = {"name": "carl_c", "password": canaries.make("a person's")}
    world.ask("POST", "/v1/users", json=chosen, headers={"Idempotency-Key": "one"})
    settled(world)
    for words in ("store info", "doctor", "users list", "targets show shop", "export", "audit search"):
        world.command(*words.split(), status=None)
        world.command(*words.split(), "--json", status=None)


def settled(world: World) -> None:
    def works() -> bool:
        said = world.psql("SELECT 'yes-it-' || 'is'", user="ana_a", password=Stored.person, database="shop")
        return "yes-it-is" in said

    until(works, 30, 0.2)


def test_all_of_its_database(world: World) -> None:
    """As a dump has it, and as a backup."""
    dump = shutil.which("pg_dump")
    assert dump is not None
    environment = {"PATH": os.environ["PATH"], "PGPASSWORD": Stored.password, "PGSSLMODE": "prefer"}
    place = ["-h", world.upstream.host, "-p", str(world.upstream.port), "-U", OWNER, OWNER]
    for form in (["--inserts"], ["--format=custom", "--compress=0"]):
        done = subprocess.run([dump, *form, *place], env=environment, capture_output=True, check=True)
        assert b"target_roles" in done.stdout
        world.look("database dump", f"pg_dump {form[0]}", done.stdout)
    (world.own / "backups").mkdir()
    world.command("backup", str(world.own / "backups" / "one.sqlite3"))
    assert not world.look_everywhere()


@pytest.mark.parametrize(
    "wrong", ["password", "database", "host", "CA", "sslmode", "password in the URL", "file is gone", "file is open"]
)
def test_a_start_that_fails(world: World, wrong: str, tmp_path: Path) -> None:
    """What it says, with and without the gateway around it."""
    secret, file = world.canaries.make_plain("store's password"), tmp_path / "password"
    file.touch(mode=0o600)
    file.write_text(secret if wrong == "password" else Stored.password)
    changed = {
        "database": {"name": "not_there"},
        "host": {"host": "host.that.is.invalid"},
        "CA": {"tls": f"sslmode=verify-full&sslrootcert={world.gateway.ca_file}"},
        "sslmode": {"tls": f"sslmode={secret}"},
        "password in the URL": {"tls": f"sslmode=require&password={secret}"},
    }.get(wrong, {})
    if wrong == "file is gone":
        file.unlink()
    if wrong == "file is open":
        file.chmod(0o644)
    store = section(world.upstream, file, **changed)
    config = tmp_path / "pgbastion.toml"
    ports = "[listen]\nport = 0\n[admin_api]\nport = 0\n"
    config.write_text(f'state_dir = "state"\n{ports}[store]\nurl = "{store["url"]}"\npassword_file = "{file}"\n')
    environment = {**world.environment, "PGBASTION_CONFIG": str(config)}
    commands = [(run_here, ["doctor"]), (run_here, ["users", "list"]), (run_here, ["store", "info", "--json"])]
    if wrong in ("password", "CA"):
        commands.append((run_apart, ["serve"]))
    for run, words in commands:
        done = run(words, environment)
        assert done.status == 1, done.said
        assert not re.search("Traceback", done.stderr), done.stderr[-600:]
        world.look("command output", f"{words} {wrong}", done.said)


def test_it_goes_away_while_all_runs(world: World) -> None:
    """Nobody is let in to it any more, and who is in is thrown out; the API answers that it cannot, and the log says why."""
    secret = world.canaries.make("a person's")
    with world.upstream.connect() as admin:
        admin.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(OWNER)))
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [OWNER])
        try:
            until(
                lambda: world.ask("POST", "/v1/users", json={"name": "eva_e", "password": secret}).status_code == 503, 15, 0.2
            )
            world.ask("GET", "/v1/users")
            world.psql("SELECT 1", user="ana_a", password=Stored.person, database="shop")
            world.command("users", "list", status=1)
            world.command("doctor", status=1)
        finally:
            admin.execute(sql.SQL("ALTER ROLE {} LOGIN").format(sql.Identifier(OWNER)))
    settled(world)
    time.sleep(0.3)


def test_nothing_stays_behind(world: World) -> None:
    """Least of all in the log of the server that keeps the store, which writes down every value that it is sent."""
    world.look_at_processes()
    leaks = world.look_everywhere()
    assert not leaks, leaks
