"""Scripts of SQL in read-only mode: nothing changes, and what succeeds directly as an ordinary role succeeds through the gateway.

PGBASTION_SQL_SCRIPTS names a folder of .sql files, such as src/test/regress/sql of PostgreSQL's sources; without it the few
scripts of this folder are run. Each is run once by real psql as superuser (see recording.py), so that its tables are there.
Then each statement that psql sent is sent again: directly, in a read-only session of an ordinary role, and in another copy
of that database through the gateway, whose upstream role is a superuser without PostgreSQL's own lock. The other copy is
looked at whole (tests/oracle/watch.py).

More variables: PGBASTION_SQL_SCHEDULE, a file of lines "test: name name", the scripts that make the common database first;
PGBASTION_SQL_ONLY, names of scripts. PG_LIBDIR and PG_DLSUFFIX are passed on.

The schemas of the database are listed for the target, as an admin does. Functions are not where changes are looked for: what a
listed one does is its own affair. The figure that has to be 99 % is that of the same statements in a third copy, where they are
listed, too. Not counted as honest: what takes effect directly although the session is read-only, as the server shows (a
transaction id, a writer's lock, a notification), and what would leave the read-only mode (BEGIN READ WRITE). The latter is not
even sent directly: what follows it there would not succeed in a READ ONLY transaction.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.captures.recording import Said, Terms, play, record
from tests.captures.replay import Difference, Outcome, replay
from tests.oracle.entries import Setting
from tests.oracle.report import report_folder, write
from tests.oracle.watch import differences, watching
from tests.oracle.world import World, running_world
from tests.support.doors import program
from tests.support.wire import Place

_OWN = Path(__file__).parent / "scripts"
_FOLDER = Path(os.environ.get("PGBASTION_SQL_SCRIPTS") or _OWN)
_SCHEDULE = os.environ.get("PGBASTION_SQL_SCHEDULE", "")
_ONLY = os.environ.get("PGBASTION_SQL_ONLY", "").split()
_LOOK_EVERY = 300
_AIM = 0.99
_READER, _PASSWORD = "ordinary_reader", "ordinary"
_BASE = "base"
_LEAVES = re.compile(r"\s*(?:begin|start|set)\b.*\bread\s+write\b", re.IGNORECASE | re.DOTALL)
_NOT_COMPARED = ("locks held", "other sessions")
_TERMS = Terms(
    (
        ("PGTZ", "PST8PDT"),
        ("PGDATESTYLE", "Postgres, MDY"),
        ("PGOPTIONS", "-c intervalstyle=postgres_verbose"),
        ("PG_ABS_SRCDIR", str(_FOLDER.parent)),
        ("PG_ABS_BUILDDIR", str(_FOLDER.parent)),
        ("PG_LIBDIR", os.environ.get("PG_LIBDIR", "")),
        ("PG_DLSUFFIX", os.environ.get("PG_DLSUFFIX", ".so")),
    ),
    (("timezone", "PST8PDT"), ("datestyle", "Postgres, MDY"), ("intervalstyle", "postgres_verbose")),
)
_FUNCTIONS = """
SELECT DISTINCT n.nspname || '.' || p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.oid >= 16384
"""
_SCHEMAS = "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_|^information_schema$'"
_READABLE = """
DO $$
DECLARE name text;
BEGIN
  FOR name IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_|^information_schema$' LOOP
    EXECUTE format('GRANT USAGE ON SCHEMA %1$I TO READER; GRANT SELECT ON ALL TABLES IN SCHEMA %1$I TO READER;'
      ' GRANT SELECT ON ALL SEQUENCES IN SCHEMA %1$I TO READER', name);
  END LOOP;
