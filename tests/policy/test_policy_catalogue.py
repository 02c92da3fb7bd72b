"""The policy's data against the catalog of the server at hand, and its rules against what that server really does."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from gateway.access_mode import AccessMode
from gateway.statements.catalogue import (
    ACTIVITY_FUNCTIONS,
    ACTIVITY_RELATIONS,
    ATTRIBUTE_FUNCTIONS,
    DENIED_RELATIONS,
    FREE_SETTINGS,
    OPEN_COLUMNS,
    OPERATORS,
    REFUSED_FUNCTIONS,
    SAFE_FUNCTIONS,
    SECRET_COLUMNS,
    SYSTEM_RELATIONS,
    WHY,
)
from gateway.statements.policy import Policy, judge, judge_setting, parse_options
from gateway.statements.settings import is_utf8, split_identifiers
from tests.support.upstream import Upstream

POLICY = Policy(AccessMode.READ_ONLY)
# They show statistics of tables that the reader may read anyway: the views themselves ask has_column_privilege.
_REVIEWED_VIEWS = {"pg_stats", "pg_stats_ext", "pg_stats_ext_exprs"}
# Not for everybody, since they show a server's inside, but they only show it.
_REVIEWED_CLOSED = {"pg_show_replication_origin_status", "pg_stat_have_stats", "pg_replication_origin_session_is_setup"}


@pytest.fixture(scope="module")
def connection(postgres: Upstream) -> Iterator["psycopg.Connection[Any]"]:
    with postgres.connect() as open_connection:
        yield open_connection


def names(connection: "psycopg.Connection[Any]", sql: str) -> set[str]:
    return {row[0] for row in connection.execute(sql).fetchall()}


def test_every_built_in_function_is_classified(connection: "psycopg.Connection[Any]") -> None:
    live = names(
        connection,
        "SELECT proname FROM pg_proc WHERE pronamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)",
    )
    assert live - SAFE_FUNCTIONS - REFUSED_FUNCTIONS.keys() == set()
    assert not SAFE_FUNCTIONS & REFUSED_FUNCTIONS.keys()
    assert set(REFUSED_FUNCTIONS.values()) <= WHY.keys()


def test_every_system_relation_is_known(connection: "psycopg.Connection[Any]") -> None:
    """Under a grant with a list of tables these names are PostgreSQL's own, and no others."""
    live = names(
        connection, "SELECT relname FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind IN ('r', 'v')"
    )
    assert live - SYSTEM_RELATIONS == set()


def test_no_safe_function_is_known_to_act(connection: "psycopg.Connection[Any]") -> None:
    """A net under the list: what only some roles may call, what is a trigger, and names that say they change something."""
    guarded = names(
        connection,
        "SELECT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace"
        " AND (prorettype IN ('trigger'::regtype, 'event_trigger'::regtype)"
        " OR proname ~ '^(lo_(create|import|export|put|unlink|trunc)|pg_(try_)?advisory.*_lock|binary_upgrade)'"
        " OR proname ~ '^pg_(read_|ls_|reload|rotate|terminate|cancel|drop|create|switch|promote|restore|clear|sleep|notify)'"
        " OR proname ~ '^(query_to|table_to|schema_to|database_to|cursor_to)')",
    )
    reviewed = {name for name in guarded if name.startswith("pg_advisory") and "unlock" in name}
    assert guarded & SAFE_FUNCTIONS <= reviewed
    closed = names(
        connection,
        "SELECT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND provolatile = 'v'"
        " AND NOT has_function_privilege('pg_monitor', oid, 'execute') AND prorettype <> 'trigger'::regtype",
    )
    assert closed & SAFE_FUNCTIONS <= _REVIEWED_CLOSED


def test_every_refused_function_that_one_argument_calls_is_watched_in_attribute_notation(
    connection: "psycopg.Connection[Any]",
) -> None:
    rows = connection.execute(
        "SELECT proname, pronargs, pronargdefaults, provariadic <> 0, proargtypes[0]::regtype::text FROM pg_proc"
        " WHERE pronamespace = 'pg_catalog'::regnamespace AND pronargs > 0 AND prorettype <> 'trigger'::regtype"
    ).fetchall()
    callable_with_one = {
        name
        for name, count, defaults, variadic, first in rows
        if count - defaults - variadic <= 1 and first not in ("internal", "cstring")
    }
    assert (callable_with_one & REFUSED_FUNCTIONS.keys()) - ATTRIBUTE_FUNCTIONS - {"ts_rewrite"} == set()


