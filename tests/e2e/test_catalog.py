"""What a database's owners put into it, through a real gateway whose upstream role may do everything: only the reading of each
statement stands between a person and the owners' functions (see tests/oracle/relay.py), and the database shows what it let pass.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, LiteralString, cast

import psycopg
import pytest

from gateway.access_mode import AccessMode
from gateway.bus.peer import ask
from gateway.services import targets
from gateway.services.target_facts import Permitted
from tests.oracle.relay import running_relay
from tests.support import wire
from tests.support.gateway import WHY, Person, RunningGateway, running_gateway
from tests.support.upstream import Database, Login, Upstream, fresh_database
from tests.support.wire import SYNC, Place, RawClient

OBJECTS = """
CREATE TABLE public.ledger (n int);
CREATE TABLE public.people (id int, name varchar, mood text);
INSERT INTO public.people VALUES (1, 'Ann', 'ok');
CREATE FUNCTION public.evil(int) RETURNS int LANGUAGE sql AS 'INSERT INTO public.ledger VALUES ($1) RETURNING n';
CREATE FUNCTION public.evil_row(public.people) RETURNS int LANGUAGE sql AS 'SELECT public.evil(1)';
CREATE FUNCTION public.is_fine(text) RETURNS boolean LANGUAGE sql AS 'SELECT public.evil(2) > 0';
CREATE FUNCTION public.lower(varchar) RETURNS text LANGUAGE sql AS 'SELECT public.evil(3)::text';
CREATE FUNCTION public.compare(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT public.evil(4) > 0';
CREATE VIEW public.looks_harmless AS SELECT id, public.evil(id) FROM public.people;
CREATE VIEW public.above_it AS SELECT * FROM public.looks_harmless;
CREATE DOMAIN public.checked AS text CHECK (public.is_fine(VALUE));
CREATE OPERATOR public.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = public.compare);
CREATE TYPE public.colour AS ENUM ('red', 'green');
CREATE TABLE public.things (id int, colour public.colour, tags text[], colours public.colour[]);
INSERT INTO public.things VALUES (1, 'red', '{a,b}', '{red,green}');
CREATE VIEW public.plain_view AS SELECT id, pg_catalog.upper(name) AS name FROM public.people;
"""
FOREIGN = """
CREATE EXTENSION file_fdw;
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE public.outside (line text) SERVER files OPTIONS (program 'echo 1');
"""
WIDE_OPEN: dict[str, Any] = {"free_failures": 1_000_000, "user_delay_seconds": 0.0}
PROMPT_SECONDS = 2.0  # for a refresh interval of half a second, on a busy machine


@dataclass
class World:
    """`direct` is the database's owner; people come through the gateway, as a superuser whose lock is off."""

    gateway: RunningGateway
    database: Database
    direct: "psycopg.Connection[Any]"
    person: Person
    target: str

    def client(self) -> "psycopg.Connection[Any]":
        return self.gateway.client(self.person, self.target)

    def raw(self) -> RawClient:
        place = Place(self.gateway.host, self.gateway.port, self.gateway.ca_file)
        return place.log_in(self.person.name, self.person.password, self.target)

    def run(self, script: str) -> None:
        self.direct.execute(cast(LiteralString, script))

    @property
    def written(self) -> int:
        (count,) = self.direct.execute("SELECT count(*) FROM public.ledger").fetchone() or (None,)
        assert isinstance(count, int)
        return count

    def oid(self, kind: str) -> int:
        (found,) = self.direct.execute("SELECT %s::regtype::oid::int", (kind,)).fetchone() or (None,)
        assert isinstance(found, int)
        return found

    def refresh(self) -> list[dict[str, Any]]:
        return [dict(each) for each in ask(self.gateway.state_dir / "bus.sock", "refresh-catalog", {"target": self.target}, 30)]


@contextlib.contextmanager
def world(gateway: RunningGateway, postgres: Upstream, logins: tuple[Login, Login]) -> Iterator[World]:
    superuser = Login(postgres.superuser, postgres.superuser_password)
    with fresh_database(postgres, logins) as made, running_relay(postgres.host, postgres.port) as relay:
        direct = made.superuser()
        direct.execute(cast(LiteralString, OBJECTS))
        with contextlib.suppress(psycopg.Error):  # a server without contrib
            direct.execute(cast(LiteralString, FOREIGN))
        seen = Upstream(
            "127.0.0.1",
            relay.port,
            postgres.superuser,
            postgres.superuser_password,
            False,
            postgres.major,
            made.upstream.ca_file,
            None,
        )
        person, target = gateway.analyst(Database(seen, made.name, superuser, superuser))
        yield World(gateway, made, direct, person, target)
        gateway.close_clients()


