"""Temporary tables of read-only sessions, on a real server: what passes runs, and leaves nothing behind even for a superuser."""

import time
from collections.abc import Iterator

import psycopg
import pytest

from gateway.access_mode import AccessMode, GrantOption
from gateway.statements.catalog import Catalog
from gateway.statements.in_session import hides
from gateway.statements.policy import Policy, judge, relabel
from gateway.statements.verdict import Verdict
from tests.core.granted import granted
from tests.policy.test_policy_database import _FOLDER, Prepared, _prepared
from tests.support.truth import upstream_checksum
from tests.support.upstream import Upstream

OPTIONS = frozenset({GrantOption.TEMPORARY_TABLES})


@pytest.fixture(scope="module")
def objects(postgres: Upstream) -> Iterator[Prepared]:
    # The checksum reads every table, and must change none by that.
    without = "DROP TABLE planned, checked, yearly, measured, spread_out, ordered, indexed"
    yield from _prepared(postgres, "granted", [(_FOLDER / "objects.sql").read_text(), without])


def verdict_of(sql: str, catalog: Catalog, options: frozenset[GrantOption] = OPTIONS) -> Verdict:
    policy = Policy(AccessMode.READ_ONLY, options=options, server_major=catalog.server_major, catalog=catalog)
    return judge(sql.encode(), policy)


class Session:
    """A read-only session as the gateway makes one of it: what lifts the mode runs alone, in a transaction that may write."""

    def __init__(self, prepared: Prepared) -> None:
        self.connection = prepared.upstream.connect(prepared.name)
        self.connection.execute("SET default_transaction_read_only = on")
        self.pid = self.connection.info.backend_pid
        self._prepared = prepared

    def raw(self, sql: str) -> None:
        """As it is, in a transaction that may write."""
        with self.connection.transaction():
            self.connection.execute("SET LOCAL transaction_read_only = off")
            self.connection.execute(sql.encode())

    def run(self, sql: str) -> Verdict:
        verdict = verdict_of(sql, self._prepared.catalog)
        assert verdict.allowed, (sql, verdict)
        sent = relabel(sql.encode(), verdict, "").decode()
        if verdict.lifts_read_only:
            self.raw(sent)
        elif sent.startswith("COPY"):
            with self.connection.cursor().copy(sent.encode()) as copied:
                if "FROM STDIN" in sent:
                    copied.write("a,b\n2,z\n" if "HEADER" in sent else "1\tz\t3\n")
                else:
                    list(copied)
        else:
            self.connection.execute(sent.encode())
        return verdict

    def close(self) -> None:
        """Temporary tables are gone when the server's process is."""
        self.connection.close()
        until = time.monotonic() + 10
        with self._prepared.upstream.connect() as admin:
            while admin.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [self.pid]).fetchone():
                assert time.monotonic() < until
                time.sleep(0.01)


#: Texts that newer servers only know, and what they need beside the table x.
_NEWER = {"MERGE": 15}
_TABLE = (
    "CREATE TEMP TABLE x (a int, b text, c int, UNIQUE (a)); "
    " INSERT INTO x VALUES (7, 'b', 1); CREATE UNIQUE INDEX ON x (a) WHERE a > 0"
)


def test_what_passes_runs_and_leaves_nothing_behind(objects: Prepared) -> None:
    ran = 0
    with objects.upstream.connect(objects.name) as admin:
        before = upstream_checksum(admin)
        for entry in granted("temp"):
            if entry.expect != "allow" or objects.upstream.major < _NEWER.get(entry.sql.split()[0], 0):
                continue
            session = Session(objects)
            if not (entry.made or "ON COMMIT DROP" in entry.sql):
                session.raw(_TABLE + ("; CREATE INDEX i ON x (b)" if "DROP INDEX" in entry.sql else ""))
            try:
                session.run(entry.sql)
            except psycopg.Error as error:
                raise AssertionError(f"{entry.id}: {entry.sql}: {error}") from error
            finally:
                session.close()
            assert upstream_checksum(admin) == before, entry.sql
            ran += 1
    assert ran >= 60