# What has a column of such a name, and shows no other session's text or address.
_REVIEWED_ACTIVITY = {
    "pg_stat_wal_receiver": "refused to everybody",
    "pg_hba_file_rules": "refused to everybody",
    "pg_prepared_statements": "a session's own",
    "pg_prepared_statement": "a session's own",
    "pg_cursors": "a session's own",
    "pg_cursor": "a session's own",
    "pg_rules": "of no session",
    "ts_stat": "its argument",
    "query_to_xml": "its argument",
    "query_to_xml_and_xmlschema": "its argument",
    "query_to_xmlschema": "its argument",
    "triggers": "of no session",
    "pg_stat_get_wal_receiver": "refused to everybody",
}
_TELLING_COLUMNS = "query|statement|client_addr|client_hostname|client_port|application_name|sender_host|conninfo|command_text"


def test_what_shows_other_sessions_activity_is_known(connection: "psycopg.Connection[Any]") -> None:
    """Each relation and function with a telling column, and each view over a function on the list."""
    relations = names(
        connection,
        "SELECT DISTINCT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0"
        " WHERE c.relnamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)"
        f" AND a.attname ~ '^({_TELLING_COLUMNS})$'",
    )
    functions = names(
        connection,
        "SELECT p.proname FROM pg_proc p, unnest(p.proargnames) n WHERE p.pronamespace = 'pg_catalog'::regnamespace"
        f" AND n ~ '^({_TELLING_COLUMNS})$' UNION SELECT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace"
        " AND proname ~ '^pg_stat_get_backend_(activity|client_(addr|port))$'",
    )
    assert relations - ACTIVITY_RELATIONS.keys() - _REVIEWED_ACTIVITY.keys() == set()
    assert functions - ACTIVITY_FUNCTIONS.keys() - _REVIEWED_ACTIVITY.keys() - REFUSED_FUNCTIONS.keys() == set()
    assert {"pg_stat_activity", "pg_stat_replication"} <= relations


def test_where_activity_is_hidden_no_system_view_shows_it(connection: "psycopg.Connection[Any]") -> None:
    hiding = Policy(AccessMode.READ_ONLY, hide_activity=True)
    rows = connection.execute(
        "SELECT c.relname, pg_get_viewdef(c.oid) FROM pg_class c WHERE c.relkind = 'v'"
        " AND c.relnamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)"
    ).fetchall()
    # Made of pg_stat_get_activity, of which they show ciphers and principals alone.
    reviewed = {"pg_stat_ssl", "pg_stat_gssapi"}
    made_of_it = {name for name, definition in rows if judge(definition.encode(), hiding).rule == "activity-hidden"}
    assert made_of_it - reviewed == {name for name, _ in rows} & ACTIVITY_RELATIONS.keys()


def test_operators_are_the_servers(connection: "psycopg.Connection[Any]") -> None:
    live = names(connection, "SELECT oprname FROM pg_operator WHERE oprnamespace = 'pg_catalog'::regnamespace")
    # PostgreSQL 13 had ! behind a number (a factorial), which today's grammar does not take.
    assert live - OPERATORS <= {"!"}


def test_free_settings_need_no_privilege(connection: "psycopg.Connection[Any]") -> None:
    contexts = dict(connection.execute("SELECT lower(name), context FROM pg_settings").fetchall())
    assert {name for name in FREE_SETTINGS if contexts.get(name, "user") != "user"} <= {"lc_messages"}
    reported = {"client_encoding", "standard_conforming_strings", "session_authorization", "default_transaction_read_only"}
    assert not FREE_SETTINGS & reported


def test_system_views_are_judged_by_their_own_definitions(connection: "psycopg.Connection[Any]") -> None:
    """A view over a refused function or a secret column must itself be refused or watched; the rest must pass."""
    rows = connection.execute(
        "SELECT c.relname, n.nspname, pg_get_viewdef(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind = 'v' AND n.nspname IN ('pg_catalog', 'information_schema')"
    ).fetchall()
    assert len(rows) > 100
    for name, schema, definition in rows:
        watched = name in DENIED_RELATIONS or name in SECRET_COLUMNS
        if name not in _REVIEWED_VIEWS:
            verdict = judge(definition.encode(), POLICY)
            assert verdict.allowed or watched, (name, verdict.message)
        seen = judge(f"SELECT * FROM {schema}.{name}".encode(), POLICY)
        assert seen.allowed == (not watched), (name, seen.message)


def test_columns_of_relations_with_secrets_are_all_known(connection: "psycopg.Connection[Any]") -> None:
    rows = connection.execute(
        "SELECT c.relname, array_agg(a.attname::text) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relname = ANY (%s) AND c.relnamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)"
        " GROUP BY 1",
        [list(SECRET_COLUMNS)],
    ).fetchall()
    assert len(rows) == len(SECRET_COLUMNS)
    for name, columns in rows:
        assert set(columns) - SECRET_COLUMNS[name] - OPEN_COLUMNS[name] == set(), name
        assert SECRET_COLUMNS[name] - {"stxdexpr"} <= set(columns), name  # since 14