END $$
"""


@dataclass
class Tally:
    scripts: int = 0
    statements: int = 0
    direct: int = 0
    effects: int = 0
    changes: list[str] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)

    def share(self, *, listed: bool) -> float:
        """Of what succeeds directly, what succeeds through the gateway. `listed`: with the database's functions listed."""
        failed = sum(difference.listed == listed for difference in self.differences)
        return 1 - failed / self.direct if self.direct else 1.0

    def __str__(self) -> str:
        lines = [
            f"{self.scripts} scripts, {self.statements} statements; {self.direct} succeed directly and change nothing"
            f" ({self.effects} more take effect in a read-only session). Through the gateway: "
            f"{self.share(listed=False):.2%} of them, {self.share(listed=True):.2%} with functions listed."
            f" Changes: {len(self.changes)}"
        ]
        for listed in (False, True):
            lines.append("with functions listed:" if listed else "with nothing but schemas listed:")
            some = [difference for difference in self.differences if difference.listed == listed]
            for kind, count in Counter(difference.kind for difference in some).most_common():
                first = next(difference for difference in some if difference.kind == kind)
                lines.append(f"{count:6}  {kind:28} {first.script}: {' '.join(first.text.split())[:110]}")
        return "\n".join([*lines, *self.changes]) + "\n"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with running_world("installed" if os.environ.get("PGBASTION_SQL_SCRIPTS") else "any") as running:
        with running.cluster.upstream.connect() as connection:
            connection.execute(f"CREATE ROLE {_READER} LOGIN PASSWORD '{_PASSWORD}'")
            connection.execute(f"CREATE DATABASE {_BASE} TEMPLATE template0")
        for name in _scheduled():
            play(program("psql", "postgresql-client"), running.cluster.upstream, _BASE, _FOLDER / f"{name}.sql", _TERMS)
        yield running


def _scheduled() -> list[str]:
    lines = Path(_SCHEDULE).read_text().splitlines() if _SCHEDULE else []
    return [name for line in lines if line.startswith("test:") for name in line.split()[1:]]


def _scripts() -> list[str]:
    found = sorted(path.stem for path in _FOLDER.glob("*.sql"))
    return [name for name in found if not _ONLY or name in _ONLY]


def test_scripts(world: World) -> None:
    """All in one test, whatever process it runs in: the figure is of all of them."""
    tally = Tally()
    try:
        for name in _scripts():
            _play(world, tally, name)
    finally:
        _tell(tally)
    assert tally.scripts
    assert not tally.changes, tally.changes
    assert tally.share(listed=True) >= _AIM, str(tally)


def _tell(tally: Tally) -> None:
    print(tally)
    write("regression-scripts", str(tally))
    lines = [json.dumps([d.script, d.kind, d.through.said, d.text, d.listed]) for d in tally.differences]
    (report_folder() / "regression-scripts.jsonl").write_text("".join(f"{line}\n" for line in lines))


def _play(world: World, tally: Tally, name: str) -> None:
    said = _recorded(world, name)
    try:
        direct, effects = _directly(world, name, said)
        through, changes = _through(world, name, said)
        listed = _listed(world, name, said)
    finally:
        _drop(world, name)
    tally.scripts += 1
    tally.statements += len(said)
    tally.changes += changes
    tally.effects += len(effects)
    for place, (one, expected, *found) in enumerate(zip(said, direct, through, listed, strict=True)):
        if expected.fine and place not in effects and not _LEAVES.match(one.text):
            tally.direct += 1
            ways = zip(found, (False, True), strict=True)
            tally.differences += [Difference(name, one.text, outcome, way) for outcome, way in ways if not outcome.fine]


def _recorded(world: World, name: str) -> list[Said]:
    upstream = world.cluster.upstream
    with upstream.connect() as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(_BASE)))
    said = record(program("psql", "postgresql-client"), upstream, name, _FOLDER / f"{name}.sql", _TERMS)
    with upstream.connect(name) as connection:
        _come_to_rest(connection, name)
        connection.execute(_READABLE.replace("READER", _READER))  # type: ignore[arg-type]
    world.cluster.templates[name] = frozenset()
    return said


