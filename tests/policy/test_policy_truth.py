"""Upstream's own word: what the read-only policy allows changes nothing, even run by a superuser outside of any read-only mode."""

import os
import random
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.pq import ExecStatus

from gateway.access_mode import AccessMode
from gateway.statements.catalogue import SAFE_FUNCTIONS
from gateway.statements.policy import Policy, judge
from tests.support.truth import upstream_checksum
from tests.support.upstream import Database

POLICY = Policy(AccessMode.READ_ONLY)
STATEMENTS = int(os.environ.get("PGBASTION_TEST_STATEMENTS", "4000"))

# Something of each type that functions really work on; others are called with NULL.
_SAMPLES = {
    "text": ["'public.accounts'", "'SELECT public.evil_write()'"],
    "name": ["'accounts'"],
    "cstring": ["'1'::cstring"],
    "integer": ["1"],
    "bigint": ["1"],
    "smallint": ["1::int2"],
    "oid": ["'public.accounts'::regclass::oid", "424242::oid"],
    "regclass": ["'public.accounts'::regclass", "'public.s1'::regclass"],
    "regproc": ["'evil_write'::regproc"],
    "regprocedure": ["'evil_write()'::regprocedure"],
    "regtype": ["'public.mood'::regtype"],
    "regnamespace": ["'public'::regnamespace"],
    "boolean": ["true"],
    "double precision": ["0.5::float8"],
    "real": ["0.5::float4"],
    "numeric": ["1.5"],
    "bytea": ["'\\x00'::bytea"],
    "json": ["'{\"a\":1}'::json"],
    "jsonb": ["'{\"a\":1}'::jsonb"],
    "jsonpath": ["'$.a'::jsonpath"],
    "xml": ["'<a/>'::xml"],
    "timestamp with time zone": ["now()"],
    "timestamp without time zone": ["now()::timestamp"],
    "date": ["current_date"],
    "interval": ["'1 s'::interval"],
    "tsquery": ["'a'::tsquery"],
    "tsvector": ["'a'::tsvector"],
    "text[]": ["ARRAY['a', 'b']"],
    "anyelement": ["1"],
    "anyarray": ["ARRAY[1]"],
    '"any"': ["1"],
    "internal": [],
}

_ACTS = [
    *(
        "public.evil_write()",
        "evil_write()",
        "nextval('s1')",
        "pg_catalog.setval('s1', 9)",
        "lo_create(0)",
        "lo_unlink(424242)",
    ),
    *("('public.s1'::regclass).nextval", "(424242::oid).lo_unlink", "pg_advisory_lock(7)", "(7::bigint).pg_advisory_lock"),
    *(
        "pg_notify('c', 'x')",
        "txid_current()",
        "pg_current_xact_id()",
        "lo_from_bytea(0, 'x')",
        "pg_logical_emit_message(true, 'a', 'b')",
    ),
    *("query_to_xml('SELECT public.evil_write()', true, true, '')", "U&\"\\006cowrite\"(lo_open(424242, 131072), 'x')"),
    *("set_config('default_transaction_read_only', 'off', false)", "s.nextval", "e.pg_advisory_lock", "lo_put(424242, 0, 'x')"),
    *("ts_rewrite('a'::tsquery, 'SELECT ''a''::tsquery, to_tsquery(public.evil_write()::text)')", "setseed(0.5)", "random()"),
    *(
        "lower('A')",
        "count(*)",
        "1",
        "a.owner",
        "a",
        "(a).owner",
        "current_setting('server_version')",
        "pg_backend_pid()",
        "a.id + 1",
    ),
    *(
        "(SELECT public.evil_secdef())",
        "CASE WHEN true THEN nextval('s1') END",
        "ARRAY[nextval('s1')]",
        "a.evil_write",
        "lastval()",
    ),
]
_SHAPES = [
    *(
        "SELECT {0}, {1}",
        "SELECT {0} FROM accounts a",
        "SELECT 1 FROM accounts a WHERE ({0})::text = 'x'",
        "SELECT a.* FROM accounts a ORDER BY {0}",
    ),
    *(
        "SELECT s.*, {0} FROM unnest(ARRAY['public.s1'::regclass]) s",
        "SELECT {0} FROM unnest(ARRAY[7::bigint]) AS e, accounts a LIMIT 1",
    ),
    *("WITH x AS (SELECT {0} AS v) SELECT * FROM x", "WITH x AS (INSERT INTO audit(what) VALUES ('x') RETURNING 1) SELECT {0}"),
    *(
        "SELECT * FROM (SELECT {0} AS v) q, LATERAL (SELECT {1} AS w) r",
        "SELECT 1 LIMIT (SELECT count({0}))",
        "VALUES ({0}), ({1})",
    ),
    *(
        "SELECT 1 GROUP BY {0}",
        "SELECT count(*) FILTER (WHERE ({0})::text <> '') FROM accounts a",
        "SELECT sum(1) OVER (ORDER BY {0})",
    ),
    *(
        "SELECT {0} INTO t_new FROM accounts a",
        "SELECT {0} FROM accounts a FOR UPDATE",
        "TABLE accounts",
        "SELECT * FROM generate_series(1, 2) g, ROWS FROM ({0}) f",
    ),
]
_AROUND = [
    *(
        "{}",
        "{}",
        "{}",
        "EXPLAIN {}",
        "EXPLAIN ANALYZE {}",
        "EXPLAIN (ANALYZE, VERBOSE) {}",
        "PREPARE p AS {}; EXECUTE p; DEALLOCATE p",
    ),
    *(
        "BEGIN; {}; COMMIT",
        "COMMIT; {}",
        "BEGIN READ WRITE; {}; COMMIT",
        "BEGIN; DECLARE c CURSOR FOR {}; FETCH ALL FROM c; COMMIT",
    ),
    *(
        "COPY ({}) TO STDOUT",
        "SET transaction_read_only = off; {}",
        "SELECT 1; {}",
        "EXPLAIN ANALYZE CREATE TABLE t_x AS {}",
        "/* x */ {} -- y",
    ),
]


