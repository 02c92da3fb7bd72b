"""The sample data: its size, its shape, and that it is the same on every machine."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from gateway.demo.postgres import PostgresServer, start_postgres
from gateway.demo.sample import SampleDatabase, UpstreamLogin, load_sample


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with start_postgres(Path(tempfile.gettempdir())) as started:
        yield started


@pytest.fixture(scope="module")
def sample(server: PostgresServer) -> SampleDatabase:
    return asyncio.run(load_sample(server))


def connect(server: PostgresServer, sample: SampleDatabase, login: UpstreamLogin) -> "psycopg.Connection[tuple[object, ...]]":
    return psycopg.connect(
        host=server.host,
        port=server.port,
        dbname=sample.name,
        user=login.name,
        password=login.password.reveal(),
        autocommit=True,
    )


def test_there_are_about_100_000_rows_in_four_schemas(server: PostgresServer, sample: SampleDatabase) -> None:
    assert 100_000 <= sample.rows <= 115_000
    with connect(server, sample, sample.read_only) as reader:
        schemas = reader.execute(
            "SELECT schemaname, count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema') "
            "GROUP BY 1 ORDER BY 1"
        ).fetchall()
    assert schemas == [("billing", 2), ("hr", 2), ("shop", 6), ("support", 2)]


def test_the_data_is_the_same_on_every_machine(server: PostgresServer, sample: SampleDatabase) -> None:
    with connect(server, sample, sample.read_only) as reader:
        digest = reader.execute(
            "SELECT md5(string_agg(c.id || c.name || c.city, '|' ORDER BY c.id)) FROM shop.customers c"
        ).fetchone()
        invoiced = reader.execute("SELECT sum(amount)::text FROM billing.invoices").fetchone()
    assert (digest, invoiced) == (("d4a4bc5d896faccda7e7644b6cbc4269",), ("5876576.50",))


def test_read_only_login_reads_everything_and_writes_nothing(server: PostgresServer, sample: SampleDatabase) -> None:
    with connect(server, sample, sample.read_only) as reader:
        for view in ("shop.best_sellers", "billing.open_invoices", "support.open_tickets"):
            rows = reader.execute(f"SELECT count(*) FROM {view}").fetchone()
            assert rows is not None
            assert rows[0] > 300
        reader.execute("SET default_transaction_read_only = off")
        for write in (
            "INSERT INTO hr.departments VALUES (9, 'X')",
            "SELECT nextval('shop.order_number')",
            "CREATE TEMP TABLE t (x int)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(write)


def test_the_hidden_write_would_work_without_the_gateway(server: PostgresServer, sample: SampleDatabase) -> None:
    """It runs with its owner's rights, so the demo's denial of it is the gateway's, not the login's."""
    with connect(server, sample, sample.read_only) as reader:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            reader.execute("SELECT shop.refresh_totals()")
        reader.execute("SET default_transaction_read_only = off")
        assert reader.execute("SELECT shop.refresh_totals() > 600").fetchone() == (True,)


def test_read_write_login_writes(server: PostgresServer, sample: SampleDatabase) -> None:
    with connect(server, sample, sample.read_write) as writer:
        order = writer.execute("INSERT INTO shop.orders (customer_id, status) VALUES (1, 'new') RETURNING id").fetchone()
        assert order is not None
        assert order[0] > 20000
        writer.execute("DELETE FROM shop.orders WHERE id = %s", order)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            writer.execute("DROP TABLE shop.orders")