@pytest.fixture(scope="module")
def fresh_gateway() -> Iterator[RunningGateway]:
    with running_gateway(throttle=WIDE_OPEN, policy={"catalog_seconds": 0.5}) as running:
        yield running


@pytest.fixture(scope="module")
def slow_gateway() -> Iterator[RunningGateway]:
    """Its catalogs are as old as nobody says otherwise. Two workers: what is said reaches both."""
    listen = {"host": "127.0.0.1", "port": 0, "drain_seconds": 1.0, "workers": 2}
    with running_gateway(throttle=WIDE_OPEN, listen=listen, policy={"catalog_seconds": 3600.0}) as running:
        yield running


@pytest.fixture(scope="module")
def reading(fresh_gateway: RunningGateway, postgres: Upstream, upstream_logins: tuple[Login, Login]) -> Iterator[World]:
    """For tests that change nothing in the database."""
    with world(fresh_gateway, postgres, upstream_logins) as made:
        yield made


@pytest.fixture
def prompt(fresh_gateway: RunningGateway, postgres: Upstream, upstream_logins: tuple[Login, Login]) -> Iterator[World]:
    with world(fresh_gateway, postgres, upstream_logins) as made:
        yield made


@pytest.fixture
def slow(slow_gateway: RunningGateway, postgres: Upstream, upstream_logins: tuple[Login, Login]) -> Iterator[World]:
    with world(slow_gateway, postgres, upstream_logins) as made:
        yield made


def rule_of(error: psycopg.Error) -> str:
    return (error.diag.message_primary or "").rpartition("(rule ")[2].rstrip(")")


def refused(client: "psycopg.Connection[Any]", sql: str) -> str:
    """The rule by which it is."""
    rule = refusal_now(client, sql)
    assert rule
    return rule


def refusal_now(client: "psycopg.Connection[Any]", sql: str) -> str:
    try:
        client.execute(cast(LiteralString, sql))
    except psycopg.Error as error:
        rule = rule_of(error)
        if not rule:
            raise
        return rule
    return ""


def allowed(client: "psycopg.Connection[Any]", sql: str) -> bool:
    return not refusal_now(client, sql)


def eventually(done: Callable[[], bool], seconds: float = PROMPT_SECONDS) -> float:
    """How long it took."""
    started = time.monotonic()
    while not done():
        assert time.monotonic() - started < seconds
        time.sleep(0.02)
    return time.monotonic() - started


DANGEROUS = [
    "SELECT public.evil(1)",
    "SELECT evil(1)",
    "SELECT (7).evil",
    "SELECT people.evil_row FROM public.people",
    "SELECT p.evil_row FROM public.people p",
    "SELECT * FROM public.looks_harmless",
    "SELECT id FROM public.above_it",
    "SELECT 'x'::public.checked",
    "SELECT CAST('x' AS checked)",
    "SELECT ARRAY['x']::checked[]",
    "SELECT 'a' OPERATOR(public.===) 'b'",
    "SELECT 'a'::text === 'b'::text",
    "SELECT lower(name) FROM public.people",
    "EXPLAIN SELECT evil(1)",
    "PREPARE p AS SELECT evil(1)",
    "DECLARE c CURSOR WITH HOLD FOR SELECT evil(1)",
    "COPY (SELECT evil(1)) TO STDOUT",
]


@pytest.mark.parametrize("sql", DANGEROUS)
def test_what_the_owners_put_there_does_not_run(reading: World, sql: str) -> None:
    client = reading.client()
    refused(client, sql)
    with pytest.raises(psycopg.Error):
        client.execute(cast(LiteralString, sql), prepare=True)
    assert reading.written == 0
    assert client.execute("SELECT 1").fetchone() == (1,)


def test_a_foreign_table_is_not_read(reading: World) -> None:
    if reading.direct.execute("SELECT to_regclass('public.outside')").fetchone() == (None,):
        pytest.skip("this server has no file_fdw")
    client = reading.client()
    assert refused(client, "SELECT * FROM public.outside") == "foreign-table"
    assert refused(client, "COPY (TABLE outside) TO STDOUT") == "foreign-table"


def test_a_domain_as_a_parameters_type_runs_nothing(reading: World) -> None:
    with reading.raw() as client:
        parse = wire.parse("SELECT $1", types=[reading.oid("public.checked")])
        answer = client.ask(parse + wire.bind(values=[b"x"]) + SYNC)
        assert wire.shape(answer) == "EZ"
        assert "(rule parameter-type)" in answer[0].said
        enum = wire.parse("SELECT $1", types=[reading.oid("public.colour")])
        assert "E" not in wire.shape(client.ask(enum + wire.bind(values=[b"red"]) + wire.execute() + SYNC))
    assert reading.written == 0