def _come_to_rest(connection: "psycopg.Connection[Any]", name: str) -> None:
    """Whatever keeps a database from being copied or dropped: sessions, pending transactions, subscriptions."""
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()", (name,)
    )
    for (gid,) in connection.execute("SELECT gid FROM pg_prepared_xacts WHERE database = %s", (name,)).fetchall():
        connection.execute(sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(gid)))
    mine = "SELECT subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE datname = %s"
    for (subscription,) in connection.execute(mine, (name,)).fetchall():
        for words in ("DISABLE", "SET (slot_name = NONE)"):
            connection.execute(sql.SQL("ALTER SUBSCRIPTION {} " + words).format(sql.Identifier(subscription)))
        connection.execute(sql.SQL("DROP SUBSCRIPTION {}").format(sql.Identifier(subscription)))


def _directly(world: World, name: str, said: list[Said]) -> tuple[list[Outcome], set[int]]:
    """Also the places of the statements that succeeded and took effect all the same."""
    cluster, copy = world.cluster, f"{name}_direct"
    upstream = cluster.upstream
    effects: set[int] = set()
    with upstream.connect() as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(copy), sql.Identifier(name)))
        try:
            place = Place(upstream.host, upstream.port)
            pinned = {"default_transaction_read_only": "on", "client_encoding": "UTF8", **dict(_TERMS.parameters)}
            with watching(upstream, copy, cluster.server.data_dir, cluster.out) as watch:
                quick = watch.probe()

                def look(at: int) -> None:
                    nonlocal quick
                    now = watch.probe()
                    if any(what != "other sessions" for what in differences(quick, now)):
                        effects.add(at)
                    quick = now

                stays = [replace(one, text="") if _LEAVES.match(one.text) else one for one in said]
                outcomes = replay(lambda: place.log_in(_READER, _PASSWORD, copy, **pinned), stays, look)
        finally:
            with upstream.connect(copy) as inside:
                _come_to_rest(inside, copy)
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(copy)))
    return outcomes, {at for at in effects if outcomes[at].fine}


def _through(world: World, name: str, said: list[Said]) -> tuple[list[Outcome], list[str]]:
    """Also what changed, by the place where it was seen."""
    changes: list[str] = []
    with world.copy(name, _setting(world, name)) as copy:
        whole, quick = copy.watch.state(), copy.watch.probe()

        def look(place: int) -> None:
            nonlocal whole, quick
            now = copy.watch.probe()
            shown = [what for what in differences(quick, now) if what not in _NOT_COMPARED]
            if shown:
                changes.append(f"{name}: {', '.join(shown)} by {' '.join(said[place].text.split())[:200]}")
            quick = now
            if place % _LOOK_EVERY == _LOOK_EVERY - 1 or place == len(said) - 1:
                seen = copy.watch.state()
                shown = [what for what in differences(whole, seen) if what not in _NOT_COMPARED]
                if shown:
                    changes.append(f"{name}: {', '.join(shown)} before {' '.join(said[place].text.split())[:200]}")
                whole = seen
                quick = copy.watch.probe()

        outcomes = replay(lambda: copy.log_in(_TERMS.parameters), said, look)
    return outcomes, changes


def _listed(world: World, name: str, said: list[Said]) -> list[Outcome]:
    with world.copy(name, _setting(world, name, functions=True)) as copy:
        return replay(lambda: copy.log_in(_TERMS.parameters), said)


def _setting(world: World, name: str, *, functions: bool = False) -> Setting:
    with world.cluster.upstream.connect(name) as connection:
        schemas = tuple(row[0] for row in connection.execute(_SCHEMAS).fetchall())
        return Setting("", schemas, tuple(row[0] for row in connection.execute(_FUNCTIONS).fetchall()) if functions else ())


def _drop(world: World, name: str) -> None:
    with world.cluster.upstream.connect() as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
