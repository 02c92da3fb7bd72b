"""PostgreSQL's JDBC driver, as DBeaver, DataGrip, Metabase and every Java program use it."""

import os
from pathlib import Path

import pytest

from gateway.access_mode import AccessMode
from tests.support.doors import LARGE_ROWS, Door, missing, program, run
from tests.support.gateway import RunningGateway
from tests.support.upstream import Database

_SOURCE = Path(__file__).parent / "jdbc" / "Visit.java"
_JARS = "/usr/share/java/postgresql.jar"
_PACKAGES = "default-jdk-headless libpostgresql-jdbc-java"


def visit(part: str, url: str, user: str, password: str) -> dict[str, str]:
    """The outcome of each step."""
    program("javac", _PACKAGES)  # a source file is run, which wants the compiler
    jar = os.environ.get("PGBASTION_TEST_JDBC", _JARS)
    if not Path(jar).exists():
        missing(jar, _PACKAGES)
    environment = {**os.environ, "JDBC_URL": url, "JDBC_USER": user, "JDBC_PASSWORD": password, "LC_ALL": "C.UTF-8"}
    options = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8"]
    done = run([program("java", _PACKAGES), *options, "-cp", jar, _SOURCE, part], environment)
    assert done.returncode == 0, done.stderr
    return dict(line.split("\t", 1) for line in done.stdout.splitlines())


def through(part: str, door: Door) -> dict[str, str]:
    gateway = door.gateway
    tls = f"sslmode=verify-full&sslrootcert={gateway.ca_file}"
    url = f"jdbc:postgresql://{gateway.host}:{gateway.port}/{door.dbname}?{tls}"
    return visit(part, url, door.person.name, door.person.password)


@pytest.fixture(scope="module")
def reading(reader: Door) -> dict[str, str]:
    return through("read", reader)


_EXPECTED = {
    "select": "hello",
    "denial": "25006, then still here",
    "denial, prepared": "25006, then still here",
    "aborted transaction": "25006 25P02 after",
    "autosave": "25006 after",
    "several statements at once": "1 25006",
    "prepared after five uses": "380 t",
    "query mode simple": "ab 25006 after",
    "query mode extended": "ab 25006 after",
    "query mode extendedForPrepared": "ab 25006 after",
    "query mode extendedCacheEverything": "ab 25006 after",
    "asking the gateway simple": "read_only int4 42501",
    "asking the gateway extended": "read_only int4 42501",
    "asking the gateway extendedCacheEverything": "read_only int4 42501",
    "large result": str(LARGE_ROWS),
    "large result by fetch size": str(LARGE_ROWS),
    "max rows": "10",
    "cancel": "57014 after",
    "query timeout": "57014 after",
    "isolation": "serializable",
    "copy out": "21",
    "client info": "true",
    "assume minimal version": "hello",
    "read only": "on on 25006",
    "read only mode ignore": "on on",
    "read only mode transaction": "on on",
}


@pytest.mark.parametrize("step", _EXPECTED)
def test_reading(reading: dict[str, str], step: str) -> None:
    assert reading[step] == _EXPECTED[step]


def test_types(reading: dict[str, str]) -> None:
    """In text and, after the fifth use, in binary."""
    seen = reading["types"].split("|")
    assert seen[:4] == [str(2**40), "1.10", "Grüße", "2"]
    assert seen[4:7] == ["00112233-4455-6677-8899-aabbccddeeff", "2024-02-29T12:34:56.789012Z", '{"1",NULL}']
    assert seen[7:9] == ['{"a": 1}', "ok"]
    assert "1 days 2 hours 3 mins 4.0 secs" in seen[10]


def test_the_application_s_name_keeps_its_label(reading: dict[str, str], reader: Door) -> None:
    schema, valid, name = reading["schema and network"].split(" ", 2)
    assert (schema, valid) == ("public", "true")
    assert name.startswith(f"{reader.person.name}/")
    assert name.endswith(" PostgreSQL JDBC Driver")


def test_what_is_refused_and_says_so(reading: dict[str, str]) -> None:
    """Large objects use the fast path; readOnlyMode=always sets the session to READ WRITE when it is switched off."""
    assert reading["large object"].startswith("failed: 0A000")
    assert reading["read only mode always"].startswith("failed: 25006")


def test_writing(writer: Door) -> None:
    outcome = through("write", writer)
    assert outcome == {
        "batch": "300",
        "batch, rewritten": "100",
        "copy in": "1",
        "generated keys": "21",
        "updatable rows": "done",
        "transaction": "400",
        "notify": "hello",
    }
    assert writer.scratch("jdbc") == [(20, "copied"), (21, "updated")]


def test_limits_of_a_grant(gateway: RunningGateway, clients_database: Database) -> None:
    """A fetch size reads one statement in portions: they count together. A portion that was cut is no row to the driver."""
    person, target = gateway.analyst(clients_database, max_rows=100, max_sessions=5)
    door = Door(gateway, clients_database, person, target, AccessMode.READ_ONLY)
    assert through("limits", door) == {
        "few rows by fetch size": "100 rows, all, after",
        "many rows by fetch size": "90 rows, 54000, after",
        "many rows at once": "0 rows, 54000, after",
        "many rows, first fifty": "50",
        "copy out": "100 rows, 54000, after",
        "as many connections as a tool opens": "53300 there there there there",
    }


def test_metadata_is_what_it_is_directly(reader: Door) -> None:
    """Everything a tool's object tree is made of."""
    with reader.database.superuser() as admin:
        admin.execute("VACUUM ANALYZE")  # else the server may do so between the two looks: sizes of indexes are among them
    upstream, login = reader.database.upstream, reader.database.app_ro
    url = f"jdbc:postgresql://{upstream.host}:{upstream.port}/{reader.database.name}?sslmode=prefer"
    direct = visit("metadata", url, login.name, login.password.reveal())
    found = through("metadata", reader)
    assert found.pop("getCatalogs") == f"{reader.target}|;"  # the driver answers what it was told to connect to
    assert direct.pop("getCatalogs") == f"{reader.database.name}|;"
    assert found == direct
    assert "accounts" in direct["getTables"]
    assert not [name for name, outcome in direct.items() if outcome.startswith("failed")]
