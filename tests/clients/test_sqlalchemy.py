"""SQLAlchemy on psycopg and on asyncpg: reflection, pools, read-only and read-write transactions, the ORM's unit of work."""

import asyncio
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.exc import DBAPIError, InternalError
from sqlalchemy.ext.asyncio import create_async_engine

from tests.support.doors import LARGE, LARGE_ROWS, Door

pytestmark = pytest.mark.filterwarnings("ignore:Did not recognize type 'addr'")


class Base(orm.DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "scratch"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    client: orm.Mapped[str] = orm.mapped_column(primary_key=True)
    note: orm.Mapped[str | None]


def url(door: Door, driver: str) -> str:
    return door.url(f"postgresql+{driver}", sslmode="verify-full", sslrootcert=str(door.gateway.ca_file))


@pytest.fixture(params=["psycopg", "psycopg2"])
def engine(reader: Door, request: pytest.FixtureRequest) -> Iterator[sa.Engine]:
    made = sa.create_engine(url(reader, request.param), pool_pre_ping=True, pool_size=2)
    yield made
    made.dispose()


def test_reflection_is_what_it_is_directly(engine: sa.Engine, reader: Door) -> None:
    login, upstream = reader.database.app_ro, reader.database.upstream
    place = sa.URL.create(
        engine.url.drivername, login.name, login.password.reveal(), upstream.host, upstream.port, reader.database.name
    )
    direct = sa.create_engine(place)
    assert reflected(engine) == reflected(direct)
    direct.dispose()
    tables = sa.MetaData()
    tables.reflect(engine, views=True)
    assert {"accounts", "orders", "v_accounts", "every_type"} <= set(tables.tables)
    assert [key.target_fullname for key in tables.tables["orders"].foreign_keys] == ["accounts.id"]


def reflected(engine: sa.Engine) -> list[str]:
    found = sa.inspect(engine)
    questions: list[Callable[[], Any]] = [found.get_schema_names, found.get_sequence_names, found.get_view_names]
    questions += [found.get_multi_columns, found.get_multi_indexes, found.get_multi_pk_constraint, found.get_multi_foreign_keys]
    questions += [found.get_multi_unique_constraints, found.get_multi_check_constraints, found.get_multi_table_comment]
    questions += [found.get_enums, found.get_domains, found.get_materialized_view_names]  # type: ignore[attr-defined]
    questions += [lambda: found.get_table_names("hr"), lambda: found.get_view_definition("v_accounts")]
    return [repr(sorted(answer.items()) if isinstance(answer := ask(), dict) else answer) for ask in questions]


def test_transactions_and_denials(engine: sa.Engine, reader: Door) -> None:
    with engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(Note)) is not None
        with pytest.raises((InternalError, DBAPIError), match="not allowed in a read-only session"):
            connection.execute(sa.insert(Note).values(id=1, client="sqlalchemy"))
        with pytest.raises((InternalError, DBAPIError), match="aborted"):
            connection.execute(sa.text("SELECT 1"))
        connection.rollback()
        assert connection.scalar(sa.text("SELECT 2")) == 2
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        assert connection.scalar(sa.text("SELECT 3")) == 3
    with engine.connect().execution_options(isolation_level="SERIALIZABLE") as connection:
        assert connection.scalar(sa.text("SHOW transaction_isolation")) == "serializable"
    assert reader.scratch("sqlalchemy") == []


def test_read_only_transactions(reader: Door) -> None:
    """For a whole engine they work. For one connection of a pool they do not: SQLAlchemy asks for READ WRITE afterwards."""
    read_only = {"postgresql_readonly": True}
    for driver, ping in (("psycopg", True), ("psycopg2", False)):
        engine = sa.create_engine(url(reader, driver), execution_options=read_only, pool_size=1, pool_pre_ping=ping)
        for _ in range(3):
            with engine.connect() as connection:
                assert connection.scalar(sa.text("SHOW transaction_read_only")) == "on"
        engine.dispose()
        engine = sa.create_engine(url(reader, driver), pool_size=1)
        with engine.connect().execution_options(postgresql_readonly=True) as connection:
            assert connection.scalar(sa.text("SHOW transaction_read_only")) == "on"
        with engine.connect() as connection, pytest.raises(DBAPIError, match="READ WRITE transaction is not allowed"):
            connection.execute(sa.text("SELECT 1"))
        engine.dispose()


