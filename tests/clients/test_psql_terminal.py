"""psql at a terminal, where it behaves differently from a script: Ctrl-C and \\c."""

import pytest

from tests.support.doors import ENDLESS, Door, program
from tests.support.psql_terminal import at_terminal

_CTRL_C = "\x03"


@pytest.fixture(scope="module")
def psql() -> str:
    return program("psql", "postgresql-client")


def test_ctrl_c_cancels_the_query_and_not_the_session(psql: str, reader: Door) -> None:
    with at_terminal(psql, reader.environment(PGAPPNAME="cancel me")) as terminal:
        terminal.type(f"{ENDLESS};\n")
        reader.wait_until_running("cancel me")
        terminal.type(_CTRL_C)
        terminal.read_until("canceling statement due to user request")
        terminal.type("SELECT 'still ' || 'here';\n")
        terminal.read_until("still here")
    record = reader.gateway.wait_for_event(event="cancel", application="cancel me")
    assert record["outcome"] == "sent"


def test_a_query_cancelled_in_a_transaction_aborts_it(psql: str, reader: Door) -> None:
    with at_terminal(psql, reader.environment(PGAPPNAME="cancel in transaction")) as terminal:
        terminal.type(f"BEGIN;\n{ENDLESS};\n")
        reader.wait_until_running("cancel in transaction")
        terminal.type(_CTRL_C)
        terminal.read_until("canceling statement")
        terminal.type("SELECT 1;\n")
        terminal.read_until("current transaction is aborted")


def test_connecting_to_another_database(psql: str, reader: Door, writer: Door) -> None:
    """\\c goes to another target; one that a person may not use, and a mode they do not have, leave the old session."""
    other = reader.gateway.target(reader.database)
    reader.gateway.grant(reader.person, other)
    reader.gateway.settle(reader.person, other)
    with at_terminal(psql, reader.environment()) as terminal:
        terminal.type(f"\\c {writer.target}\n")
        terminal.read_until("Previous connection kept")
        terminal.type(f"\\c {other}:rw\n")
        terminal.read_until("Previous connection kept")
        terminal.type("SELECT 'the ' || 'old one';\n")
        terminal.read_until("the old one")
        terminal.type(f"\\c {other}\n")
        terminal.read_until("ready> ")
        terminal.type("\\echo on :DBNAME\n")
        terminal.read_until(f"on {other}")