def test_what_an_analyst_does_with_one_works(objects: Prepared) -> None:
    session = Session(objects)
    for sql in (
        "CREATE TEMP TABLE best AS SELECT id, name, total FROM customers ORDER BY total DESC LIMIT 5",
        "CREATE INDEX ON best (total)",
        "ANALYZE best",
        "BEGIN",
        "INSERT INTO best SELECT id, name, total FROM customers WHERE id = 1",
        "UPDATE best SET total = total * 2 WHERE id = 1",
        "DELETE FROM best WHERE id = 9",
        "COMMIT",
        "COPY best TO STDOUT",
        "EXPLAIN ANALYZE SELECT * FROM best JOIN orders ON orders.customer = best.id",
        "PREPARE add (int) AS INSERT INTO best (id) VALUES ($1)",
        "EXECUTE add (3)",
        "TRUNCATE best",
        "SELECT id, stage, at, mail INTO TEMP staged FROM things WHERE stage = 'new'",
        "INSERT INTO staged SELECT id, stage, at, mail FROM things",
        "DROP TABLE IF EXISTS staged",
        "DROP TABLE best",
    ):
        session.run(sql)
    session.close()


def test_a_name_that_is_no_temporary_table_any_more_changes_no_real_one(objects: Prepared) -> None:
    """A real table takes the name: the edit leaves it alone, whatever the session still believes."""
    admin = objects.upstream.connect(objects.name)
    session = Session(objects)
    session.run("CREATE TEMP TABLE coming (a int)")
    session.raw("CREATE TABLE public.coming (a int); INSERT INTO public.coming VALUES (1); DROP TABLE pg_temp.coming")
    before = upstream_checksum(admin)
    for sql in (
        "DROP TABLE coming",
        "TRUNCATE coming",
        "ANALYZE coming",
        "CREATE INDEX ON coming (a)",
        "INSERT INTO coming VALUES (2)",
        "DELETE FROM coming",
        "DROP INDEX coming_a_idx",
    ):
        with pytest.raises(psycopg.Error) as found:
            session.run(sql)
        assert found.value.sqlstate in ("42P01", "42704"), sql
    session.run("DROP TABLE IF EXISTS coming")
    session.close()
    assert upstream_checksum(admin) == before
    admin.execute("DROP TABLE public.coming")
    admin.close()


REFUSED = {
    "temporary-table-form": [
        *("CREATE TEMP TABLE customers (a int)", "CREATE TEMP TABLE plain_view (a int)", "CREATE TEMP TABLE stage (a int)"),
        *("SELECT 1 AS a INTO TEMP orders", "CREATE TEMP TABLE things AS SELECT 1", "CREATE TEMP TABLE kept (a int)"),
    ],
    "type-not-listed": [
        *("CREATE TEMP TABLE x (a watched)", "CREATE TEMP TABLE x (a watched[])", "CREATE TEMP TABLE x (a wrapped)"),
        *("CREATE TEMP TABLE x (a release)", "CREATE TEMP TABLE x (a amount)", "CREATE TEMP TABLE x (a watched_span)"),
        *("CREATE TEMP TABLE x (a public.watched_more)", "CREATE TEMP TABLE x AS SELECT NULL::watched AS a"),
    ],
    "user-type": [
        "CREATE TEMP TABLE x AS SELECT w FROM things",
        "CREATE TEMP TABLE x AS SELECT * FROM things",
        "SELECT w INTO TEMP x FROM things",
        "CREATE TEMP TABLE x AS TABLE things",
        "CREATE TEMP TABLE x AS SELECT t FROM things t",
        "CREATE TEMP TABLE x (LIKE things)",
        "INSERT INTO x SELECT w FROM things",
        "INSERT INTO x SELECT * FROM things",
        "INSERT INTO x SELECT a FROM things",
        "UPDATE x SET a = t.w FROM things t",
        "MERGE INTO x USING things t ON t.id = x.a WHEN NOT MATCHED THEN INSERT VALUES (t.r)",
        "CREATE TEMP TABLE x AS WITH q AS (SELECT w AS harmless FROM things) SELECT harmless FROM q",
    ],
    "function-not-listed": [
        "CREATE TEMP TABLE x AS SELECT touch(1)",
        "CREATE TEMP TABLE x (a int DEFAULT touch(1))",
        "INSERT INTO x VALUES (touch(1))",
        "CREATE TEMP TABLE x (a int CHECK (public.touch(a) = 1))",
        "CREATE INDEX ON x (loud(b))",
        "DELETE FROM x RETURNING touch(1)",
    ],
    "view-not-allowed": ["CREATE TEMP TABLE x AS SELECT * FROM noting_view", "INSERT INTO x SELECT t FROM noting_view"],
    "row-policy": ["CREATE TEMP TABLE x AS SELECT id FROM noted_rows"],
    "attribute-call": [
        "CREATE TEMP TABLE x AS SELECT c.describe FROM customers c",
        "INSERT INTO x SELECT c.describe FROM customers c",
    ],
    "operator-not-listed": ["CREATE TEMP TABLE x (a bool DEFAULT 1 <~> 2)", "UPDATE x SET a = 1 WHERE a <~> 2"],
}


