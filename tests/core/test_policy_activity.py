"""What other sessions run, where the settings hide it: closed in every notation and through what is built upon it."""

import pytest

from gateway.access_mode import AccessMode
from gateway.statements.catalog import Catalog, build_catalog
from gateway.statements.catalog_rows import CatalogRows
from gateway.statements.catalogue import ACTIVITY_FUNCTIONS, ACTIVITY_RELATIONS, REFUSED_FUNCTIONS, SAFE_FUNCTIONS
from gateway.statements.policy import Policy, judge

_STATEMENTS = ("20001", "ext", "pg_stat_statements", "f", "1", "1", "16", "c", None, "true", "pg_stat_statements")
_OPERATOR = ("20002", "public", "@@@!", "23", "23", "1936", "pg_stat_get_backend_activity", None)
_CAST = ("20004", "shown", "25", "text", "e", "f", "1936", "pg_stat_get_backend_activity")
_VIEWS = [
    ("public", "who", " SELECT pid, query FROM pg_catalog.pg_stat_activity;", None),
    ("public", "above", " SELECT count(*) AS n FROM public.who;", None),
    ("public", "by_call", " SELECT pg_catalog.pg_stat_get_backend_activity(1) AS q;", None),
    ("ext", "pg_stat_statements", " SELECT s.query FROM ext.pg_stat_statements(true) s(query);", "pg_stat_statements"),
    ("public", "top", " SELECT query FROM ext.pg_stat_statements;", None),
    ("public", "busy", " SELECT count(*) AS n FROM pg_catalog.pg_locks;", None),
]


def database() -> Catalog:
    rows = {
        "path": [("me", "me", '"$user", public', "app")],
        "functions": [_STATEMENTS],
        "operators": [_OPERATOR],
        "casts": [_CAST],
        "views": _VIEWS,
    }
    return build_catalog(CatalogRows.from_answers(rows), 18)


def policy(*entries: str, hidden: bool = True, mode: AccessMode = AccessMode.READ_ONLY, known: Catalog | None = None) -> Policy:
    return Policy(mode, frozenset(entries), catalog=known, hide_activity=hidden)


DIRECT = [
    "SELECT * FROM pg_stat_activity",
    "SELECT count(*) FROM pg_catalog.pg_stat_activity",
    'TABLE "pg_stat_activity"',
    "TABLE ONLY shop.pg_catalog.pg_stat_activity",
    "COPY pg_stat_activity TO STDOUT",
    "COPY (SELECT query FROM pg_stat_activity) TO STDOUT",
    "EXPLAIN SELECT 1 FROM pg_stat_activity",
    "PREPARE p AS SELECT 1 FROM pg_stat_activity",
    "DECLARE c CURSOR FOR SELECT 1 FROM pg_stat_activity",
    "LOCK TABLE pg_stat_activity IN ACCESS SHARE MODE",
    "WITH a AS (SELECT query FROM pg_stat_activity) SELECT * FROM a",
    "SELECT (SELECT max(query) FROM pg_stat_activity)",
    "SELECT 1 WHERE EXISTS (SELECT FROM pg_stat_activity WHERE query ~ 'secret')",
    "SELECT a.query FROM t JOIN pg_stat_activity a USING (pid)",
    "SELECT 1 UNION SELECT 1 FROM pg_stat_activity",
    "SELECT * FROM pg_stat_replication",
    "SELECT pg_stat_get_backend_activity(1)",
    "SELECT pg_catalog.pg_stat_get_backend_activity(1)",
    "SELECT shop.pg_catalog.pg_stat_get_backend_client_addr(1)",
    "SELECT (1).pg_stat_get_backend_activity",
    "SELECT ((1)).pg_stat_get_backend_client_port",
    "SELECT i.pg_stat_get_backend_activity FROM generate_series(1, 9) i",
    "SELECT (i).pg_stat_get_activity FROM generate_series(1, 9) i",
    "SELECT * FROM pg_stat_get_activity(NULL)",
    "SELECT * FROM ROWS FROM (pg_stat_get_activity(NULL), pg_stat_get_activity(NULL))",
    "SELECT * FROM LATERAL pg_stat_get_activity(NULL) a",
    "EXECUTE p(pg_stat_get_backend_activity(1))",
    "SELECT * FROM pg_stat_statements",
    "SELECT * FROM ext.pg_stat_statements",
    "SELECT * FROM pg_stat_statements(true)",
    "SELECT (true).pg_stat_statements",
    "SELECT * FROM pg_stat_statements_info",
    "SELECT * FROM monitor.pg_stat_monitor",
]


