"""The curated list against the extensions that are installed here: all that belongs together is open, and what acts is not."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from gateway.access_mode import AccessMode
from gateway.statements.catalog import Catalog
from gateway.statements.curated import CURATED, is_curated
from gateway.statements.openings import Openings
from gateway.statements.policy import Policy, judge
from tests.policy.catalogs import load_catalog
from tests.support.upstream import Upstream

# Functions of curated extensions that are left out, and why a reader has no need of them.
_LEFT_OUT = {
    "isn": {"isn_weak"},
    "pg_trgm": {"set_limit"},
    "tablefunc": {"crosstab", "crosstab2", "crosstab3", "crosstab4", "connectby"},
    "lo": {"lo_manage"},
    "xml2": {"xpath_table", "xslt_process"},
    "pg_visibility": {"pg_truncate_visibility_map"},
    "pg_stat_statements": {"pg_stat_statements_reset"},
}


@pytest.fixture(scope="module")
def catalog(postgres: Upstream) -> Iterator[Catalog]:
    """Of a database with every curated extension that can be had."""
    with postgres.connect() as admin:
        admin.execute("CREATE DATABASE curated")
        available = {row[0] for row in admin.execute("SELECT name FROM pg_available_extensions").fetchall()}
        try:
            with postgres.connect("curated") as connection:
                for name in sorted(available & CURATED.keys()):
                    connection.execute(sql.SQL("CREATE EXTENSION IF NOT EXISTS {} CASCADE").format(sql.Identifier(name)))
                yield load_catalog(connection)
        finally:
            admin.execute("DROP DATABASE curated WITH (FORCE)")


@pytest.fixture(scope="module")
def openings(catalog: Catalog) -> Openings:
    found = Policy(AccessMode.READ_ONLY, server_major=catalog.server_major, catalog=catalog).listed.openings
    assert found is not None
    return found


def test_only_what_is_left_out_on_purpose_is_closed(openings: Openings) -> None:
    closed = {
        (each.extension, name)
        for name, functions in openings.closed_functions.items()
        for each in functions
        if each.extension in CURATED and not name.startswith(("pg_buffercache_evict", "pg_buffercache_mark"))
    }
    assert closed - {(extension, name) for extension, names in _LEFT_OUT.items() for name in names} == set()


def test_types_and_operators_of_curated_extensions_are_open(catalog: Catalog, openings: Openings) -> None:
    assert openings.closed_operators == {}
    assert openings.casts.everywhere is None
    assert {kind.name for kind in catalog.types_by_oid.values() if not openings.type_is_open(kind.oid)} == set()


def test_nothing_of_the_extensions_shadows_what_readers_use(catalog: Catalog) -> None:
    policy = Policy(AccessMode.READ_ONLY, server_major=catalog.server_major, catalog=catalog)
    for text in (
        "SELECT lower('A') || 'x', now(), count(*), 1 + 1, 'a' = 'b', 1 BETWEEN 0 AND 2, replace('a', 'b', 'c')",
        "SELECT a.x FROM (SELECT 1 AS x) a WHERE a.x IN (1, 2) ORDER BY a.x",
        "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace",
        "SELECT CASE 'a' WHEN 'b' THEN 1 END, ARRAY[1] && ARRAY[2], '{}'::jsonb -> 'a'",
    ):
        verdict = judge(text.encode(), policy)
        assert verdict.allowed, verdict.message


def test_a_name_counts_only_for_its_extension() -> None:
    assert is_curated("hstore", "akeys")
    assert not is_curated("citext", "akeys")
    assert not is_curated("nothing", "akeys")
    assert is_curated("postgis", "st_area")
    assert not is_curated("postgis", "st_findextent")
    assert not is_curated("postgis", "addgeometrycolumn")
    assert not is_curated("timescaledb", "add_retention_policy")


def test_the_queries_need_no_privilege(postgres: Upstream) -> None:
    """A role that may do nothing but connect reads the same catalog."""
    with postgres.connect() as admin:
        admin.execute("CREATE ROLE nobody_at_all LOGIN PASSWORD 'x'")
        try:
            own = load_catalog(admin)
            with psycopg.connect(
                host=postgres.host, port=postgres.port, user="nobody_at_all", password="x", dbname="postgres", autocommit=True
            ) as reader:
                seen = load_catalog(reader)
        finally:
            admin.execute("DROP ROLE nobody_at_all")
    assert {**seen.rows.as_answers(), "path": ()} == {**own.rows.as_answers(), "path": ()}
    assert seen.path == {"nobody_at_all", "public"}