@pytest.fixture
def connection(database: Database) -> Iterator["psycopg.Connection[Any]"]:
    with database.upstream.connect(database.name) as direct:
        direct.execute("SET statement_timeout = '2s'; SET client_min_messages = error")
        yield direct


def run(connection: "psycopg.Connection[Any]", sql: str) -> bool:
    """Send one simple query, whatever comes back. True when it did not fail."""
    result = connection.pgconn.exec_(sql.encode())
    if result.status == ExecStatus.COPY_OUT:
        while connection.pgconn.get_copy_data(0)[0] > 0:
            pass
        while connection.pgconn.get_result() is not None:
            pass
        return True
    return result.status in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK, ExecStatus.EMPTY_QUERY)


def test_safe_functions_assign_no_transaction_id_and_change_nothing(
    connection: "psycopg.Connection[Any]", database: Database
) -> None:
    rows = connection.execute(
        "SELECT p.proname, n.nspname, ARRAY(SELECT t::regtype::text FROM unnest(p.proargtypes) t) FROM pg_proc p"
        " JOIN pg_namespace n ON n.oid = p.pronamespace"
        " WHERE n.nspname IN ('pg_catalog', 'information_schema') AND p.prokind <> 'p' AND p.pronargs <= 6 ORDER BY p.oid"
    ).fetchall()
    calls = [call for name, schema, types in rows if name in SAFE_FUNCTIONS for call in _calls(schema, name, types)]
    with database.upstream.connect(database.name) as bystander:
        before = upstream_checksum(bystander)
        worked = sum(_assigns_nothing(connection, call) for call in calls)
        assert upstream_checksum(bystander) == before
    assert worked > 1500, f"{worked} of {len(calls)} calls worked: the samples are too poor to say anything"


def _calls(schema: str, name: str, types: list[str]) -> list[str]:
    if "internal" in types:
        return []
    rounds = max([len(_SAMPLES.get(kind, [""])) for kind in types], default=1)
    calls = []
    for index in range(rounds):
        samples = [_SAMPLES.get(kind, [f"NULL::{kind}"]) for kind in types]
        arguments = ", ".join(choices[index % len(choices)] for choices in samples)
        calls.append(f'SELECT {schema}."{name}"({arguments})')
    return calls


def _assigns_nothing(connection: "psycopg.Connection[Any]", call: str) -> bool:
    if not judge(call.encode(), POLICY).allowed:
        return False
    run(connection, "BEGIN")
    worked = run(connection, call)
    if worked:
        (assigned,) = connection.execute("SELECT pg_current_xact_id_if_assigned()::text").fetchone()
        assert assigned is None, call
    run(connection, "ROLLBACK")
    return worked


def test_what_is_allowed_of_generated_attacks_changes_nothing(
    connection: "psycopg.Connection[Any]", database: Database
) -> None:
    chance = random.Random(20260)
    worked = refused = 0
    with database.upstream.connect(database.name) as bystander:
        before = upstream_checksum(bystander)
        for number in range(STATEMENTS):
            inner = chance.choice(_SHAPES).format(chance.choice(_ACTS), chance.choice(_ACTS))
            sql = chance.choice(_AROUND).format(inner)
            if not judge(sql.encode(), POLICY).allowed:
                refused += 1
                continue
            worked += run(connection, sql)
            run(connection, "ROLLBACK; DEALLOCATE ALL; CLOSE ALL")
            if number % 500 == 0:
                assert upstream_checksum(bystander) == before, sql
        assert upstream_checksum(bystander) == before
    assert worked > STATEMENTS // 50
    assert refused > STATEMENTS // 4
