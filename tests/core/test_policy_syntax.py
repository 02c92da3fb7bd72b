"""Every production of the SELECT grammar that a reader may use is known to the walk: nothing honest is refused for its syntax."""

from pathlib import Path

import pytest

from gateway.access_mode import AccessMode
from gateway.statements.policy import Policy, judge

_FILE = Path(__file__).parent.parent / "policy" / "select_syntax.sql"
_TEXTS = [line for line in _FILE.read_text().splitlines() if not line.startswith("-- ")]


@pytest.mark.parametrize("sql", _TEXTS)
def test_readers_syntax_is_known(sql: str) -> None:
    verdict = judge(sql.encode(), Policy(AccessMode.READ_ONLY, frozenset({"public.f"})))
    assert verdict.allowed, verdict.message


@pytest.mark.parametrize(
    "sql",
    [
        "SET TIME ZONE -8",
        "SET TIME ZONE 'Europe/Berlin'",
        "SET TIME ZONE DEFAULT",
        "SET SESSION TIME ZONE LOCAL",
        "SET LOCAL TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE",
        "SET SEED TO 0.5",
        "SET NAMES 'UTF8'",
        "SET XML OPTION DOCUMENT",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE",
        "SET extra_float_digits = -15",
        "SET enable_seqscan TO false",
        "SET client_min_messages TO warning",
        "SHOW ALL",
        "SHOW TIME ZONE",
        "SHOW TRANSACTION ISOLATION LEVEL",
        "START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY, NOT DEFERRABLE",
        "COMMIT AND NO CHAIN",
        "ROLLBACK WORK AND CHAIN",
        "ABORT",
        "END TRANSACTION",
        "ROLLBACK TO SAVEPOINT a",
        "RELEASE a",
        "DECLARE c NO SCROLL INSENSITIVE CURSOR WITHOUT HOLD FOR TABLE t",
        "FETCH RELATIVE -1 FROM c",
        "MOVE BACKWARD ALL IN c",
        "PREPARE p (int, text) AS VALUES ($1, $2)",
        "EXECUTE p (1, lower('A'))",
        "EXPLAIN (ANALYZE, BUFFERS, WAL, SETTINGS, FORMAT yaml) EXECUTE p (1)",
        "EXPLAIN (GENERIC_PLAN) SELECT $1",
        "DEALLOCATE PREPARE ALL",
        "DISCARD TEMP",
        "DISCARD SEQUENCES",
        "COPY t (a, b) TO STDOUT WITH (FORMAT csv, HEADER, FORCE_QUOTE (a), ENCODING 'UTF8')",
        "COPY (SELECT 1) TO STDOUT WITH BINARY",
        "COPY t TO STDOUT DELIMITER '|' NULL 'x' CSV HEADER",
        "LOCK TABLE ONLY a, b IN ACCESS SHARE MODE NOWAIT",
        "SET CONSTRAINTS a, b IMMEDIATE",
        "UNLISTEN *",
        "CLOSE ALL",
    ],
)
def test_session_statements_of_readers_pass(sql: str) -> None:
    verdict = judge(sql.encode(), Policy(AccessMode.READ_ONLY))
    assert verdict.allowed, verdict.message
