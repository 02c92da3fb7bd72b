"""psql as people use it. What it shows through the gateway is what it shows directly, as the same role."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.doors import LARGE, LARGE_ROWS, Door, direct_environment, program, run

INSERT = "INSERT INTO scratch VALUES (1, 'psql', 'no')"
CATALOGUE = r"""
\d
\d+
\dt *.*
\d accounts
\d+ accounts
\d+ orders
\d+ scratch
\d+ v_accounts
\d+ mv_totals
\d+ measure
\d+ every_type
\di+
\ds+
\dv+
\dm+
\df
\df+ public.*
\dT+
\dD+
\l
\l+
\dn
\dn+
\du
\dp
\dp hr.*
\dg+
\db
\dx
\dL
\dO
\do public.*
\dy
\dRp
\dRs
\des
\dF
\dc public.*
\dC public.*
\dd
\ddp
\dP
\dX
\dconfig work_mem
\sf fiscal_year
\sv v_accounts
\encoding
\timing
\timing off
\pset null '(nothing)'
SELECT NULL;
TABLE every_type;
\x
TABLE every_type;
\x
\lo_list
SELECT relname AS name FROM pg_class WHERE relname = 'accounts' \gset
\echo :name
SELECT 1 AS a \gdesc
SELECT $1::int + $2::int \bind 1 2 \g
"""


@pytest.fixture(scope="module")
def psql() -> str:
    return program("psql", "postgresql-client")


def say(psql: str, door: Door, script: str, *options: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return run([psql, "-X", "-v", "VERBOSITY=verbose", *options], door.environment(**environment), script)


def test_tls_is_verified(psql: str, reader: Door) -> None:
    """verify-full with the gateway's CA, channel binding required; without the CA file nothing connects."""
    shown = say(psql, reader, r"\conninfo", PGCHANNELBINDING="require")
    assert shown.returncode == 0, shown.stderr
    assert "TLSv1.3" in shown.stdout
    refused = say(psql, reader, "SELECT 1", PGSSLROOTCERT=str(reader.database.upstream.ca_file))
    assert refused.returncode == 2
    assert "certificate verify failed" in refused.stderr


def test_the_catalogue_looks_as_it_does_directly(psql: str, reader: Door) -> None:
    """Every backslash command, in one session: the same text."""
    options = [psql, "-X", "-v", f"DBNAME={reader.database.name}"]
    through = run(options, reader.environment(), CATALOGUE)
    direct = run(options, direct_environment(reader), CATALOGUE)
    assert through.stderr == direct.stderr
    assert without_chance(through.stdout) == without_chance(direct.stdout)
    assert "accounts_pkey" in through.stdout


def without_chance(text: str) -> str:
    return re.sub(r"Time: .*", "Time", text)


def test_a_denial_and_what_comes_after(psql: str, reader: Door) -> None:
    """The rule, the place and the hint are shown; the session goes on."""
    shown = say(psql, reader, f"{INSERT};\nSELECT 'still ' || 'here';", "-At")
    assert "ERROR:  25006: INSERT is not allowed in a read-only session" in shown.stderr
    assert "^" in shown.stderr
    assert f'"{reader.target}:rw"' in shown.stderr
    assert shown.stdout.strip() == "still here"
    assert reader.scratch("psql") == []


def test_an_aborted_transaction(psql: str, reader: Door) -> None:
    """As PostgreSQL's own: 25P02 until ROLLBACK; a savepoint brings it back."""
    plain = f"BEGIN;\nSELECT 1;\n{INSERT};\nSELECT 2;\nROLLBACK;\nSELECT 3;\n"
    script = f"{plain}BEGIN;\nSAVEPOINT a;\n{INSERT};\nROLLBACK TO a;\nSELECT 4;\nCOMMIT;"
    shown = say(psql, reader, script, "-Atq")
    assert shown.stdout.split() == ["1", "3", "4"]
    assert re.findall(r"ERROR:  (\w+)", shown.stderr) == ["25006", "25P02", "25006"]


def test_on_error_stop_and_one_transaction(psql: str, reader: Door) -> None:
    shown = say(psql, reader, f"SELECT 1;\n{INSERT};\nSELECT 2;", "-At1", "-v", "ON_ERROR_STOP=1")
    assert shown.returncode == 3
    assert "2" not in shown.stdout.split()


