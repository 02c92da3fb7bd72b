"""pgAdmin's own queries, from the installed package: what works directly works through the gateway.

The package is large and brings a web server, so the tests do not ask for it: `pip install --no-deps pgadmin4 jinja2` in the
environment that runs them is enough, and this is run. Nothing of pgAdmin is kept here.
"""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest

from gateway.statements.parse import ParseFailure, parse
from tests.support.doors import Door

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pgadmin4") is None or importlib.util.find_spec("jinja2") is None,
    reason="pgadmin4 and jinja2 are not installed (pip install --no-deps pgadmin4 jinja2)",
)
#: Objects to look at, as its templates call their OIDs.
_OBJECTS = {
    "did": "SELECT oid FROM pg_database WHERE datname = current_database()",
    "scid": "SELECT 'app'::regnamespace::oid",
    "tid": "SELECT 'app.customers'::regclass::oid",
    "vid": "SELECT 'app.v_bookings'::regclass::oid",
    "seid": "SELECT 'app.numbers'::regclass::oid",
    "fnid": "SELECT 'app.pairs'::regproc::oid",
    "ftid": "SELECT 'app.far'::regclass::oid",
    "trid": "SELECT oid FROM pg_trigger WHERE tgname = 'stamp'",
    "rid": "SELECT oid FROM pg_rewrite WHERE rulename = 'quiet'",
    "doid": "SELECT 'app.age'::regtype::oid",
    "tyid": "SELECT 'app.stage'::regtype::oid",
    "coid": "SELECT oid FROM pg_collation WHERE collname = 'byte_order'",
    "fid": "SELECT oid FROM pg_foreign_data_wrapper",
    "fsid": "SELECT oid FROM pg_foreign_server",
    "umid": "SELECT umid FROM pg_user_mappings",
    "lid": "SELECT oid FROM pg_language WHERE lanname = 'plpgsql'",
    "eid": "SELECT oid FROM pg_extension WHERE extname = 'plpgsql'",
    "pbid": "SELECT oid FROM pg_publication WHERE pubname = 'some_tables'",
    "subid": "SELECT oid FROM pg_subscription",
    "etid": "SELECT oid FROM pg_event_trigger",
    "plid": "SELECT oid FROM pg_policy WHERE polname = 'own_rows'",
    "cid": "SELECT oid FROM pg_constraint WHERE conname = 'named'",
    "idx": "SELECT indexrelid FROM pg_index WHERE indrelid = 'app.customers'::regclass LIMIT 1",
    "cfgid": "SELECT oid FROM pg_ts_config WHERE cfgname = 'search'",
    "dictid": "SELECT oid FROM pg_ts_dict WHERE dictname = 'words'",
    "pid": "SELECT oid FROM pg_ts_parser WHERE prsname = 'parser'",
    "castid": "SELECT max(oid) FROM pg_cast",
    "opid": "SELECT max(oid) FROM pg_operator",
    "agid": "SELECT 'app.total'::regproc::oid",
}
_SETS = ("app.customers", "app.bookings", "app.mv_amounts", "app.v_years")


def templates(major: int) -> Iterator[tuple[Any, str]]:
    """Each of its templates of SQL that is made for this version or an older one."""
    import jinja2

    spec = importlib.util.find_spec("pgadmin4")
    assert spec is not None
    assert spec.submodule_search_locations
    root = Path(next(iter(spec.submodule_search_locations)))
    folders = sorted(path for path in root.rglob("templates") if path.is_dir())
    world = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders), undefined=jinja2.ChainableUndefined, extensions=["jinja2.ext.do"]
    )
    quote = lambda value, *_: "'" + str(value).replace("'", "''") + "'"  # noqa: E731
    ident = lambda *words: ".".join('"' + str(word).replace('"', '""') + '"' for word in words if isinstance(word, str))  # noqa: E731
    world.filters.update(qtLiteral=quote, qtIdent=ident, qtTypeIdent=ident, hasAny=lambda *_: False)
    for folder in folders:
        for path in sorted(folder.rglob("*.sql")):
            name = str(path.relative_to(folder))
            numbers = [int(number) for number in re.findall(r"/(\d+)_plus/", name)]
            if not (numbers and numbers[0] > major) and "ppas" not in name and "tests" not in path.parts:
                yield world, name


def rendered(door: Door) -> dict[str, str]:
    """Statements that only read, each with the template that it came from."""
    found: dict[str, str] = {}
    with door.database.upstream.connect(door.database.name) as connection:
        known = {name: connection.execute(cast(Any, query)).fetchone() for name, query in _OBJECTS.items()}
        oids = {name: row[0] for name, row in known.items() if row}
        sets = [connection.execute("SELECT %s::regclass::oid", (name,)).fetchone() for name in _SETS]
    oids |= {
        "conn": "conn",
        "datlastsysoid": 16383,
        "show_sysobj": True,
        "show_system_objects": True,
        "database": door.database.name,
    }
    for world, name in templates(door.database.upstream.major):
        for number in (row[0] for row in sets if row):
            for more in (
                {},
                {"data": {"name": "customers", "schema": "app", "table": "customers"}, "schema": "app", "name": "customers"},
            ):
                try:
                    text = world.get_template(name).render({**oids, "tid": number, "oid": number, "parent_id": number, **more})
                except Exception:  # a template that wants more than that
                    continue
                parsed = parse(text)
                if not isinstance(parsed, ParseFailure) and parsed and all(one.tag == "SelectStmt" for one in parsed):
                    found.setdefault(text, name)
    return found


def test_its_queries(door: Door) -> None:
    texts = rendered(door)
    assert len(texts) > 300
    refused = []
    worked = 0
    direct = door.database.connect(door.database.app_ro, options="-c default_transaction_read_only=on -c statement_timeout=5s")
    with psycopg.connect(**door.libpq(application_name="pgAdmin 4 - DB:shop"), autocommit=True) as through:
        for text, name in texts.items():
            if direct.pgconn.exec_(text.encode()).status not in (
                psycopg.pq.ExecStatus.TUPLES_OK,
                psycopg.pq.ExecStatus.COMMAND_OK,
            ):
                continue
            worked += 1
            answer = through.pgconn.exec_(text.encode())
            if answer.status not in (psycopg.pq.ExecStatus.TUPLES_OK, psycopg.pq.ExecStatus.COMMAND_OK):
                refused.append(f"{name}: {answer.error_message.decode().splitlines()[0]}")
    print(f"pgAdmin: {len(texts)} texts, {worked} work directly, {len(refused)} of them refused")
    assert worked > 200
    assert refused == []
