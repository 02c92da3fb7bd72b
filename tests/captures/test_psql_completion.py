"""psql's tab completion asks the catalog in its own way for each place of a statement: none of it is refused."""

import contextlib
import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.doors import Door, program

#: What somebody types before the tab key. A question of what comes next is asked twice: some only answer the second time.
PREFIXES = """
SELECT * FROM |SELECT * FROM app.|SELECT * FROM app.cust|SELECT * FROM "Odd|SELECT * FROM app.customers WHERE |SELECT app.
SELECT count(*) FROM pg_catalog.pg_|TABLE app.|COPY app.|COPY app.customers TO |\\copy app.|\\d |\\d app.|\\d+ app.|\\da |\\dA
\\dAc |\\dAf |\\dAo |\\dAp |\\db |\\dC |\\dconfig wor|\\dD app.|\\ddp |\\dE app.|\\des |\\deu |\\dew |\\df app.|\\dF |\\dFd |\\dFp |\\dFt |\\dg
\\di app.|\\dL |\\dm app.|\\dn |\\dO |\\do |\\dp app.|\\dP app.|\\drds |\\dRp |\\dRs |\\ds app.|\\dT app.|\\du |\\dv app.|\\dx |\\dX |\\dy |\\l
\\sf app.|\\sv app.|\\ef app.|\\ev app.|\\h CREATE |\\encoding |\\c |\\z app.|\\set |\\pset |\\password
SET |SET work_mem TO |SET search_path TO |SET TIME ZONE |SET DateStyle TO |SHOW |RESET |SET ROLE |SET SESSION AUTHORIZATION |SET CONSTRAINTS
ALTER TABLE app.|ALTER TABLE app.customers |ALTER TABLE app.customers ALTER COLUMN |ALTER TABLE app.customers DROP CONSTRAINT |ALTER INDEX app.
ALTER TABLE app.parents DISABLE TRIGGER |ALTER TABLE app.parents ENABLE RULE |ALTER TABLE app.bookings DETACH PARTITION |ALTER TYPE app.
ALTER TYPE app.stage RENAME VALUE |ALTER TYPE app.address RENAME ATTRIBUTE |ALTER DOMAIN app.age DROP CONSTRAINT |ALTER VIEW app.
ALTER MATERIALIZED VIEW app.|ALTER SEQUENCE app.|ALTER FUNCTION app.|ALTER AGGREGATE app.|ALTER DATABASE |ALTER ROLE |ALTER EXTENSION
ALTER EXTENSION hstore UPDATE TO |ALTER SERVER |ALTER FOREIGN DATA WRAPPER |ALTER FOREIGN TABLE app.|ALTER PUBLICATION |ALTER SUBSCRIPTION
ALTER TEXT SEARCH CONFIGURATION app.|ALTER TEXT SEARCH DICTIONARY app.|ALTER COLLATION app.|ALTER CONVERSION app.|ALTER STATISTICS app.
ALTER DEFAULT PRIVILEGES IN SCHEMA |ALTER EVENT TRIGGER |ALTER LANGUAGE |ALTER OPERATOR |ALTER POLICY |ALTER RULE |ALTER TRIGGER
ALTER SYSTEM SET |ALTER TABLESPACE |ALTER USER MAPPING FOR |ANALYZE app.|VACUUM app.|CLUSTER app.|CLUSTER app.customers USING |REINDEX TABLE app.
REINDEX INDEX app.|CALL app.|COMMENT ON COLUMN app.|COMMENT ON CONSTRAINT |COMMENT ON TABLE app.|CREATE INDEX ON app.|CREATE EXTENSION
CREATE INDEX ON app.customers (|CREATE INDEX ON app.customers USING |CREATE POLICY p ON app.|CREATE RULE r AS ON INSERT TO app.
CREATE TRIGGER t BEFORE INSERT ON app.|CREATE TABLE t OF app.|CREATE TABLE t PARTITION OF app.|CREATE SUBSCRIPTION |CREATE STATISTICS
CREATE PUBLICATION p FOR TABLE app.|CREATE SCHEMA AUTHORIZATION |CREATE SERVER s FOREIGN DATA WRAPPER |CREATE DATABASE d TEMPLATE
CREATE TRIGGER t BEFORE UPDATE ON app.parents FOR EACH ROW EXECUTE FUNCTION app.|DEALLOCATE |DECLARE |FETCH |CLOSE |DELETE FROM app.|DISCARD
DROP TABLE app.|DROP VIEW app.|DROP FUNCTION app.|DROP AGGREGATE app.|DROP TYPE app.|DROP DOMAIN app.|DROP INDEX app.|DROP SCHEMA |DROP ROLE
DROP TRIGGER stamp ON |DROP POLICY own_rows ON |DROP RULE quiet ON |DROP OWNED BY |DROP ACCESS METHOD |DROP CAST |DROP PUBLICATION
DROP EVENT TRIGGER |DROP EXTENSION |DROP DATABASE |DROP TEXT SEARCH PARSER app.|DROP MATERIALIZED VIEW app.|EXECUTE |EXPLAIN SELECT * FROM app.
GRANT SELECT ON |GRANT SELECT ON TABLE app.|GRANT USAGE ON SCHEMA |GRANT EXECUTE ON FUNCTION app.|GRANT SELECT ON app.customers TO
GRANT USAGE ON FOREIGN SERVER |GRANT USAGE ON LANGUAGE |GRANT CREATE ON DATABASE |GRANT app_ro TO |REVOKE SELECT ON app.customers FROM
IMPORT FOREIGN SCHEMA x FROM SERVER |INSERT INTO app.|INSERT INTO app.customers (|LISTEN |NOTIFY |UNLISTEN |LOCK TABLE app.|MERGE INTO app.
PREPARE |REASSIGN OWNED BY |REFRESH MATERIALIZED VIEW app.|SECURITY LABEL ON TABLE app.|TRUNCATE app.|UPDATE app.|UPDATE app.customers SET
"""
_MARK = "the mark of "
_SECONDS = 20


