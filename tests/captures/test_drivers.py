"""What Python drivers ask by themselves: types and their codecs, cursors, COPY, SQLAlchemy's inspector with every method."""

import asyncio
import inspect
import ssl
from collections.abc import Callable
from typing import Any

import asyncpg
import psycopg
import psycopg2
import psycopg2.extras
import pytest
import sqlalchemy as sa
from psycopg.types import TypeInfo
from psycopg.types.composite import CompositeInfo, register_composite
from psycopg.types.enum import EnumInfo, register_enum
from psycopg.types.hstore import register_hstore
from psycopg.types.multirange import MultirangeInfo
from psycopg.types.range import RangeInfo, register_range
from sqlalchemy.ext.automap import automap_base

from tests.support.doors import Door

pytestmark = pytest.mark.filterwarnings("ignore:Did not recognize type", "ignore:Skipped unsupported reflection")
_ROW = "SELECT home, seen, notes, grown FROM app.customers ORDER BY id"


def test_psycopg_looks_up_types(door: Door) -> None:
    with psycopg.connect(**door.libpq(application_name="psycopg"), autocommit=True) as connection:
        for kind, name in (
            (EnumInfo, "app.stage"),
            (CompositeInfo, "app.address"),
            (RangeInfo, "app.span"),
            (TypeInfo, "hstore"),
            (TypeInfo, "app.age"),
        ):
            assert kind.fetch(connection, name) is not None
        if connection.info.server_version >= 140000:
            assert MultirangeInfo.fetch(connection, "app.multispan") is None
        address, span = CompositeInfo.fetch(connection, "app.address"), RangeInfo.fetch(connection, "app.span")
        stage, store = EnumInfo.fetch(connection, "app.stage"), TypeInfo.fetch(connection, "hstore")
        assert address
        assert span
        assert stage
        assert store
        register_composite(address, connection)
        register_range(span, connection)
        register_enum(stage, connection)
        register_hstore(store, connection)
        assert connection.execute(_ROW).fetchall()[0][0].tags == ["a", "b"]
        with connection.pipeline():
            assert connection.execute("SELECT stage FROM app.bookings").fetchone() is not None
        with connection.transaction(), connection.cursor("named") as cursor:
            assert len(cursor.execute("SELECT * FROM app.customers").fetchmany(1)) == 1
        with connection.cursor().copy("COPY (TABLE app.customers) TO STDOUT (FORMAT binary)") as copy:
            assert b"".join(bytes(part) for part in copy).startswith(b"PGCOPY")
    assert door.denials("psycopg") == []


def test_psycopg2_looks_up_types(door: Door) -> None:
    connection = psycopg2.connect(**door.libpq(application_name="psycopg2"))
    psycopg2.extras.register_composite("app.address", connection)
    psycopg2.extras.register_hstore(connection)
    psycopg2.extras.register_range("app.span", "Span", connection)
    psycopg2.extras.register_uuid(conn_or_curs=connection)
    psycopg2.extras.register_default_jsonb(connection)
    with connection, connection.cursor("named") as cursor:
        cursor.execute(_ROW)
        assert cursor.fetchone()[0].tags == ["a", "b"]
    with connection, connection.cursor() as cursor:
        cursor.callproc("lower", ["ABC"])
        assert cursor.fetchone() == ("abc",)
    connection.reset()
    connection.set_session(readonly=True, isolation_level="REPEATABLE READ", deferrable=True)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    connection.close()
    assert door.denials("psycopg2") == []


async def test_asyncpg_looks_up_types(door: Door) -> None:
    context = ssl.create_default_context(cafile=str(door.gateway.ca_file))
    settings = {"application_name": "asyncpg"}
    connection = await asyncpg.connect(door.url(), ssl=context, server_settings=settings)
    assert (await connection.fetch(_ROW))[0]["home"]["tags"] == ["a", "b"]
    assert await connection.fetch("SELECT stage, ARRAY[stage] FROM app.bookings")
    await connection.set_builtin_type_codec("hstore", schema="public", codec_name="pg_contrib.hstore")
    await connection.set_type_codec("stage", schema="app", encoder=str, decoder=str, format="text")
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=str, decoder=str)
    await connection.reset_type_codec("jsonb", schema="pg_catalog")
    await connection.reload_schema_state()
    assert await connection.fetch("SELECT 'a=>1'::hstore, c FROM app.customers c")
    async with connection.transaction(readonly=True, isolation="repeatable_read"):
        assert [row async for row in connection.cursor("SELECT * FROM app.bookings", prefetch=1)]
    assert connection.get_server_version().major >= 13
    await connection.reset()
    await connection.close()
    async with asyncpg.create_pool(door.url(), ssl=context, server_settings=settings, min_size=2, max_size=2) as pool:
        await asyncio.gather(*(pool.fetchval("SELECT 1") for _ in range(5)))
    assert door.denials("asyncpg") == []


