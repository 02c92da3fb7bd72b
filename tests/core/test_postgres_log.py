"""Who connected, read from PostgreSQL's own log in its three forms."""

import json

import pytest

from gateway.cli.postgres_log import Connected, Past, read_connections, summed

TEXT = """\
2026-03-01 12:00:00.123 UTC [411] LOG:  connection received: host=10.0.0.5 port=51234
2026-03-01 12:00:00.125 UTC [412] LOG:  connection received: host=[local]
2026-03-01 12:00:00.130 UTC [411] LOG:  connection authenticated: identity="postgres" method=scram-sha-256
2026-03-01 12:00:00.131 UTC [411] LOG:  connection authorized: user=postgres database=shop application_name=psql \
SSL enabled (protocol=TLSv1.3, cipher=X, bits=256)
2026-03-01 12:00:00.140 UTC [412] LOG:  connection authorized: user=app database=shop
2026-03-01 12:00:01.000 UTC [411] LOG:  statement: SELECT 'connection authorized: user=eve database=shop'
2026-03-01 12:00:01.000 UTC [413] FATAL:  password authentication failed for user "postgres"
"""
CSV = (
    '2026-03-01 12:00:00.131 UTC,"postgres","shop",411,"10.0.0.5:51234",65e1,2,"authentication",2026-03-01 12:00:00 UTC,'
    '3/2,0,LOG,00000,"connection authorized: user=postgres database=shop application_name=psql",,,,,,,,,"","client backend",,0\n'
)
JSON = (
    json.dumps(
        {
            "timestamp": "2026-03-01 12:00:00.131 UTC",
            "user": "postgres",
            "pid": 411,
            "remote_host": "10.0.0.5",
            "message": "connection authorized: user=postgres database=shop application_name=psql",
        }
    )
    + "\n"
)
PSQL = Connected("2026-03-01 12:00:00.131 UTC", "postgres", "shop", "10.0.0.5", "psql")


@pytest.mark.parametrize("line", [CSV, JSON])
def test_each_form_says_the_same(line: str) -> None:
    assert list(read_connections([line])) == [PSQL]


def test_lines_of_one_process_belong_together() -> None:
    found = list(read_connections(TEXT.splitlines(keepends=True)))
    assert found == [PSQL, Connected("2026-03-01 12:00:00.140 UTC", "app", "shop", "local", "")]


def test_what_is_no_log_says_nothing() -> None:
    assert list(read_connections(["", "{", "{}", "[]", '"a","b\n', "nonsense, with, commas " * 20, "LOG:", "\x00"])) == []


def test_the_same_is_counted() -> None:
    later = Connected("2026-03-02 12:00:00 UTC", *("postgres", "shop", "10.0.0.5", "psql"))
    assert summed([later, PSQL]) == [Past("postgres", "shop", "10.0.0.5", "psql", 2, PSQL.at, later.at)]