@pytest.fixture(scope="module")
def inputrc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """No pager, no question whether to show them all, no bell."""
    path = tmp_path_factory.mktemp("readline") / "inputrc"
    path.write_text(
        "set completion-query-items 0\nset page-completions off\nset bell-style none\nset enable-bracketed-paste off\n"
    )
    return path


@contextlib.contextmanager
def typing(environment: dict[str, str]) -> Iterator[int]:
    """psql with its line editor, at a terminal: the terminal's file descriptor."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [program("psql", "postgresql-client"), "-X", "-q", "-P", "pager=off"],
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),
    )
    os.close(theirs)
    try:
        yield ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(fd: int, wanted: str) -> str:
    shown, deadline = "", time.monotonic() + _SECONDS
    while wanted not in shown:
        ready = select.select([fd], [], [], max(deadline - time.monotonic(), 0))[0]
        assert ready, f"{wanted!r} was not shown, but {shown[-2000:]!r}"
        shown += os.read(fd, 65536).decode(errors="replace")
    return shown


def test_completing(door: Door, inputrc: Path) -> None:
    prefixes = [prefix for line in PREFIXES.strip().splitlines() for prefix in line.split("|")]
    environment = {"TERM": "dumb", "INPUTRC": str(inputrc), "PGAPPNAME": "completing", "PSQL_HISTORY": os.devnull}
    shown = []
    with typing(door.environment(**environment)) as fd:
        read_until(fd, "=> ")
        for number, prefix in enumerate(prefixes):
            prefix = prefix if prefix[-1:] in "._" or (re.search(r"\w$", prefix) and "." in prefix) else prefix.rstrip() + " "
            # Tabs, then the line is thrown away; the mark's answer is put together, so that its echo is not taken for it.
            os.write(fd, f"{prefix}\t\t".encode() + b"\x05\x15" + f"\\echo '{_MARK}''{number}.'\n".encode())
            shown.append(read_until(fd, f"{_MARK}'{number}."))
    assert door.denials("completing") == []
    asked = door.gateway.events(event="statement", application="completing")
    assert len(asked) > len(prefixes) * 0.6
    everything = "".join(shown)
    for wanted in ("app.customers", "far_server", "hstore", "app.stage", "some_tables"):
        assert wanted in everything
