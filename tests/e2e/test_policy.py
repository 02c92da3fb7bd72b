"""S, end to end: what a read-only session cannot do, judged by what is in the database afterwards."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from gateway.access_mode import AccessMode
from tests.support.gateway import RunningGateway, running_gateway
from tests.support.oracle import Twins
from tests.support.truth import upstream_checksum
from tests.support.upstream import Database, Login, Upstream, fresh_database
from tests.support.wire import SYNC, Closed, Refused, bind, copy_data, execute, packet, parse, query

CORPUS = Path(__file__).parent.parent / "policy" / "corpus.jsonl"
NEIGHBOUR_SECONDS = 2.0  # generous, for a busy machine: it must not wait for the text; some 0.02 to 0.2 are usual

_ALLOW_ALL = """
import sys
if "gateway.app" in sys.orig_argv:
    import gateway.statements.policy as policy
    from gateway.statements.verdict import Facts, Verdict
    policy.judge = lambda sql, of: Verdict(True, "allowed", Facts("select"))
"""


@pytest.fixture(scope="module")
def blind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway whose statement policy allows everything."""
    directory = tmp_path_factory.mktemp("blind")
    (directory / "sitecustomize.py").write_text(_ALLOW_ALL)
    with contextlib.ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:  # for this gateway alone
            patch.setenv("PYTHONPATH", str(directory))
            running = stack.enter_context(running_gateway(policy={"judge_inline_bytes": 1_000_000}))
        yield running


@pytest.fixture(scope="module")
def blind_reader(blind: RunningGateway, postgres: Upstream, upstream_logins: tuple[Login, Login]) -> Iterator[Twins]:
    with fresh_database(postgres, upstream_logins) as database:
        yield Twins(blind, database, *blind.analyst(database), AccessMode.READ_ONLY)


WRITES = [
    "INSERT INTO accounts (owner) VALUES ('x')",
    "UPDATE accounts SET balance = 0",
    "DELETE FROM orders",
    "TRUNCATE audit",
    "WITH gone AS (DELETE FROM orders RETURNING 1) SELECT count(*) FROM gone",
    "SELECT nextval('s1')",
    "SELECT setval('s1', 99)",
    "SELECT evil_write()",
    "SELECT evil_secdef()",
    "SELECT lo_create(0)",
    "SELECT lo_unlink(424242)",
    "SELECT lo_put(424242, 0, 'x')",
    "CREATE TABLE public.mine (a int)",
    "CREATE TEMP TABLE mine (a int)",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE ROLE eve",
    "DROP TABLE accounts",
    "ALTER TABLE accounts ADD COLUMN c int",
    "GRANT ALL ON accounts TO PUBLIC",
    "COMMENT ON TABLE accounts IS 'mine'",
    "COPY accounts FROM STDIN",
    "COPY (SELECT 1) TO PROGRAM 'touch /tmp/mine'",
    "COPY accounts TO '/tmp/mine'",
    "SELECT pg_read_file('/etc/passwd')",
    "REFRESH MATERIALIZED VIEW mv_totals",
    "LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE",
    "SELECT * FROM accounts FOR UPDATE",
    "SET ROLE app_rw",
    "SET SESSION AUTHORIZATION postgres",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_logical_emit_message(false, 'x', 'y')",
    "SELECT query_to_xml('DELETE FROM orders', true, true, '')",
    "NOTIFY x",
    "SELECT pg_notify('x', 'y')",
]
UNDONE = ["BEGIN READ WRITE", "SET default_transaction_read_only = off", "BEGIN; SET LOCAL transaction_read_only = off"]
#: Its owner lets everybody write through it, so that only the read-only transaction (and the policy) holds it.
HELD_BY_READ_ONLY = {"SELECT evil_secdef()"}
CHANGES_NOTHING = {"NOTIFY x", "GRANT ALL ON accounts TO PUBLIC"}  # the second with a warning: nothing to grant


@pytest.mark.parametrize("undone", ["", *UNDONE], ids=["as it is", *UNDONE])
def test_s01_writes_fail_without_the_parser(blind_reader: Twins, undone: str) -> None:
    """The upstream role alone refuses them, and the read-only transaction before it: nothing is different afterwards."""
    admin = blind_reader.database.superuser()
    before = upstream_checksum(admin)
    for sql in WRITES:
        if undone and sql in HELD_BY_READ_ONLY:
            continue
        with contextlib.suppress(Closed), blind_reader.through() as client:  # a tripwire may cut it
            for statement in [undone] if undone else []:
                client.ask(query(statement))
            if sql.endswith("STDIN"):
                client.send(query(sql), copy_data(b"1\n"), packet("c"))
                answer = client.until("Z")
            else:
                answer = client.ask(query(sql))
            if sql not in CHANGES_NOTHING:
                assert any(message.kind == "E" for message in answer), (sql, answer)
            client.ask(query("COMMIT"))
    assert upstream_checksum(admin) == before


