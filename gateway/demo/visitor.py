"""The analyst's side of the tour: a psycopg session through the gateway, shown as it happens."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import psycopg

from gateway.connection_strings import Door
from gateway.demo.narrator import Narrator

Session = psycopg.Connection[tuple[object, ...]]

# Joins of a table with itself: busy for hours, and needs neither memory nor disk.
ENDLESS: Final = (
    "SELECT count(*) FROM shop.order_items a, shop.order_items b, shop.order_items c WHERE a.quantity + b.quantity > c.quantity"
)
_CONNECT_SECONDS: Final = 10


class BrokenPromise(Exception):
    """A step went otherwise than promised."""


@dataclass(slots=True)
class Outcome:
    """How a statement in a thread ended, and when by the wall clock."""

    error: psycopg.Error | None = None
    ended_at: float = 0.0
    done: threading.Event = field(default_factory=threading.Event)


def connect(door: Door, *, user: str | None = None, password: str | None = None) -> Session:
    """Log in, verifying the gateway's certificate."""
    return psycopg.connect(
        host=door.host,
        port=door.port,
        user=user or door.user,
        password=password or door.password,
        dbname=door.target,
        sslmode="verify-full",
        sslrootcert=str(door.trust),
        application_name="tour",
        connect_timeout=_CONNECT_SECONDS,
        autocommit=True,
    )


@contextmanager
def connected(door: Door) -> Iterator[Session]:
    session = connect(door)
    try:
        yield session
    finally:
        session.close()


def run(session: Session, sql: str) -> list[tuple[object, ...]]:
    """The rows. Texts here are constants of the tour."""
    return session.execute(sql).fetchall()


def show(narrator: Narrator, session: Session, sql: str) -> list[tuple[object, ...]]:
    """Run a statement and print its rows."""
    narrator.query(session.info.dbname, sql)
    cursor = session.execute(sql)
    rows = cursor.fetchall()
    narrator.rows([column.name for column in cursor.description or ()], rows)
    return rows


def expect_denial(narrator: Narrator, session: Session, sql: str, sqlstates: tuple[str, ...]) -> None:
    """Run a statement that must be refused, print the refusal, and check that the session lives on."""
    before = run(session, "SELECT pg_backend_pid()")
    narrator.query(session.info.dbname, sql)
    try:
        session.execute(sql)
    except psycopg.Error as error:
        narrator.error(describe(error, sql))
        if error.sqlstate not in sqlstates:
            raise BrokenPromise(f"refused with SQLSTATE {error.sqlstate}, not {' or '.join(sqlstates)}") from error
    else:
        raise BrokenPromise("the statement was let through")
    if session.closed or run(session, "SELECT pg_backend_pid()") != before:
        raise BrokenPromise("the session did not go on")


def describe(error: psycopg.Error, sql: str = "") -> str:
    """As psql prints it, with a caret below `sql` where the server points at it."""
    fields = error.diag
    if fields.message_primary is None:
        return str(error)
    text = f"{fields.severity}:  {fields.message_primary}  (SQLSTATE {fields.sqlstate})"
    if sql and fields.statement_position:
        text += f"\nLINE 1: {sql}\n        {' ' * (int(fields.statement_position) - 1)}^"
    if fields.message_detail:
        text += f"\nDETAIL:  {fields.message_detail}"
    if fields.message_hint:
        text += f"\nHINT:  {fields.message_hint}"
    return text


def in_background(session: Session, sql: str) -> Outcome:
    """Start a statement in a thread; `outcome.done` is set when it has ended."""
    outcome = Outcome()

    def work() -> None:
        try:
            run(session, sql)
        except psycopg.Error as error:
            outcome.error = error
        outcome.ended_at = time.time()
        outcome.done.set()

    threading.Thread(target=work, daemon=True).start()
    return outcome
