"""Custody: an admin URL comes in, passwords are made that nobody has seen and changed again, and so is the key below them."""

import secrets
from collections.abc import Iterator

import pytest
from psycopg import sql

from gateway.access.verifiers import make_verifier
from tests.canary.commands import Done
from tests.canary.keys import MASTER_KEY, note_master_key
from tests.canary.scanner import Figures
from tests.canary.world import World, made_world
from tests.support.faults import until
from tests.support.upstream import Upstream

OWNER, MADE, ADMIN = "canary_owner", "sealed: upstream password", "sealed: admin password"
NAME = "shop"


class Someone:
    name = "ana_a"
    password = ""
    admin = ""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, talkative: Upstream, figures: Figures) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("custody")
    with made_world(folder, talkative, figures, secrets={"allowed": [f"file:{folder}/given/"]}) as world:
        canaries = world.canaries
        Someone.password, Someone.admin = canaries.make("a person's"), canaries.make_plain("target admin login")
        verifier = sql.Literal(make_verifier(Someone.admin, secrets.token_bytes(16)))
        with talkative.connect() as admin:
            admin.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD {}").format(sql.Identifier(OWNER), verifier))
            admin.execute(sql.SQL("CREATE DATABASE custody OWNER {}").format(sql.Identifier(OWNER)))
        with talkative.connect("custody") as admin:
            admin.execute(sql.SQL("SET ROLE {}; CREATE TABLE ours (a int)").format(sql.Identifier(OWNER)))
        world.command("users", "create", Someone.name, "--password-stdin", given=f"{Someone.password}\n")
        yield world


def url_of(world: World, password: str, *, host: str = "", database: str = "custody") -> str:
    upstream = world.upstream
    mode = "verify-full" if upstream.has_tls else "disable"
    return f"postgresql://{OWNER}:{password}@{host or upstream.host}:{upstream.port}/{database}?sslmode={mode}"


def adopt(world: World, url: str, *more: str, status: int | None = 0) -> Done:
    words = ["targets", "adopt", NAME, "--ca-file", str(world.upstream.ca_file), *more]
    return world.command(*words, given=f"{url}\n", status=status)


def settled(world: World) -> None:
    def works() -> bool:
        said = world.psql("SELECT 'yes-it-' || 'is'", user=Someone.name, password=Someone.password, database=NAME)
        return "yes-it-is" in said

    until(works, 30, 0.2)


WRONG = {
    "password": lambda world, secret: url_of(world, secret),
    "host": lambda world, secret: url_of(world, secret, host="host.that.is.invalid"),
    "database": lambda world, secret: url_of(world, Someone.admin, database="not_there"),
    "slash": lambda world, secret: url_of(world, f"a/{secret}"),
    "bracket": lambda world, secret: url_of(world, f"[{secret}"),
    "question": lambda world, secret: url_of(world, f"?{secret}"),
    "at": lambda world, secret: url_of(world, f"{secret}@{secret}"),
    "scheme": lambda world, secret: url_of(world, secret).replace("postgresql", "mysql"),
    "port": lambda world, secret: f"postgresql://{OWNER}@127.0.0.1:{secret}/custody",
    "password option": lambda world, secret: f"postgresql://{OWNER}@127.0.0.1:1/custody?password={secret}",
    "words": lambda world, secret: f"host=127.0.0.1 user={OWNER} password={secret} dbname=custody",
    "only it": lambda world, secret: secret,
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_url_that_does_not_do(world: World, wrong: str) -> None:
    """Typed wrongly, it is an admin's password all the same."""
    secret = world.canaries.make_plain("target admin login")
    done = adopt(world, WRONG[wrong](world, secret), "--dry-run", status=None)
    assert done.status != 0
    assert "Traceback" not in done.stderr, done.stderr[-600:]
    body = {"admin_url": WRONG[wrong](world, secret), "dry_run": True}
    assert world.ask("POST", f"/v1/targets/{NAME}/adoption", json=body).status_code >= 400


def test_a_target_is_adopted(world: World) -> None:
    url = url_of(world, Someone.admin)
    for more in (("--dry-run",), ("--dry-run", "--json"), ("--sql",)):
        adopt(world, url, *more)
    adopt(world, url, "--yes")
    assert not world.look_everywhere()
    assert len(world.canaries.slots[MADE]) == 2
    for words in (("adoption", NAME), ("show", NAME), ("list",), ("test", NAME, "--mode", "ro"), ("adopt", NAME, "--dry-run")):
        world.command("targets", *words, status=None)
        world.command("targets", *words, "--json", status=None)
    world.command("grants", "create", "--user", Someone.name, "--target", NAME, "--mode", "ro")
    settled(world)


def test_passwords_are_rotated(world: World) -> None:
    """Those of sessions and the admin's own; what the server hears are verifiers, and its log is looked at."""
    for more in ((), ("--json",), ("--role", "admin"), ("--role", "all", "--json"), ("--role", "read_only", "--every", "30")):
        world.command("targets", "rotate-credential", NAME, *more)
        assert not world.look_everywhere()
    assert len(world.canaries.slots[MADE]) >= 2 + 4
    assert len(world.canaries.slots[ADMIN]) >= 3
    settled(world)
    answer = world.ask("POST", f"/v1/targets/{NAME}/rotate-credential?role=read_only")
    assert answer.status_code == 200, answer.text
    assert "SCRAM-SHA-256" not in answer.text
    assert not world.look_everywhere()


def test_a_rotation_that_fails(world: World) -> None:
    """The admin login may not log in any more, and so nothing can be set."""
    with world.upstream.connect() as admin:
        admin.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(OWNER)))
        try:
            world.command("targets", "rotate-credential", NAME, "--role", "all", status=None)
            world.command("targets", "adopt", NAME, "--dry-run", status=None)
            world.command("doctor", status=None)
        finally:
            admin.execute(sql.SQL("ALTER ROLE {} LOGIN").format(sql.Identifier(OWNER)))
    assert not world.look_everywhere()