@pytest.mark.parametrize("text", DIRECT)
def test_it_is_closed_in_every_notation(text: str) -> None:
    for entries in ((), ("extension:pg_stat_statements", "pg_stat_statements", "ext.*", "monitor.*")):
        for known in (None, database()):
            verdict = judge(text.encode(), policy(*entries, known=known))
            assert (verdict.rule, verdict.sqlstate) == ("activity-hidden", "42501"), (entries, verdict)
            assert "policy.other_sessions" in verdict.hint


@pytest.mark.parametrize("name", ["who", "above", "by_call", "top", "public.who", "ext.pg_stat_statements"])
def test_views_upon_it_are_closed_until_an_admin_lists_them(name: str) -> None:
    text = f"SELECT * FROM {name}".encode()
    verdict = judge(text, policy(known=database()))
    assert verdict.rule == "activity-hidden"
    if name != "ext.pg_stat_statements":
        bare = name.rpartition(".")[2]
        assert judge(text, policy(f"public.{bare}", known=database())).allowed
        assert bare in verdict.message


def test_operators_and_casts_that_run_it_are_closed() -> None:
    for text in ("SELECT 1 @@@! 2", "SELECT 1 OPERATOR(public.@@@!) 2"):
        assert not judge(text.encode(), policy(known=database())).allowed
        assert judge(text.encode(), policy(known=database(), hidden=False)).allowed
    assert policy(known=database()).listed.openings != policy(known=database(), hidden=False).listed.openings


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM busy",
        "SELECT * FROM pg_locks",
        "SELECT pg_backend_pid(), pg_blocking_pids(1)",
        "SELECT gss_authenticated, encrypted FROM pg_catalog.pg_stat_gssapi WHERE pid = pg_backend_pid()",
        "SELECT ssl FROM pg_stat_ssl",
        "SELECT * FROM pg_stat_user_tables",
        "SELECT * FROM pg_prepared_statements",
        "SELECT 'pg_stat_activity'::regclass, pg_get_viewdef('pg_stat_activity'::regclass)",
        "SELECT pg_stat_activity FROM t",
        "SELECT * FROM pg_stat_database",
    ],
)
def test_the_rest_goes_on(text: str) -> None:
    assert judge(text.encode(), policy(known=database())).allowed


def test_shared_and_read_write_sessions_see_it() -> None:
    for text in DIRECT:
        for known in (None, database()):
            assert judge(text.encode(), policy(known=known, hidden=False)).rule != "activity-hidden"
            assert judge(text.encode(), policy(mode=AccessMode.READ_WRITE, known=known)).rule != "activity-hidden"
    assert judge(b"SELECT * FROM pg_stat_activity", policy(hidden=False)).allowed


def test_each_entry_says_what_it_shows() -> None:
    assert all({**ACTIVITY_RELATIONS, **ACTIVITY_FUNCTIONS}.values())
    assert not ACTIVITY_FUNCTIONS.keys() & REFUSED_FUNCTIONS.keys()
    of_postgresql = {name for name in ACTIVITY_FUNCTIONS if name.startswith("pg_stat_get_")}
    assert of_postgresql <= SAFE_FUNCTIONS