def test_a_large_result_whole_and_by_cursor(psql: str, reader: Door) -> None:
    for options in (("-At",), ("-At", "-v", "FETCH_COUNT=1000")):
        shown = say(psql, reader, LARGE, *options)
        assert shown.stdout.count("\n") == LARGE_ROWS, shown.stderr


def test_copy_out_and_a_file_of_the_client(psql: str, reader: Door, tmp_path: Path) -> None:
    """COPY TO STDOUT and \\copy to the client's own file; the server's files are refused."""
    out = tmp_path / "accounts.csv"
    shown = say(psql, reader, f"COPY hr.people TO STDOUT;\n\\copy (TABLE accounts) TO '{out}' CSV HEADER\n", "-q")
    assert shown.stdout == "1\tAda\thappy\n2\tBob\tok\n", shown.stderr
    assert len(out.read_text().splitlines()) == 51
    refused = say(psql, reader, "COPY hr.people TO '/tmp/out';")
    assert "ERROR:  42501" in refused.stderr


def test_a_database_that_does_not_exist(psql: str, reader: Door) -> None:
    """After login the person learns which ones they have; before, nothing."""
    shown = say(psql, reader, "", PGDATABASE="nowhere")
    assert shown.returncode == 2
    assert reader.target in shown.stderr
    wrong = say(psql, reader, "", PGDATABASE="nowhere", PGPASSWORD="wrong")
    assert f'password authentication failed for user "{reader.person.name}"' in wrong.stderr
    assert reader.target not in wrong.stderr


def test_password_file_and_service_file(psql: str, reader: Door, tmp_path: Path) -> None:
    service, passwords = tmp_path / "pg_service.conf", tmp_path / "pgpass"
    gateway = reader.gateway
    service.write_text(
        f"[shop]\nhost={gateway.host}\nport={gateway.port}\ndbname={reader.dbname}\nuser={reader.person.name}\n"
        f"sslmode=verify-full\nsslrootcert={gateway.ca_file}\n"
    )
    passwords.write_text(f"{gateway.host}:{gateway.port}:*:{reader.person.name}:{reader.person.password}\n")
    passwords.chmod(0o600)
    environment = {name: value for name, value in reader.environment().items() if not name.startswith("PG")}
    environment |= {"PGSERVICEFILE": str(service), "PGPASSFILE": str(passwords)}
    shown = run([psql, "-X", "-At", "service=shop", "-c", "SELECT current_database()"], environment)
    assert shown.stdout.strip() == reader.database.name, shown.stderr


def test_sql_ascii_is_pinned_to_utf8_and_other_encodings_are_refused(psql: str, reader: Door) -> None:
    shown = say(
        psql, reader, "SHOW client_encoding;\nSELECT words FROM every_type WHERE id = 1;", "-At", PGCLIENTENCODING="SQL_ASCII"
    )
    assert "UTF8 instead of SQL_ASCII" in shown.stderr
    assert shown.stdout.splitlines() == ["UTF8", "Grüße, 世界 🙂"]
    refused = say(psql, reader, "", PGCLIENTENCODING="LATIN1")
    assert "PGCLIENTENCODING=UTF8" in refused.stderr


def test_writing_in_a_read_write_session(psql: str, writer: Door, tmp_path: Path) -> None:
    """INSERT, UPDATE, COPY FROM STDIN, \\copy, and a transaction that is rolled back."""
    source = tmp_path / "rows.csv"
    source.write_text("30,psql,from a file\n")
    script = f"""
INSERT INTO scratch VALUES (10, 'psql', 'inserted'), (11, 'psql', 'to be changed');
UPDATE scratch SET note = 'changed' WHERE client = 'psql' AND id = 11;
COPY scratch FROM STDIN;
20\tpsql\tcopied
\\.
\\copy scratch FROM '{source}' CSV
BEGIN;
DELETE FROM scratch WHERE client = 'psql';
ROLLBACK;
"""
    shown = say(psql, writer, script, "-v", "ON_ERROR_STOP=1")
    assert shown.returncode == 0, shown.stderr
    assert writer.scratch("psql") == [(10, "inserted"), (11, "changed"), (20, "copied"), (30, "from a file")]


def test_read_write_needs_its_own_grant(psql: str, reader: Door) -> None:
    refused = say(psql, reader, "", PGDATABASE=f"{reader.target}:rw")
    assert refused.returncode == 2
    assert "read" in refused.stderr