def test_a_password_that_is_kept_elsewhere(world: World) -> None:
    """By reference: fetched, refused, gone, unreadable."""
    admin, canaries = world.gateway.admin, world.canaries
    role = next(each for mode, each in admin.read().targets[NAME].roles.items() if mode.value == "read_only")
    file = world.secret_file(admin.vault.open(role).reveal())
    words = ["targets", "login", NAME, "--mode", "ro", "--login", role.login]
    world.command(*words, "--from", f"file:{file}")
    settled(world)
    for command in (("secrets", "list"), ("secrets", "status"), ("targets", "show", NAME), ("export",), ("doctor",)):
        world.command(*command, status=None)
        world.command(*command, "--json", status=None)
    file.write_text(canaries.make("upstream password (wrong)"))
    world.command("targets", "test", NAME, "--mode", "ro", status=None)
    file.unlink()
    world.command("targets", "test", NAME, "--mode", "ro", status=None)
    world.psql("SELECT 1", user=Someone.name, password=Someone.password, database=NAME)
    for wrong in (canaries.make_plain("upstream password (wrong)"), "file:/x", "nonsense:x", "env:X", "vault:x"):
        assert world.command(*words, "--from", wrong, status=None).status != 0
    assert not world.look_everywhere()


def test_the_master_key_is_changed(world: World) -> None:
    """Neither the former nor the new one is told, and what is sealed was sealed anew."""
    world.command("secrets", "rotate-key", "--json", status=None)
    world.command("secrets", "rotate-key", "--keep-old", status=None)
    note_master_key(world.canaries, world.gateway.admin.settings.key_file)
    assert len(world.canaries.slots[MASTER_KEY]) >= 2
    for words in (("secrets", "status"), ("secrets", "status", "--json"), ("doctor",), ("store", "info", "--json")):
        world.command(*words, status=None)
    backup = world.own / "backup.sqlite3"
    world.command("backup", str(backup), "--json")
    assert not world.look_everywhere()


def test_people_have_logins_of_their_own(world: World) -> None:
    """A role for each, with a password that nobody has ever seen."""
    world.command("targets", "managed", NAME, "--mode", "per-user")
    settled(world)
    until(lambda: managed(world), 20, 0.2)
    for words in (("managed-logins", NAME), ("show", NAME), ("clean", NAME, "--dry-run")):
        world.command("targets", *words, status=None)
        world.command("targets", *words, "--json", status=None)
    assert not world.look_everywhere()
    world.command("targets", "managed", NAME, "--mode", "off")
    world.command("targets", "clean", NAME, status=None)


def managed(world: World) -> bool:
    world.note_what_is_sealed()
    return "sealed: password of a managed login" in world.canaries.slots


def test_it_is_undone(world: World) -> None:
    world.command("targets", "adopt", NAME, "--undo", "--yes", status=None)
    world.command("audit", "search", "--json")
    world.look_at_processes()
    assert not world.look_everywhere()