#: Methods of the inspector by what they want; the rest of its public names asks nothing.
_BY_SCHEMA = [
    "get_table_names",
    "get_view_names",
    "get_materialized_view_names",
    "get_sequence_names",
    "get_temp_table_names",
    "get_temp_view_names",
    "get_foreign_table_names",
    "get_enums",
    "get_domains",
    "get_sorted_table_and_fkc_names",
    "get_multi_columns",
    "get_multi_pk_constraint",
    "get_multi_foreign_keys",
    "get_multi_indexes",
    "get_multi_unique_constraints",
    "get_multi_check_constraints",
    "get_multi_table_comment",
    "get_multi_table_options",
]
_BY_TABLE = [
    "get_columns",
    "get_pk_constraint",
    "get_foreign_keys",
    "get_indexes",
    "get_unique_constraints",
    "get_check_constraints",
    "get_table_comment",
    "get_table_options",
    "get_table_oid",
    "has_table",
]
_OTHERS = {
    "get_schema_names",
    "has_schema",
    "has_sequence",
    "has_index",
    "has_multi_table",
    "has_type",
    "get_view_definition",
    "reflect_table",
}
_SILENT = {
    "clear_cache",
    "construct",
    "default_schema_name",
    "sort_tables_on_foreign_key_dependency",
    "bind",
    "dialect",
    "engine",
}
_SILENT |= {"info_cache", "from_engine"}
_SCHEMAS = (None, "app", 'Odd "Name"', "information_schema", "pg_catalog")


def answers(engine: sa.Engine) -> dict[str, Any]:
    """What each method of the inspector says of each schema and table."""
    found: dict[str, Any] = {}

    def ask(name: str, question: Callable[[], Any]) -> None:
        try:
            answer = question()
        except sa.exc.NoSuchTableError as error:
            answer = repr(error)
        if name.startswith(("get_table_oid", "get_temp")):
            answer = type(answer)
        found[name] = repr(sorted(answer.items(), key=repr)) if isinstance(answer, dict) else repr(answer)

    with engine.connect() as connection:
        looking = sa.inspect(connection)
        ask("schemas", looking.get_schema_names)
        for schema in _SCHEMAS:
            ask(f"has {schema}", lambda schema=schema: looking.has_schema(schema or "public"))
            for name in _BY_SCHEMA:
                if name.startswith("get_temp"):
                    ask(name, getattr(looking, name))
                elif hasattr(looking, name) and not (name.startswith("get_sorted") and schema in _SCHEMAS[3:]):
                    more = {"kind": sa.engine.reflection.ObjectKind.ANY} if name.startswith("get_multi") else {}
                    ask(
                        f"{name} {schema}",
                        lambda name=name, schema=schema, more=more: getattr(looking, name)(schema=schema, **more),
                    )
        for schema, table in (
            (None, "accounts"),
            ("app", "customers"),
            ("app", "bookings"),
            ("app", "v_years"),
            (_SCHEMAS[2], "Select"),
        ):
            for name in _BY_TABLE:
                ask(
                    f"{name} {table}",
                    lambda name=name, table=table, schema=schema: getattr(looking, name)(table, schema=schema),
                )
        ask("view", lambda: looking.get_view_definition("v_bookings", schema="app"))
        ask("sequence", lambda: looking.has_sequence("numbers", schema="app"))
        ask("index", lambda: looking.has_index("customers", "customers_lower_idx", schema="app"))
        if hasattr(looking, "has_multi_table"):
            ask("tables", lambda: looking.has_multi_table(["customers", "none"], schema="app"))
        ask("type", lambda: looking.has_type("stage", schema="app"))  # type: ignore[attr-defined]
        for schema in _SCHEMAS[:3]:
            tables = sa.MetaData()
            tables.reflect(connection, schema=schema, views=True)
            found[f"reflected {schema}"] = sorted(tables.tables)
    return found


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_every_method_of_sqlalchemy_s_inspector(door: Door, driver: str) -> None:
    application = f"inspector {driver}"
    tls = {"sslmode": "verify-full", "sslrootcert": str(door.gateway.ca_file), "application_name": application}
    engine = sa.create_engine(door.url(f"postgresql+{driver}", **tls))
    with engine.connect() as connection:
        offered = {name for name in dir(sa.inspect(connection)) if not name.startswith("_")}
    known = {*_BY_SCHEMA, *_BY_TABLE, *_OTHERS, *_SILENT}
    assert sorted(name for name in offered - known if inspect.isroutine(getattr(sa.Inspector, name, None))) == []
    login, upstream = door.database.app_ro, door.database.upstream
    place = sa.URL.create(
        f"postgresql+{driver}", login.name, login.password.reveal(), upstream.host, upstream.port, door.database.name
    )
    direct = sa.create_engine(place)
    expected, found = answers(direct), answers(engine)
    for name, answer in expected.items():
        assert found[name] == answer, name
    mapped = automap_base()
    mapped.prepare(autoload_with=engine, schema="app")
    assert "customers" in mapped.classes
    engine.dispose()
    direct.dispose()
    assert door.denials(application) == []