def test_s01_the_refused_half_of_the_corpus(blind_reader: Twins) -> None:
    """Every attack of the study, each in a session of its own, without the parser: the database stays as it was."""
    admin = blind_reader.database.superuser()
    admin.execute("REVOKE EXECUTE ON FUNCTION evil_secdef() FROM PUBLIC")  # its owner lets it write; the policy refuses it
    before = upstream_checksum(admin)
    cases = [json.loads(line) for line in CORPUS.read_text().splitlines()]
    refused = [case for case in cases if case["expect"] == "refuse" and case["layer"] == "parse"]
    assert len(refused) > 100
    for case in refused:
        connection = blind_reader.gateway.client(blind_reader.person, blind_reader.target, options="-c statement_timeout=500")
        try:
            for step in case["steps"]:
                try:
                    connection.execute(step["sql"])
                except (psycopg.Error, TypeError, UnicodeError):
                    connection.pgconn.exec_(b"ROLLBACK") if not connection.closed else None
        finally:
            connection.close()
    assert upstream_checksum(admin) == before


def test_s10_read_only_cannot_be_undone(reader: Twins) -> None:
    """Refused as text, in every position and protocol, though PostgreSQL itself would allow each."""
    ways = [
        "BEGIN READ WRITE",
        "START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ WRITE",
        "SET TRANSACTION READ WRITE",
        "SET transaction_read_only = off",
        "SET LOCAL transaction_read_only TO 0",
        "SET default_transaction_read_only = off",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
        "SELECT set_config('transaction_read_only', 'off', false)",
        "SELECT set_config('default_' || 'transaction_read_only', 'off', false)",
        "COMMIT AND CHAIN; SET transaction_read_only = off",
        'SET "Transaction_Read_Only" = false',
        "RESET transaction_read_only",
    ]
    admin = reader.database.superuser()
    before = upstream_checksum(admin)
    with reader.through() as client:
        for sql in ways:
            for ask in (
                query(sql),
                parse(sql) + SYNC,
                parse("SELECT 1") + bind() + execute() + parse(sql) + bind() + execute() + SYNC,
            ):
                codes = [m.sqlstate for m in client.ask(ask) if m.kind == "E"]
                assert codes in (["25006"], ["42501"]), (sql, codes)
            assert client.value("SHOW transaction_read_only") == "on"
            assert client.value("SHOW default_transaction_read_only") == "on"
    assert upstream_checksum(admin) == before


def test_s10_reset_all_and_discard_all_undo_nothing(reader: Twins) -> None:
    """S12: everything enforced is a startup value of the session, and survives."""
    with reader.through() as client:
        for sql in ("RESET ALL", "DISCARD ALL", "RESET default_transaction_read_only", "DEALLOCATE ALL"):
            client.ask(query(sql))
            assert client.value("SHOW default_transaction_read_only") == "on"
            assert client.value("SHOW standard_conforming_strings") == "on"
            assert client.value("SHOW client_encoding") == "UTF8"
            assert client.value("SHOW application_name").startswith(f"{reader.person.name}/")


_PAYLOAD = r"SELECT 'a\'; DELETE FROM accounts; --'"


def test_s20_a_role_that_turns_off_standard_strings(gateway: RunningGateway, database: Database) -> None:
    """Our startup value wins over the role's default: the payload stays one string (or an error), nothing is deleted."""
    admin = database.superuser()
    admin.execute(f'ALTER ROLE app_ro IN DATABASE "{database.name}" SET standard_conforming_strings = off')
    admin.execute(f'ALTER ROLE app_ro IN DATABASE "{database.name}" SET default_transaction_read_only = off')
    before = upstream_checksum(admin)
    person, target = gateway.analyst(database)
    twins = Twins(gateway, database, person, target, AccessMode.READ_ONLY)
    with twins.through() as client:
        assert client.value("SHOW standard_conforming_strings") == "on"
        assert client.value("SHOW default_transaction_read_only") == "on"
        answer = client.ask(query(_PAYLOAD))
        assert answer[0].kind == "E" or answer[1].values == [b"a\\'; DELETE FROM accounts; --"]
        for way in (
            "SET standard_conforming_strings = off",
            "SELECT set_config('standard_conforming_strings', 'off', false)",
            "SET LOCAL standard_conforming_strings = off",
        ):
            assert client.ask(query(way))[0].sqlstate == "42501"
        client.ask(query("RESET ALL"))
        client.ask(query("RESET standard_conforming_strings"))
        assert client.value("SHOW standard_conforming_strings") == "on"
    for parameters in ({"standard_conforming_strings": "off"}, {"options": "-c standard_conforming_strings=off"}):
        with pytest.raises(Refused) as caught:
            twins.through(**parameters)
        assert caught.value.sqlstate == "42501"
    assert upstream_checksum(admin) == before


