"""The oracle is not blind: what each of these leaves behind, or holds, is seen by the watch."""

import contextlib
import time
from typing import LiteralString, cast

import psycopg
import pytest

from tests.oracle.conftest import Worlds, servers
from tests.oracle.watch import differences

# What is done, and what must show. Texts stand by themselves, without a transaction around them.
SEEN: tuple[tuple[str, str], ...] = (
    ("INSERT INTO staging VALUES (3, 'x')", "staging"),
    ("BEGIN; UPDATE staging SET id = id; ROLLBACK", "transaction ids"),
    ("BEGIN; SELECT FROM staging FOR KEY SHARE; ROLLBACK", "transaction ids"),
    ("BEGIN; SELECT FROM staging FOR KEY SHARE", "locks held"),
    ("BEGIN; SELECT nextval('s1'); ROLLBACK", "s1"),
    ("SELECT lo_create(0)", "pg_largeobject_metadata"),
    ("SELECT lo_put(424242, 0, 'x')", "pg_largeobject"),
    ("SELECT pg_notify('c1', 'x')", "notifications"),
    ("SELECT pg_advisory_lock(1)", "locks held"),
    ("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_export_snapshot()", "snapshots"),
    ("SELECT txid_current()", "transaction ids"),
    ("SELECT pg_logical_emit_message(true, 'a', 'b')", "transaction ids"),
    ("ALTER SYSTEM SET work_mem = '5MB'", "file postgresql.auto.conf"),
    ("SELECT pg_reload_conf()", "configuration read"),
    ("COMMENT ON TABLE staging IS 'x'", "pg_description"),
    ("ALTER ROLE grp SET work_mem = '5MB'", "pg_db_role_setting"),
    ("ALTER ROLE grp PASSWORD 'x'", "pg_authid"),
    ("GRANT SELECT ON staging TO PUBLIC", "pg_class"),
    ("CREATE TEMP TABLE mine (a int)", "pg_class"),
    ("EXPLAIN ANALYZE CREATE TABLE mine AS SELECT 1", "pg_class"),
    ("CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'", "pg_proc"),
    ("SELECT pg_create_physical_replication_slot('trap', true)", "slots"),
    ("SELECT pg_replication_origin_create('trap')", "pg_replication_origin"),
    ("BEGIN; DELETE FROM staging; PREPARE TRANSACTION 'trap'", "prepared transactions"),
    ("SELECT pg_stat_reset()", "statistics reset"),
    ("COPY staging TO '@OUT@/copied'", "files"),
    ("COPY staging TO PROGRAM 'cat > @OUT@/piped'", "files"),
    ("SELECT lo_export(424242, '@OUT@/lo')", "files"),
    ("SELECT pg_terminate_backend(@victim)", "other sessions"),
    ("ANALYZE orders", "pg_statistic"),
    ("REINDEX TABLE orders", "pg_class, in place"),
    ("BEGIN; LOCK TABLE staging IN ROW SHARE MODE", "locks held"),
    ("REFRESH MATERIALIZED VIEW mv_totals", "mv_totals"),
    ("CHECKPOINT", "checkpoint"),
    ("SELECT pg_import_system_collations('shadow')", "pg_collation"),
    ("SELECT * FROM v_evil", "audit"),
    ("SELECT * FROM idxexpr WHERE evil_idx(t) = 'p'", "audit"),
)
UNSEEN = ("SELECT 1", "SELECT * FROM accounts", "SET work_mem = '5MB'", "EXPLAIN SELECT * FROM orders", "BEGIN; TABLE staging")


@pytest.mark.parametrize("server", servers())
def test_every_effect_is_seen_and_nothing_else(worlds: Worlds, server: str) -> None:
    world = worlds(server, "business")
    with world.copy("business") as copy:
        for act, shown in (*((act, "") for act in UNSEEN), *SEEN):
            before = copy.watch.state()
            text = act.replace("@OUT@", str(copy.cluster.out)).replace("@victim", str(copy.watch.victim.info.backend_pid))
            with world.cluster.upstream.connect(copy.name) as connection, contextlib.suppress(psycopg.errors.AdminShutdown):
                for statement in text.split("; "):
                    connection.execute(cast(LiteralString, statement))
                changed = differences(before, copy.watch.state())
                for _ in range(50):  # a reload is asked for by a signal, and happens when the server gets round to it
                    if not shown or shown in changed:
                        break
                    time.sleep(0.1)
                    changed = differences(before, copy.watch.state())
            assert (shown in changed) if shown else not changed, f"{act}: {changed}"
