"""A PostgreSQL that writes down all that it is asked, and databases on it whose logins no log ever held."""

import contextlib
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

from psycopg import sql

from gateway.access.verifiers import make_verifier
from gateway.demo.postgres import start_postgres
from gateway.services.target_sql import harden_sql
from tests.support.upstream import Upstream, make_certificates

TABLES = Path(__file__).parents[1] / "support" / "tables.sql"


@contextlib.contextmanager
def talkative_postgres(folder: Path) -> Iterator[Upstream]:
    """It logs every statement, its values, every connection and every failure."""
    ca_file, tls = make_certificates(folder)
    settings = {
        "log_statement": "all",
        "log_min_messages": "debug1",
        "log_min_error_statement": "debug5",
        "log_min_duration_statement": "0",
        "log_error_verbosity": "verbose",
        "log_connections": "on",
        "log_disconnections": "on",
        "log_parameter_max_length": "-1",
        "log_parameter_max_length_on_error": "-1",
        "shared_preload_libraries": "pg_stat_statements",
        "pg_stat_statements.track_utility": "on",
    }
    with start_postgres(Path(tempfile.gettempdir()), tls=tls, settings=settings) as server:
        upstream = Upstream(
            server.host,
            server.port,
            server.superuser,
            server.superuser_password,
            server.has_tls,
            server.major,
            ca_file,
            server.log_file,
        )
        with upstream.connect("template1") as connection:
            connection.execute("CREATE EXTENSION pg_stat_statements")
            for known in ("app_ro", "app_rw"):  # the tables that tests share are open to them
                connection.execute(f"CREATE ROLE {known}")  # type: ignore[arg-type]
        yield upstream


def upstream_database(upstream: Upstream, name: str, **logins: str) -> None:
    """With tables, and a role for each of the names; PostgreSQL itself never hears a password."""
    with upstream.connect() as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        for login, password in logins.items():
            verifier = make_verifier(password, secrets.token_bytes(16))
            make = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(login), sql.Literal(verifier))
            connection.execute(make)
    with upstream.connect(name) as connection:
        connection.execute(TABLES.read_text())
        connection.execute(harden_sql())
        for login in logins:
            rights = "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {}"
            connection.execute(sql.SQL(rights).format(sql.Identifier(login)))