@pytest.mark.parametrize(("rule", "sql"), [(rule, sql) for rule, texts in REFUSED.items() for sql in texts])
def test_what_the_database_holds_stays_closed(objects: Prepared, rule: str, sql: str) -> None:
    verdict = verdict_of(sql, objects.catalog)
    assert (verdict.allowed, verdict.rule) == (False, rule)
    assert verdict.hint


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TEMP TABLE x (a stage, b place, c email, d span, e stage[])",
        "CREATE TEMP TABLE x AS SELECT id, stage, stages, at, mail, s FROM things",
        "CREATE TEMP TABLE x AS SELECT * FROM plain_view",
        "CREATE TEMP TABLE x (LIKE plain_view)",
        "INSERT INTO x SELECT id, mail FROM things",
        "CREATE TEMP TABLE x AS SELECT c.name, o.total FROM customers c JOIN orders o ON o.customer = c.id",
    ],
)
def test_what_is_open_may_be_kept(objects: Prepared, sql: str) -> None:
    assert verdict_of(sql, objects.catalog).allowed


def test_a_column_is_vouched_for_by_a_table_that_no_temporary_one_hides(objects: Prepared) -> None:
    """`shop.anything` is a call when a temporary table shop without that column comes first: the session must have none."""
    catalog = objects.catalog_with("CREATE TABLE public.shop (anything int)")
    text = "SELECT shop.anything FROM shop"
    verdict = verdict_of(text, catalog)
    assert (verdict.allowed, verdict.not_temporary) == (True, ("shop",))
    refused = hides(verdict, "shop")
    assert (refused.allowed, refused.rule, refused.not_temporary) == (False, "temporary-table-form", ())
    for sql in ("SELECT s.anything FROM public.shop s", "SELECT shop.other FROM shop", "SELECT anything FROM shop"):
        assert verdict_of(sql, catalog).allowed
        assert verdict_of(sql, catalog).not_temporary == ()
    assert verdict_of(text, catalog, frozenset()).not_temporary == ()
    assert verdict_of("CREATE TEMP TABLE shop (b int)", catalog).rule == "temporary-table-form"
    assert verdict_of(text, objects.catalog).rule == "attribute-call"


def test_that_call_is_real(objects: Prepared) -> None:
    session = Session(objects)
    session.raw("CREATE TEMP TABLE shop (b int); INSERT INTO shop VALUES (1)")
    with pytest.raises(psycopg.Error) as found:
        session.connection.execute("SELECT shop.anything FROM shop")
    assert found.value.sqlstate == "25006"  # it would write
    session.close()


def test_an_assignment_cast_of_users_closes_what_assigns(objects: Prepared) -> None:
    setup = (
        "CREATE FUNCTION public.noted_int(text) RETURNS int LANGUAGE plpgsql AS"
        " $$ BEGIN RETURN public.record_call($1); END $$;"
        " CREATE CAST (text AS int) WITH FUNCTION public.noted_int(text) AS ASSIGNMENT"
    )
    closed = (
        "INSERT INTO x SELECT name FROM customers",
        "UPDATE x SET a = b",
        "CREATE TEMP TABLE x (a int DEFAULT 'b'::text)",
        "CREATE TEMP TABLE x (a text, b int GENERATED ALWAYS AS (a) STORED)",
    )
    catalog = objects.catalog_with(setup)
    for sql in closed:
        assert verdict_of(sql, catalog).rule == "cast-not-listed", sql
    for sql in ("SELECT name FROM customers", "CREATE TEMP TABLE x (a text)"):
        assert verdict_of(sql, catalog).allowed