HONEST = [
    "SELECT * FROM public.things",
    "SELECT colour, count(*) FROM things WHERE colour = 'red' AND 'red' = ANY (colours) GROUP BY colour ORDER BY 1",
    "SELECT array_agg(colour ORDER BY colour), max(colour) FROM public.things",
    "SELECT 'green'::public.colour > 'red', enum_range(NULL::colour)",
    "SELECT * FROM public.plain_view WHERE name LIKE 'A%'",
    "SELECT upper(name), id + 1, tags[1], unnest(tags) FROM public.people JOIN public.things USING (id)",
    "SELECT oid::regclass, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1",
]


@pytest.mark.parametrize("sql", HONEST)
def test_honest_statements_over_the_same_database_work(reading: World, sql: str) -> None:
    reading.client().execute(cast(LiteralString, sql))
    reading.client().execute(cast(LiteralString, sql), prepare=True)


@pytest.mark.parametrize(
    ("extension", "sql"),
    [
        ("pg_trgm", "SELECT similarity(name, 'An'), name % 'An', name <-> 'x' FROM public.people ORDER BY name <-> 'x'"),
        ("citext", "SELECT 'A'::citext = 'a', lower('A'::citext), name::citext FROM public.people ORDER BY 3"),
        ("hstore", "SELECT 'a=>1'::hstore -> 'a', akeys('a=>1'::hstore)"),
        ("ltree", "SELECT 'a.b'::ltree <@ 'a'::ltree"),
        ("intarray", "SELECT ARRAY[1,2] && ARRAY[2], sort(ARRAY[2,1])"),
        ("fuzzystrmatch", "SELECT levenshtein(name, 'x') FROM people"),
        ("unaccent", "SELECT unaccent(name) FROM people"),
    ],
)
def test_common_extensions_need_no_entry(prompt: World, extension: str, sql: str) -> None:
    prompt.run("DROP FUNCTION public.lower(varchar)")
    try:
        prompt.run(f"CREATE EXTENSION {extension}")
    except psycopg.Error:
        pytest.skip(f"this server has no {extension}")
    prompt.refresh()
    client = prompt.client()
    client.execute(cast(LiteralString, sql))
    client.execute(cast(LiteralString, sql), prepare=True)


def test_what_appears_while_a_session_lives_is_refused_soon(prompt: World) -> None:
    client = prompt.client()
    client.execute("CLOSE ALL")
    for sql in ("SELECT upper(name) FROM people", "SELECT (3).late", "SELECT 'x' ~~~~ 'y'"):
        with contextlib.suppress(psycopg.ProgrammingError):  # there is nothing of that name yet
            client.execute(cast(LiteralString, sql))
    prompt.run(
        """CREATE FUNCTION public.upper(varchar) RETURNS text LANGUAGE sql AS 'SELECT public.evil(5)::text';
        CREATE FUNCTION public.late(int) RETURNS int LANGUAGE sql AS 'SELECT public.evil(6)';
        CREATE OR REPLACE VIEW public.plain_view AS SELECT id, public.evil(7)::text AS name FROM public.people"""
    )
    eventually(lambda: not allowed(client, "SELECT upper(name) FROM people"))
    before = prompt.written
    assert refused(client, "SELECT (3).late")
    assert refused(client, "SELECT * FROM plain_view")
    assert prompt.written == before


def test_the_refresh_command_is_in_force_when_it_returns(slow: World) -> None:
    clients = [slow.client() for _ in range(6)]  # of both workers, most probably
    for client in clients:
        client.execute("SELECT upper(name) FROM people")
    slow.run("CREATE FUNCTION public.upper(varchar) RETURNS text LANGUAGE sql AS 'SELECT public.evil(5)::text'")
    answers = slow.refresh()
    assert answers
    assert {answer["failure"] for answer in answers} == {""}
    assert len({answer["revision"] for answer in answers}) == 1
    for client in clients:
        assert refused(client, "SELECT upper(name) FROM people") == "function-not-listed"
    assert slow.written == 0
    slow.run("DROP FUNCTION public.upper(varchar)")
    slow.refresh()
    for client in clients:
        client.execute("SELECT upper(name) FROM people")


def test_ddl_in_a_session_of_the_target_is_seen_at_once(slow_gateway: RunningGateway, database: Database, slow: World) -> None:
    """In every worker, and when its transaction is over: not before."""
    person, target = slow_gateway.analyst(database, AccessMode.READ_WRITE)
    readers = [slow_gateway.client(person, f"{target}:ro") for _ in range(4)]
    for reader in readers:
        reader.execute("SELECT upper('a')")
    database.superuser().execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
    writer = slow_gateway.client(person, f"{target}:rw", autocommit=False)
    writer.execute("CREATE FUNCTION public.upper(text) RETURNS text LANGUAGE sql AS 'SELECT $1'")
    time.sleep(0.3)
    for reader in readers:
        reader.execute("SELECT upper('a')")
    writer.commit()
    for reader in readers:
        eventually(lambda reader=reader: not allowed(reader, "SELECT upper('a')"))  # type: ignore[misc]
    writer.execute("DROP FUNCTION public.upper(text)")
    writer.commit()
    for reader in readers:
        eventually(lambda reader=reader: allowed(reader, "SELECT upper('a')"))  # type: ignore[misc]


