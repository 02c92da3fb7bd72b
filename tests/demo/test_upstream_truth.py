"""The fixtures that other tests trust: a fresh database, least privilege, and a checksum that sees every kind of write."""

import psycopg
import pytest

from tests.support.truth import upstream_checksum
from tests.support.upstream import Database, Upstream

# One statement per kind of thing that can be left behind.
WRITES = [
    "UPDATE accounts SET balance = balance + 1 WHERE id = 7",
    "DELETE FROM orders WHERE id = 1",
    "SELECT nextval('s1')",
    "SELECT lo_unlink(424242)",
    "SELECT lo_put(424242, 0, '\\x00')",
    "CREATE TABLE extra (x int)",
    "CREATE TEMP TABLE extra (x int)",
    "GRANT SELECT ON accounts TO PUBLIC",
    "ALTER ROLE app_ro SET work_mem = '5MB'",
    "COMMENT ON TABLE accounts IS 'changed'",
    "CREATE INDEX ON accounts (owner)",
    "REFRESH MATERIALIZED VIEW mv_totals",
    "SELECT pg_advisory_lock(7)",
    "SELECT evil_write()",
]


@pytest.mark.parametrize("write", WRITES)
def test_checksum_sees_a_write(database: Database, write: str) -> None:
    truth = database.superuser()
    before = upstream_checksum(truth)
    assert upstream_checksum(database.superuser()) == before
    writer = database.superuser()
    writer.execute(write)
    assert upstream_checksum(truth) != before
    if "ALTER ROLE" in write:  # roles are the cluster's, not the database's
        writer.execute("ALTER ROLE app_ro RESET work_mem")


def test_checksum_does_not_see_reading(database: Database) -> None:
    truth = database.superuser()
    before = upstream_checksum(truth)
    reader = database.connect(database.app_ro)
    assert reader.execute("SELECT count(*) FROM accounts").fetchone() == (50,)
    database.superuser().execute("VACUUM ANALYZE")
    assert upstream_checksum(truth) == before


@pytest.mark.parametrize(
    "attempt",
    [
        "INSERT INTO accounts (owner) VALUES ('x')",
        "CREATE TABLE extra (x int)",
        "CREATE TEMP TABLE extra (x int)",
        "SELECT nextval('s1')",
        "SELECT lo_create(0)",
        "SELECT pg_logical_emit_message(true, 'a', 'b')",
        "SELECT pg_sleep(0)",
        "SELECT pg_advisory_lock(1)",
        "SELECT query_to_xml('select 1', true, true, '')",
        "COPY accounts TO '/tmp/never'",
        "SET ROLE postgres",
    ],
)
def test_read_only_login_lacks_the_privilege(database: Database, attempt: str) -> None:
    """Also without a read-only transaction: what stops it is the missing privilege, not the mode."""
    before = upstream_checksum(database.superuser())
    login = database.connect(database.app_ro)
    login.execute("SET default_transaction_read_only = off")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        login.execute(attempt)
    login.close()
    assert upstream_checksum(database.superuser()) == before


def test_logins_have_what_they_need(database: Database) -> None:
    writer = database.connect(database.app_rw)
    writer.execute("INSERT INTO accounts (owner) VALUES ('new')")
    assert writer.execute("SELECT count(*) FROM accounts").fetchone() == (51,)
    reader = database.connect(database.app_ro)
    assert reader.execute("SHOW default_transaction_read_only").fetchone() == ("on",)
    assert reader.execute("SELECT count(*) FROM v_accounts, hr.people, mv_totals").fetchone() == (51 * 2 * 50,)


def test_upstream_has_a_verifiable_certificate_when_it_speaks_tls(postgres: Upstream) -> None:
    with postgres.connect(
        sslmode="verify-full" if postgres.has_tls else "disable", sslrootcert=str(postgres.ca_file)
    ) as connection:
        in_use = connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone()
    assert in_use == (postgres.has_tls,)