ENCODINGS = ("SJIS", "BIG5", "GBK", "GB18030", "JOHAB", "UHC", "LATIN1", "SQL_ASCII", "WIN1252")


def test_s21_encodings(reader: Twins) -> None:
    """No way to another client encoding, and bytes that only make sense in one are 22021."""
    with reader.through() as client:
        for encoding in ENCODINGS:
            for way in (
                f"SET client_encoding = '{encoding}'",
                f"SET NAMES '{encoding}'",
                f"SELECT set_config('client_encoding', '{encoding}', false)",
                f"SET LOCAL client_encoding TO {encoding}",
            ):
                answer = client.ask(query(way))
                assert any(m.sqlstate == "42501" for m in answer if m.kind == "E"), way
        assert client.value("SHOW client_encoding") == "UTF8"
        for lead in (b"\x95", b"\x81", b"\xa1", b"\xbf", b"\xc0", b"\xed\xa0\x80", b"\xf5\x80\x80\x80"):
            for payload in (b"SELECT '" + lead + b"\\'; DELETE FROM accounts; --'", b"SELECT '" + lead + b"'"):
                assert client.ask(query(payload))[0].sqlstate == "22021"
                with reader.direct() as direct:
                    assert direct.ask(query(payload))[0].sqlstate == "22021"
        assert client.value("SELECT 1") == "1"


def _too_deep() -> dict[str, str]:
    return {
        "64,000 additions": "SELECT 1" + "+1" * 64_000,
        "30,000 casts": "SELECT 1" + "::int" * 30_000,
        "20,000 parentheses": "SELECT " + "(" * 20_000 + "1" + ")" * 20_000,
        "50,000 ANDs": "SELECT true" + " AND true" * 50_000,
        "5,000 sub-selects": "SELECT " + "(SELECT " * 5_000 + "1" + ")" * 5_000,
        "50,000 NOTs": "SELECT " + "NOT " * 50_000 + "true",
        "an IN list of 900 KB": "SELECT 1 WHERE 1 IN (" + "123456," * 128_000 + "1)",
        "a literal of 900 KB": "SELECT length('" + "x" * 900_000 + "')",
        "a literal of 15 MB": "SELECT length('" + "x" * 15_000_000 + "')",
        "comments in comments": "/*" * 40_000 + "*/" * 40_000 + " SELECT 1",
        "many statements": "SELECT 1;" * 20_000,
        "operators": "SELECT 1 " + "-" * 2_000 + "1",
    }


@pytest.mark.parametrize("name", _too_deep().keys())
def test_s38_texts_that_are_too_much(reader: Twins, name: str) -> None:
    """Answered or refused by 54001, 54000, 42601: the worker lives, and its neighbours do not wait."""
    text = _too_deep()[name]
    pid = reader.gateway.worker_pids()[0]
    slowest = [0.0]
    stop = threading.Event()

    def neighbour() -> None:
        with reader.through() as other:
            while not stop.is_set():
                started = time.monotonic()
                assert other.value("SELECT 1") == "1"
                slowest[0] = max(slowest[0], time.monotonic() - started)
                time.sleep(0.002)

    thread = threading.Thread(target=neighbour)
    thread.start()
    try:
        with reader.through() as client:
            for ask in (query(text), parse(text) + SYNC):
                client.send(ask)
                answer = client.until("Z", seconds=30)
                codes = [m.sqlstate for m in answer if m.kind == "E"]
                assert codes in ([], ["54001"], ["54000"], ["42601"]), codes
            assert client.value("SELECT 2") == "2"
    finally:
        stop.set()
        thread.join()
    print(f"{name}: the neighbour's slowest answer took {slowest[0] * 1e3:.0f} ms")
    assert slowest[0] < NEIGHBOUR_SECONDS
    assert reader.gateway.worker_pids()[0] == pid


def test_s03_one_of_each_kind_of_statement(reader: Twins) -> None:
    """The corpus' statements one after the other in one session: the worker lives, and every answer ends as it must."""
    admin = reader.database.superuser()
    before = upstream_checksum(admin)
    cases = [json.loads(line) for line in CORPUS.read_text().splitlines()]
    with reader.through(options="-c statement_timeout=2000") as client:
        for case in cases:
            if case["layer"] != "parse" or case["expect"] != "refuse" or len(case["steps"]) > 1:
                continue
            sql = case["steps"][0]["sql"]
            answer = client.ask(query(sql))
            assert any(m.kind == "E" for m in answer), case["id"]
            client.ask(query("ROLLBACK"))
    assert upstream_checksum(admin) == before
