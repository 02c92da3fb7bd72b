"""The reader's machine, as the documents suppose it: a configuration file, the database's CA, a password file."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from psycopg import sql

from tests.support.free_port import free_port
from tests.support.upstream import Database, Upstream


def prepare(folder: Path, upstream: Upstream, database: Database) -> int:
    """Write the files. Returns the admin API's port."""
    for name in ("etc", "backups"):
        (folder / name).mkdir(mode=0o700)
    port = free_port()
    settings = [
        f"state_dir = {json.dumps(str(folder / 'state'))}",
        "[listen]",
        "port = 0",
        "drain_seconds = 1.0",
        "[admin_api]",
        f"port = {port}",
    ]
    (folder / "etc" / "pgbastion.toml").write_text("\n".join(settings) + "\n")
    if upstream.has_tls:
        (folder / "db-ca.pem").write_text(upstream.ca_file.read_text())
    password = folder / "app_ro.password"
    password.touch(mode=0o600)
    password.write_text(database.app_ro.password.reveal())
    return port


@contextmanager
def tunnel(folder: Path, upstream: Upstream, database: Database) -> Iterator[None]:
    """A superuser whose URL everybody knows, in the file `admin.url`; gone afterwards, with what was made by it."""
    login, password = sql.Identifier(f"tunnel_{database.name}"), secrets.token_urlsafe(18)
    with upstream.connect() as admin:
        admin.execute(sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}").format(login, sql.Literal(password)))
    file = folder / "admin.url"
    file.touch(mode=0o600)
    where = f"{upstream.host}:{upstream.port}/{database.name}"
    file.write_text(f"postgresql://tunnel_{database.name}:{password}@{where}\n")
    try:
        yield
    finally:
        with upstream.connect(database.name) as admin:
            made = "SELECT rolname FROM pg_roles WHERE rolname IN ('shop_ro', 'shop_rw', %s)"
            for (name,) in admin.execute(made, [f"tunnel_{database.name}"]).fetchall():
                for command in ("REASSIGN OWNED BY {} TO CURRENT_USER", "DROP OWNED BY {}", "DROP ROLE {}"):
                    admin.execute(sql.SQL(command).format(sql.Identifier(name)))


def places(folder: Path, upstream: Upstream, database: Database, api_port: int) -> dict[str, str]:
    """What the documents call a thing, and what it is called here."""
    here = {
        "/etc/pgbastion/": f"{folder}/etc/",
        "/var/lib/pgbastion": f"{folder}/state",
        "/var/backups/": f"{folder}/backups/",
        "--host db.internal": f"--host {upstream.host} --port {upstream.port}",
        "webshop": database.name,
        "127.0.0.1:6480": f"127.0.0.1:{api_port}",
    }
    return here if upstream.has_tls else {**here, "--ca-file db-ca.pem": "--tls disable"}
