"""A server with a template, copies of it, and a gateway that reaches them as a superuser, through the relay."""

import contextlib
import itertools
import os
import secrets
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString, cast

import psycopg
from psycopg import sql

from gateway.demo.binaries import PostgresError, Preference
from gateway.demo.postgres import PostgresServer, start_postgres
from gateway.services import targets
from gateway.services.errors import ServiceError
from gateway.services.target_facts import Permitted
from tests.oracle.entries import PLAIN, Setting
from tests.oracle.relay import Relay, running_relay
from tests.oracle.watch import Watch, watching
from tests.support.gateway import WHY, Person, RunningGateway, running_gateway
from tests.support.upstream import Database, Login, Upstream
from tests.support.wire import Place, RawClient

_HERE = Path(__file__).parent
#: Which template, and the scripts that make it; foreign.sql follows where the server has what it needs.
TEMPLATES = {"business": _HERE / "template.sql", "objects": _HERE.parent / "policy" / "objects.sql"}
# Nothing may move by itself, and everything that can be misused has to be there.
_SETTINGS = {
    "autovacuum": "off",
    "checkpoint_timeout": "1d",
    "max_wal_size": "4GB",
    "wal_level": "logical",
    "max_prepared_transactions": "20",
    "max_replication_slots": "20",
    "max_wal_senders": "10",
    "track_commit_timestamp": "on",
}
_ROLES = (
    "CREATE ROLE app_owner LOGIN; CREATE ROLE analyst LOGIN; CREATE ROLE other_user LOGIN; CREATE ROLE grp NOLOGIN;"
    "GRANT grp TO analyst"
)
_FOREIGN = frozenset({"postgres_fdw", "file_fdw"})


@dataclass(frozen=True)
class Cluster:
    """A server of one major. `out`: a folder that it can write. `templates`: the extensions in each database to copy."""

    server: PostgresServer
    upstream: Upstream
    relay: Relay
    out: Path
    templates: dict[str, frozenset[str]]

    @property
    def major(self) -> int:
        return self.upstream.major

    def run(self, database: str, script: str) -> None:
        """A script with @OUT@ in it, directly, as superuser."""
        with self.upstream.connect(database) as connection:
            connection.execute(cast(LiteralString, script.replace("@OUT@", str(self.out))))


@contextlib.contextmanager
def running_cluster(prefer: Preference) -> Iterator[Cluster]:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(_started(prefer))
        upstream = _upstream(server, server.host, server.port)
        relay = stack.enter_context(running_relay(server.host, server.port))
        out = server.data_dir.parent / "out"
        out.mkdir()
        out.chmod(0o777)
        with upstream.connect() as connection:
            connection.execute(_ROLES)
        yield Cluster(server, upstream, relay, out, {})