def test_the_alias_of_a_scalar_function_really_is_a_call(connection: "psycopg.Connection[Any]") -> None:
    """Why `t.name` is watched: the server calls name(t), with no call in the tree."""
    sql = "SELECT t.pg_read_file FROM unnest(ARRAY['PG_VERSION'::text]) AS t"
    assert connection.execute(sql).fetchone()[0].strip().isdigit()
    assert judge(sql.encode(), POLICY).rule == "attribute-call"


@pytest.mark.parametrize(
    "value", ["on", "of", "o", "1", "2", "t", "y", "yes", " on", "TRUE", "tru", "off", "no", "0", "", "on ", "01", "+1"]
)
def test_true_is_what_the_server_takes_for_true(connection: "psycopg.Connection[Any]", value: str) -> None:
    connection.execute("RESET default_transaction_read_only")
    try:
        connection.execute("SELECT set_config('default_transaction_read_only', %s, false)", [value])
        on = connection.execute("SHOW default_transaction_read_only").fetchone()[0] == "on"
    except psycopg.Error:
        on = False
    finally:
        connection.execute("RESET default_transaction_read_only")
    # 'o' alone is ambiguous, and so on: what we let through must be true there.
    assert on or judge_setting("default_transaction_read_only", value, POLICY) is not None
    if value in ("on", "1", "t", "yes", "TRUE"):
        assert judge_setting("default_transaction_read_only", value, POLICY) is None


@pytest.mark.parametrize(
    "value", ["UTF8", "utf-8", "'utf-8'", "UNICODE", "utf 8", "latin1", "SJIS", "utf8x", "'UTF8", "Utf_8", "sql_ascii"]
)
def test_utf8_is_what_the_server_takes_for_utf8(connection: "psycopg.Connection[Any]", value: str) -> None:
    try:
        connection.execute("SELECT set_config('client_encoding', %s, false)", [value])
        utf8 = connection.execute("SHOW client_encoding").fetchone()[0] in ("UTF8", "UNICODE")
    except psycopg.Error:
        utf8 = False
    finally:
        connection.execute("SET client_encoding TO 'UTF8'")
    assert utf8 or not is_utf8(value)


@pytest.mark.parametrize(
    "value",
    ["1", "1ms", "59999", "60 s", "1min", "0.6", "1.5s", "60000.4", "1e1", "0x10", "010", "1 d", " 5", "5 ", "-1", "us"],
)
def test_a_timeout_that_passes_is_within_its_cap_there(connection: "psycopg.Connection[Any]", value: str) -> None:
    cap = POLICY.caps.timeout_milliseconds
    if judge_setting("lock_timeout", value, POLICY) is not None:
        return
    connection.execute("SELECT set_config('lock_timeout', %s, false)", [value])
    (milliseconds,) = connection.execute("SELECT setting::int FROM pg_settings WHERE name = 'lock_timeout'").fetchone()
    connection.execute("RESET lock_timeout")
    assert 0 < milliseconds <= cap


@pytest.mark.parametrize(
    "value",
    [
        'public, "A b"',
        " PUBLIC ,x",
        '"a""b"',
        "",
        '"',
        "a,",
        "a b",
        ",a",
        '""',
        "$user",
        'é, "É"',
        "a.b",
        "'a'",
        'a"b"',
        '"a" b',
    ],
)
def test_lists_of_names_are_split_as_the_server_does(connection: "psycopg.Connection[Any]", value: str) -> None:
    try:
        connection.execute("SELECT set_config('search_path', %s, false)", [value])
        (shown,) = connection.execute("SHOW search_path").fetchone()
    except psycopg.Error:
        assert split_identifiers(value) is None
        return
    finally:
        connection.execute("RESET search_path")
    ours = split_identifiers(value)
    assert ours is None or ours == split_identifiers(shown)
    assert ours is not None or '"' in value


@pytest.mark.parametrize(
    "options",
    [
        "-c geqo=off",
        "-cgeqo=off --enable-seqscan=off",
        r"-c search_path=a\,\ b",
        r"-c application_name=x\\y",
        "\t-c\n geqo=off ",
        "-c application_name=",
        r"-c application_name=a\ b\ ",
    ],
)
def test_options_mean_what_the_server_makes_of_them(postgres: Upstream, options: str) -> None:
    pairs = parse_options(options)
    assert isinstance(pairs, tuple)
    with psycopg.connect(
        host=postgres.host,
        port=postgres.port,
        user=postgres.superuser,
        password=postgres.superuser_password.reveal(),
        dbname="postgres",
        options=options,
    ) as session:
        for name, value in pairs:
            assert session.execute("SELECT current_setting(%s)", [name]).fetchone()[0] == value