def test_large_and_streamed_results(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        assert len(connection.execute(sa.text(LARGE)).all()) == LARGE_ROWS
        streamed = connection.execution_options(stream_results=True, max_row_buffer=500).execute(sa.text(LARGE))
        assert sum(1 for _ in streamed) == LARGE_ROWS


def test_a_session_that_was_ended_is_replaced(engine: sa.Engine, reader: Door) -> None:
    """Pre-ping finds a session that is gone, and the pool opens another one."""
    with engine.connect() as connection:
        pid = connection.scalar(sa.text("SELECT pg_backend_pid()"))
    with reader.database.upstream.connect() as admin:
        admin.execute("SELECT pg_terminate_backend(%s)", [pid])
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT pg_backend_pid()")) != pid


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_writing_with_the_orm(writer: Door, driver: str) -> None:
    client = f"sqlalchemy+{driver}"
    engine = sa.create_engine(url(writer, driver))
    with orm.Session(engine) as session, session.begin():
        session.add_all([Note(id=n, client=client, note=f"orm {n}") for n in range(3)])
        session.flush()
        session.get_one(Note, (2, client)).note = "set"
    with orm.Session(engine) as session, session.begin():
        session.delete(session.get_one(Note, (0, client)))
        with session.begin_nested() as inner:
            session.add(Note(id=9, client=client))
            session.flush()
            inner.rollback()
    engine.dispose()
    assert writer.scratch(client) == [(1, "orm 1"), (2, "set")]


async def test_asyncpg_engine(reader: Door) -> None:
    """SQLAlchemy's own dialect of asyncpg: prepared statements, JSON codecs set at connect, a server-side cursor, pre-ping."""
    context = ssl.create_default_context(cafile=str(reader.gateway.ca_file))
    engine = create_async_engine(reader.url("postgresql+asyncpg"), connect_args={"ssl": context}, pool_pre_ping=True)
    async with engine.connect() as connection:
        row = (await connection.execute(sa.text("SELECT docb, doc, numbers FROM every_type WHERE id = :id"), {"id": 1})).one()
        assert tuple(row) == ({"b": "ü"}, {"a": [1, None]}, [1, None, 3])
        with pytest.raises(DBAPIError, match="not allowed in a read-only session"):
            await connection.execute(sa.insert(Note).values(id=1, client="sqlalchemy"))
        await connection.rollback()
        streamed = await connection.stream(sa.text(LARGE))
        assert len([row async for row in streamed]) == LARGE_ROWS
        names = await connection.run_sync(lambda sync: sa.inspect(sync).get_table_names())
        assert {"accounts", "orders"} <= set(names)
    async with engine.connect() as connection:
        await connection.execution_options(postgresql_readonly=True)
        assert await connection.scalar(sa.text("SHOW transaction_read_only")) == "on"
    async with engine.connect() as connection:
        assert await connection.scalar(sa.text("SELECT 1")) == 1

    async def count() -> int:
        async with engine.connect() as connection:
            return int(await connection.scalar(sa.text("SELECT count(*) FROM accounts")) or 0)

    assert await asyncio.gather(*(count() for _ in range(20))) == [50] * 20
    await engine.dispose()


async def test_writing_with_asyncpg(writer: Door) -> None:
    context = ssl.create_default_context(cafile=str(writer.gateway.ca_file))
    engine = create_async_engine(writer.url("postgresql+asyncpg"), connect_args={"ssl": context})
    async with engine.begin() as connection:
        values = [{"id": n, "client": "sqlalchemy+asyncpg", "note": str(n)} for n in range(1000)]
        await connection.execute(sa.insert(Note), values)
        await connection.execute(sa.delete(Note).where(Note.client == "sqlalchemy+asyncpg", Note.id > 0))
    await engine.dispose()
    assert writer.scratch("sqlalchemy+asyncpg") == [(0, "0")]