def test_what_an_admin_lists_runs_and_nothing_else(slow: World) -> None:
    client = slow.client()
    refused(client, "SELECT public.evil(1)")
    gateway = slow.gateway
    permit = targets.permit(gateway.admin.store, name=slow.target, kind=Permitted.FUNCTION, item="public.evil", **WHY)
    gateway.admin.change(permit)
    eventually(lambda: allowed(client, "SELECT public.evil(1)"))
    assert slow.written >= 1
    refused(client, "SELECT people.evil_row FROM public.people")
    refused(client, "SELECT lower(name) FROM people")


def test_a_prepared_statement_that_became_dangerous_does_not_run(slow: World) -> None:
    """Whatever prepared it: a Parse, SQL's PREPARE, a portal that is bound already; and those that did not become so still run."""
    slow.run("CREATE DOMAIN public.later AS text")
    slow.refresh()
    with slow.raw() as client:
        client.ask(wire.parse("SELECT upper(name) FROM public.people", "a") + wire.parse("SELECT 1", "b") + SYNC)
        client.ask(wire.parse("SELECT $1", "c", [slow.oid("public.later")]) + SYNC)
        client.ask(wire.query("PREPARE d AS SELECT upper(name) FROM people"))
        client.ask(wire.query("PREPARE e AS SELECT 2"))
        client.ask(wire.query("BEGIN; DECLARE f CURSOR FOR SELECT id FROM people"))
        client.ask(wire.bind("a", "portal") + SYNC)
        run = wire.execute() + SYNC
        assert "E" not in wire.shape(client.ask(wire.bind("c", values=[b"x"]) + run))
        slow.run("CREATE FUNCTION public.upper(varchar) RETURNS text LANGUAGE sql AS 'SELECT public.evil(8)::text'")
        slow.run("ALTER DOMAIN public.later ADD CHECK (public.is_fine(VALUE)) NOT VALID")
        slow.refresh()
        assert client.value("EXECUTE e") == "2"
        assert "D" in wire.shape(client.ask(wire.bind("b") + run))
        assert "D" in wire.shape(client.ask(wire.bind("b") + run))
        assert client.value("FETCH f") == "1"
        for attack in (
            wire.execute("portal") + SYNC,
            wire.bind("a") + run,
            wire.bind("d") + run,
            wire.bind("c", values=[b"x"]) + run,
            wire.query("EXECUTE d"),
            wire.query("EXPLAIN ANALYZE EXECUTE d"),
            wire.query("SELECT 1; EXECUTE e; EXECUTE d"),
        ):
            client.ask(wire.query("ROLLBACK; BEGIN"))
            (error, _) = client.ask(attack)[-2:]
            assert "rule " in error.said, (attack, error)
    assert slow.written == 0


def test_a_database_that_cannot_be_asked_is_not_read_only(postgres: Upstream, upstream_logins: tuple[Login, Login]) -> None:
    """Its sessions are refused in time; those that write need no catalog."""
    policy = {"catalog_seconds": 0.3, "catalog_stale_seconds": 1.0, "catalog_timeout_seconds": 1.0}
    with (
        running_gateway(throttle=WIDE_OPEN, policy=policy) as gateway,
        fresh_database(postgres, upstream_logins) as database,
    ):
        person, target = gateway.analyst(database, AccessMode.READ_WRITE)
        living = gateway.client(person, f"{target}:ro")
        database.superuser().execute("CREATE TYPE public.temper AS ENUM ('ok')")
        eventually(lambda: allowed(living, "SELECT 'ok'::public.temper"), 5)
        locker = database.superuser()
        with locker.transaction():
            locker.execute("LOCK TABLE pg_catalog.pg_policy IN ACCESS EXCLUSIVE MODE")
            eventually(lambda: refusal_now(living, "SELECT 'ok'::public.temper") == "catalog-stale", 8)
            living.execute("SELECT 1")
            started = time.monotonic()
            with pytest.raises(psycopg.OperationalError, match="cannot be used read-only now"):
                gateway.client(person, target)
            assert time.monotonic() - started < 3
            gateway.client(person, f"{target}:rw").execute("SELECT 1")
        eventually(lambda: allowed(living, "SELECT 'ok'::public.temper"), 8)  # the session lived on
        gateway.client(person, target).execute("SELECT 1")