def _started(prefer: Preference) -> PostgresServer:
    directory = Path(tempfile.gettempdir())
    try:
        more = {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track": "none"}
        return start_postgres(directory, prefer=prefer, settings={**_SETTINGS, **more})
    except PostgresError as error:
        if "pg_stat_statements" not in str(error):
            raise
        return start_postgres(directory, prefer=prefer, settings=_SETTINGS)


def _upstream(server: PostgresServer, host: str, port: int) -> Upstream:
    return Upstream(
        host, port, server.superuser, server.superuser_password, False, server.major, Path(os.devnull), server.log_file
    )


def make_template(cluster: Cluster, name: str, study: Path | None) -> None:
    """`name` is one of TEMPLATES, or "study"."""
    with cluster.upstream.connect() as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    with cluster.upstream.connect(name) as connection:
        script = TEMPLATES[name] if study is None else study / "template.sql"
        connection.execute(cast(LiteralString, script.read_text()))
        if name != "objects":
            _add_extensions(cluster, connection)
        if study:
            connection.execute(cast(LiteralString, (study / "grants.sql").read_text()))
        found = {row[0] for row in connection.execute("SELECT extname FROM pg_extension").fetchall()}
        if os.path.exists(upstream_library(connection, "test_decoding")):
            found.add("test_decoding")
        with contextlib.suppress(psycopg.Error):  # a foreign table that cannot be read, say
            connection.execute("VACUUM ANALYZE")
    cluster.templates[name] = frozenset(found)


def _add_extensions(cluster: Cluster, connection: "psycopg.Connection[Any]") -> None:
    """All that there are, and with them tables of other servers, files and programs."""
    known = connection.execute("SELECT name FROM pg_available_extensions ORDER BY name").fetchall()
    for (name,) in known:
        with contextlib.suppress(psycopg.Error):  # one that only works when it is preloaded, say
            connection.execute(sql.SQL("CREATE EXTENSION IF NOT EXISTS {}").format(sql.Identifier(name)))
    if {name for (name,) in known} >= _FOREIGN:
        script = (_HERE / "foreign.sql").read_text().replace("@OUT@", str(cluster.out))
        script = script.replace("PORT", str(cluster.upstream.port))
        password = cluster.upstream.superuser_password.reveal()
        connection.execute(cast(LiteralString, script.replace("PASSWORD", password)))


def upstream_library(connection: "psycopg.Connection[Any]", name: str) -> str:
    row = connection.execute("SELECT setting FROM pg_config WHERE name = 'PKGLIBDIR'").fetchone()
    assert row is not None
    return f"{row[0]}/{name}.so"


@dataclass
class Copy:
    """A fresh copy of the template, its watch, and the person and target by which the gateway reaches it."""

    cluster: Cluster
    name: str
    watch: Watch
    person: Person
    target: str
    place: Place
    _oids: dict[str, int] = field(default_factory=dict)

    def log_in(self, parameters: tuple[tuple[str, str], ...] = ()) -> RawClient:
        """Through the gateway. Raises Refused."""
        return self.place.log_in(self.person.name, self.person.password, self.target, **dict(parameters))

    def oid_of(self, kind: str, name: str) -> int:
        """`kind` is regtype or regprocedure. 0: no such function in this major version."""
        if name not in self._oids:
            cast_or_null = "to_regprocedure(%s)" if kind == "regprocedure" else "%s::regtype"  # the cast takes numbers, too
            ask = cast(LiteralString, f"SELECT coalesce({cast_or_null}::oid, 0)")
            row = self.watch.asking.execute(ask, (name,)).fetchone()
            assert row is not None
            self._oids[name] = row[0]
        return self._oids[name]


@dataclass
class World:
    cluster: Cluster
    gateway: RunningGateway
    person: Person
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    @contextlib.contextmanager
    def copy(self, template: str, setting: Setting = PLAIN) -> Iterator[Copy]:
        """The set-up is run in it, directly, before the gateway hears of it."""
        name = f"copy_{next(self._numbers)}"
        cluster = self.cluster
        with cluster.upstream.connect() as connection:
            strategy = sql.SQL("STRATEGY wal_log" if cluster.major >= 15 else "")
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} {}").format(sql.Identifier(name), sql.Identifier(template), strategy)
            )
        try:
            if cluster.templates[template] >= _FOREIGN:
                cluster.run(name, f"ALTER SERVER loop OPTIONS (SET dbname '{name}')")
            if setting.setup:
                _one_by_one(cluster, name, setting.setup)
            with watching(cluster.upstream, name, cluster.server.data_dir, cluster.out) as watch:
                yield Copy(cluster, name, watch, self.person, self._target(name, setting), self._place())
        finally:
            self._drop(name)

    def _place(self) -> Place:
        return Place(self.gateway.host, self.gateway.port, self.gateway.ca_file)

    def _target(self, name: str, setting: Setting) -> str:
        cluster = self.cluster
        through = _upstream(cluster.server, "127.0.0.1", cluster.relay.port)
        login = Login(cluster.upstream.superuser, cluster.upstream.superuser_password)
        target = self.gateway.target(Database(through, name, login, login))
        listed = [(Permitted.FUNCTION, item) for item in setting.lists]
        listed += [(Permitted.SCHEMA, item) for item in setting.schemas if item != "public"]
        for kind, item in listed:
            with contextlib.suppress(ServiceError):  # nothing to be listed that way: the entry shows it
                change = targets.permit(self.gateway.admin.store, name=target, kind=kind, item=item, **WHY)
                self.gateway.admin.change(change)
        self.gateway.grant(self.person, target)
        self.gateway.settle(self.person, target)
        return target

    def _drop(self, name: str) -> None:
        """The copy, and what its entries may have left in the cluster."""
        for path in self.cluster.out.iterdir():
            path.unlink()
        with self.cluster.upstream.connect(name) as connection:
            for (gid,) in connection.execute("SELECT gid FROM pg_prepared_xacts").fetchall():
                connection.execute(sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(gid)))
        with self.cluster.upstream.connect() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()", (name,)
            )
            connection.execute("ALTER ROLE postgres RESET ALL")
            connection.execute("ALTER SYSTEM RESET ALL")
            connection.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active")
            connection.execute("SELECT pg_replication_origin_drop(roname) FROM pg_replication_origin")
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _one_by_one(cluster: Cluster, name: str, setup: str) -> None:
    """Each statement of a set-up by itself: some stand in no transaction with others."""
    import pglast

    with cluster.upstream.connect(name) as connection:
        for statement in pglast.split(setup):
            connection.execute(cast(LiteralString, statement))


@contextlib.contextmanager
def running_world(prefer: Preference) -> Iterator[World]:
    with running_cluster(prefer) as cluster, running_gateway() as gateway:
        yield World(cluster, gateway, gateway.person(f"u_{secrets.token_hex(4)}"))
