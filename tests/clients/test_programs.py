"""pg_dump, pg_restore and pgbench through the gateway."""

import re
from pathlib import Path

import pytest
from psycopg import sql

from tests.support.doors import Door, direct_environment, program, run
from tests.support.truth import upstream_checksum

_CLIENTS, _TRANSACTIONS = 4, 50


def dump(door: Door, environment: dict[str, str], *options: str) -> str:
    # Large objects are read by fast-path calls, and the read-only role may not read them either.
    command = [program("pg_dump", "postgresql-client"), "--no-owner", "--no-privileges", "--no-large-objects", *options]
    version = re.search(r"(\d+)", run([command[0], "--version"], environment).stdout)
    assert version is not None
    if int(version[1]) < door.database.upstream.major:
        pytest.skip(f"pg_dump {version[1]} does not dump a server of version {door.database.upstream.major}")
    if int(version[1]) < 16:
        command[command.index("--no-large-objects")] = "--no-blobs"
    made = run(command, environment)
    assert made.returncode == 0, made.stderr
    return made.stdout


def plain(script: str) -> str:
    """Without what is random in each dump."""
    return re.sub(r"^\\(un)?restrict .*", "", script, flags=re.MULTILINE)


@pytest.mark.parametrize("options", [(), ("--inserts",), ("--schema-only",)])
def test_a_dump_is_the_one_that_is_made_directly(reader: Door, options: tuple[str, ...]) -> None:
    through = dump(reader, reader.environment(), *options)
    direct = dump(reader, direct_environment(reader), *options)
    assert plain(through) == plain(direct)


def test_a_dump_restores_to_the_same_database(reader: Door) -> None:
    """Schema and data, dumped through the gateway and restored directly: a second dump of the copy is equal."""
    made = dump(reader, reader.environment())
    upstream = reader.database.upstream
    copy = f"{reader.database.name}_copy"
    with upstream.connect() as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(copy)))
        try:
            as_superuser = direct_environment(reader) | {
                "PGUSER": upstream.superuser,
                "PGPASSWORD": upstream.superuser_password.reveal(),
                "PGDATABASE": copy,
            }
            restored = run(
                [program("psql", "postgresql-client"), "-X", "-q", "-v", "ON_ERROR_STOP=1"],
                as_superuser,
                # the schema exists in every new database
                re.sub(r"^CREATE SCHEMA public;|^\\(un)?restrict .*", "", made, flags=re.MULTILINE),
            )
            assert restored.returncode == 0, restored.stderr
            again = dump(reader, as_superuser)
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(copy)))
    assert plain(again) == plain(made)


def test_a_directory_dump_with_two_jobs_is_refused_by_name(reader: Door, tmp_path: Path) -> None:
    """Parallel dumps need SET TRANSACTION SNAPSHOT and pg_export_snapshot(), which hold a snapshot for others."""
    pg_dump = program("pg_dump", "postgresql-client")
    made = run([pg_dump, "-Fd", "-j2", "-f", tmp_path / "out"], reader.environment())
    assert made.returncode != 0
    assert "server version mismatch" in made.stderr or "pg_export_snapshot" in made.stderr


@pytest.fixture(scope="module")
def bench(reader: Door) -> str:
    """pgbench's tables, at scale 1, made directly."""
    pgbench = program("pgbench", "postgresql-client")
    upstream = reader.database.upstream
    as_superuser = direct_environment(reader) | {
        "PGUSER": upstream.superuser,
        "PGPASSWORD": upstream.superuser_password.reveal(),
    }
    made = run([pgbench, "-i", "-q"], as_superuser)
    assert made.returncode == 0, made.stderr
    with upstream.connect(reader.database.name) as connection:
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO app_ro")
    return pgbench


@pytest.mark.parametrize("protocol", ["simple", "extended", "prepared"])
def test_pgbench_reads(bench: str, reader: Door, protocol: str) -> None:
    """Some clients at once; no transaction fails, and the data is untouched."""
    with reader.database.upstream.connect(reader.database.name) as admin:
        before = upstream_checksum(admin)
        command = [bench, "-n", "-S", "-M", protocol, "-c", str(_CLIENTS), "-j", "2", "-t", str(_TRANSACTIONS)]
        done = run(command, reader.environment())
        assert done.returncode == 0, done.stderr
        assert f"actually processed: {_CLIENTS * _TRANSACTIONS}/{_CLIENTS * _TRANSACTIONS}" in done.stdout
        assert upstream_checksum(admin) == before


def test_pgbench_writes_are_refused(bench: str, reader: Door) -> None:
    done = run([bench, "-n", "-t", "1"], reader.environment())
    assert done.returncode != 0
    assert "UPDATE is not allowed in a read-only session" in done.stderr
