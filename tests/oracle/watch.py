"""What the server itself shows of a database and its cluster, so that anything a statement leaves behind or holds is seen.

Whatever changes a row changes its place, its xmin or its xmax, row locks and undone changes among them; so sums over these say for
each catalog whether anything touched it. What is changed in place (sequences, pg_class, pg_database) is read as text. Looking must
not run anything: planning a query runs functions in the expressions of indexes and checks, so tables of users are copied out.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString, cast

import psycopg

from tests.support.upstream import Upstream

Connection = psycopg.Connection[Any]
#: What was looked at, and what was seen there. Compared, never read.
State = dict[str, str]

#: Channels that the corpora notify.
CHANNELS = ("c1", "c", "chan", "x", "ch", "oracle")

_TABLES = (
    "SELECT c.oid, c.oid::regclass::text, c.relkind::text, c.oid >= 16384 AND c.relkind = 'r'"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind IN ('r', 'm', 'S') AND (c.relkind <> 'm' OR c.relispopulated)"
    " AND n.nspname NOT LIKE 'pg\\_temp%' AND n.nspname NOT LIKE 'pg\\_toast%' ORDER BY c.oid"
)
_TOUCHED = (
    "SELECT {label}, count(*)::text || ' ' || coalesce(sum(hashtid(ctid)::bigint # (xmin::text::bigint * 31"
    " + xmax::text::bigint * 17)), 0)::text FROM ONLY {table}"
)
_SEQUENCE = "SELECT {label}, last_value || ' ' || log_cnt || ' ' || is_called FROM {table}"
_CLUSTER = """
SELECT 'pg_class, in place', coalesce(sum(hashtextextended(c::text, 0)), 0)::text FROM pg_class c
UNION ALL SELECT 'pg_database, in place', coalesce(sum(hashtextextended(d::text, 0)), 0)::text FROM pg_database d
UNION ALL SELECT 'large objects', coalesce(sum(hashtextextended(l::text, 0)), 0)::text FROM pg_largeobject l
UNION ALL SELECT 'prepared transactions', coalesce(string_agg(gid, ' '), '') FROM pg_prepared_xacts
UNION ALL SELECT 'slots', coalesce(string_agg(slot_name || ' ' || coalesce(restart_lsn::text, '') || ' ' ||
  coalesce(confirmed_flush_lsn::text, ''), ' ' ORDER BY slot_name), '') FROM pg_replication_slots
UNION ALL SELECT 'origins', coalesce(sum(hashtextextended(o::text, 0)), 0)::text FROM pg_replication_origin_status o
UNION ALL SELECT 'sending', count(*)::text FROM pg_stat_replication
UNION ALL SELECT 'configuration read', pg_conf_load_time()::text
UNION ALL SELECT 'server started', pg_postmaster_start_time()::text
UNION ALL SELECT 'checkpoint', checkpoint_lsn::text FROM pg_control_checkpoint()
UNION ALL SELECT 'statistics reset', concat_ws(' ', (SELECT stats_reset FROM pg_stat_database WHERE datname = current_database()),
  (SELECT stats_reset FROM pg_stat_bgwriter), (SELECT stats_reset FROM pg_stat_archiver),
  (SELECT max(stats_reset) FROM pg_stat_slru))
UNION ALL SELECT 'log file', coalesce(pg_current_logfile(), '')
"""
_PROBE = """
SELECT pg_snapshot_xmax(pg_current_snapshot())::text,
  (SELECT coalesce(string_agg(DISTINCT locktype || ' ' || mode, ', '), '') FROM pg_locks WHERE pid <> ALL (%s)
     AND (locktype = 'advisory' OR mode <> 'AccessShareLock') AND locktype <> 'virtualxid'
     AND (locktype <> 'object' OR classid <> 1262)),  -- of the database: whoever logs in has it for a moment
  (SELECT count(*) FROM pg_prepared_xacts)::text,
  (SELECT count(*) FROM pg_stat_activity WHERE pid = ANY (%s))::text
"""
_FILES = ("postgresql.auto.conf", "postgresql.conf", "pg_hba.conf", "pg_ident.conf", "autoprewarm.blocks", "backup_label")
_FOLDERS = (
    ".",
    "pg_replslot",
    "pg_twophase",
    "pg_snapshots",
    "pg_tblspc",
    "pg_logical/snapshots",
    "pg_logical/mappings",
    "log",
)


def differences(before: State, after: State) -> list[str]:
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


@dataclass
class Watch:
    """Three superuser sessions of one database, directly: one asks, one listens, one is there to be killed."""

    asking: Connection
    listening: Connection
    victim: Connection
    data_dir: Path
    out: Path
    heard: int = 0
    _texts: dict[tuple[int, ...], str] = field(default_factory=dict)

    @property
    def own(self) -> list[int]:
        return [self.asking.info.backend_pid, self.listening.info.backend_pid, self.victim.info.backend_pid]

    def probe(self) -> State:
        """Some 2 ms: what shows at once, and what only shows while the session holds it."""
        self.listening.pgconn.consume_input()
        while self.listening.pgconn.notifies():
            self.heard += 1
        row = self.asking.execute(_PROBE, (self.own, self.own)).fetchone()
        assert row is not None
        names = ("transaction ids", "locks held", "prepared transactions", "other sessions")
        return {
            **dict(zip(names, row, strict=True)),
            "notifications": str(self.heard),
            "files": " ".join(_listing(self.out)),
            "snapshots": " ".join(_listing(self.data_dir / "pg_snapshots")),
        }

    def state(self) -> State:
        """Some 60 ms: everything else, too."""
        tables = self.asking.execute(_TABLES).fetchall()
        key = tuple(oid for oid, *_ in tables)
        if key not in self._texts:
            self._texts[key] = _state_text(tables)
        found = dict(self.asking.execute(cast(LiteralString, self._texts[key])).fetchall())
        for _, name, _, of_users in tables:
            if of_users:
                found[name] = str(hash(self._copied(name)))
        for name in _FILES:
            with contextlib.suppress(OSError):
                found[f"file {name}"] = str(hash((self.data_dir / name).read_bytes()))
        for name in _FOLDERS:
            found[f"folder {name}"] = " ".join(_listing(self.data_dir / name, sizes=False))
        return {**found, **self.probe()}

    def _copied(self, table: str) -> bytes:
        with self.asking.cursor().copy(cast(LiteralString, f"COPY {table} TO STDOUT")) as copy:
            return b"".join(bytes(part) for part in copy)


def _state_text(tables: list[tuple[int, str, str, bool]]) -> str:
    parts = [_CLUSTER]
    for _, name, kind, of_users in tables:
        if of_users:
            continue
        label = "'" + name.replace("'", "''") + "'"
        parts.append((_SEQUENCE if kind == "S" else _TOUCHED).format(label=label, table=name))
    return " UNION ALL ".join(parts)


def _listing(folder: Path, *, sizes: bool = True) -> list[str]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return []
    found = []
    for entry in entries:
        with contextlib.suppress(OSError):  # gone meanwhile
            status = entry.stat()
            found.append(f"{entry.name}:{status.st_size}:{status.st_mtime_ns}" if sizes else entry.name)
    return found


@contextlib.contextmanager
def watching(upstream: Upstream, database: str, data_dir: Path, out: Path) -> Iterator[Watch]:
    with contextlib.ExitStack() as stack:
        asking, listening, victim = (stack.enter_context(upstream.connect(database)) for _ in range(3))
        asking.prepare_threshold = 2
        for channel in CHANNELS:
            listening.execute(cast(LiteralString, f"LISTEN {channel}"))
        yield Watch(asking, listening, victim, data_dir, out)
