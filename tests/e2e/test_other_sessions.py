"""Whether a read-only session sees what others of the same database role run: shared, hidden, and with a login for each."""

import contextlib
import secrets
import signal
import time
from collections.abc import Iterator
from typing import Any, LiteralString, cast

import psycopg
import pytest
from psycopg import sql

from gateway.access_mode import AccessMode
from gateway.secret import Secret
from gateway.services import targets
from gateway.services.target_facts import Permitted
from tests.support.gateway import WHY, RunningGateway, running_gateway, write_config
from tests.support.upstream import Database

LISTEN = {"listen": {"host": "127.0.0.1", "port": 0, "drain_seconds": 1.0}}
SEEN = "SELECT query FROM pg_stat_activity WHERE query LIKE '%canary_{}%' AND pid <> pg_backend_pid()"


@pytest.fixture(scope="module")
def hiding() -> Iterator[RunningGateway]:
    with running_gateway(policy={"other_sessions": "hidden"}) as running:
        yield running


def rows(session: "psycopg.Connection[Any]", text: str) -> list[tuple[Any, ...]]:
    return session.execute(cast(LiteralString, text)).fetchall()


def test_who_shares_a_login_sees_the_others_queries_and_says_so(gateway: RunningGateway, database: Database) -> None:
    (ann, target), bob, word = gateway.analyst(database), gateway.person(), secrets.token_hex(4)
    gateway.grant(bob, target)
    gateway.settle(bob, target)
    gateway.client(ann, target).execute(cast(LiteralString, f"SELECT 'canary_{word}'"))
    assert rows(gateway.client(bob, target), SEEN.format(word)) == [(f"SELECT 'canary_{word}'",)]


def test_a_login_for_each_keeps_the_texts_apart(gateway: RunningGateway, database: Database) -> None:
    """The third way of docs/read-only.md."""
    (ann, target), bob, word = gateway.analyst(database), gateway.person(), secrets.token_hex(4)
    role, password = f"own_{word}", Secret(f"pw-{word}")
    with database.superuser() as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(password.reveal())))
        admin.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(database.name), sql.Identifier(role)))
    own = gateway.target(database, modes=())
    gateway.login(own, AccessMode.READ_ONLY, role, password)
    gateway.grant(bob, own)
    gateway.settle(bob, own)
    gateway.client(ann, target).execute(cast(LiteralString, f"SELECT 'canary_{word}'"))
    bobs = gateway.client(bob, own)
    assert rows(bobs, SEEN.format(word)) == []
    assert rows(bobs, f"SELECT DISTINCT client_addr FROM pg_stat_activity WHERE usename = '{database.app_ro.name}'") == [
        (None,)
    ]


def test_hidden_means_that_nothing_shows_it(hiding: RunningGateway, database: Database) -> None:
    with database.superuser() as admin:
        admin.execute(
            "CREATE VIEW public.who AS SELECT pid, query FROM pg_catalog.pg_stat_activity;"
            "CREATE VIEW public.busy AS SELECT count(*) AS n FROM public.who;"
            "CREATE FUNCTION public.peek(int) RETURNS text LANGUAGE sql AS 'SELECT pg_catalog.pg_stat_get_backend_activity($1)';"
            "CREATE OPERATOR public.<?> (RIGHTARG = int4, FUNCTION = pg_catalog.pg_stat_get_backend_activity);"
            f"GRANT SELECT ON public.who, public.busy TO {database.app_ro.name}"
        )
        with contextlib.suppress(psycopg.Error):  # where contrib is installed
            admin.execute("CREATE EXTENSION pg_stat_statements")
    person, target = hiding.analyst(database)
    session = hiding.client(person, target)
    for text in (
        "SELECT query FROM pg_stat_activity",
        "TABLE pg_catalog.pg_stat_activity",
        "SELECT * FROM public.who",
        "SELECT * FROM busy",
        "SELECT pg_stat_get_backend_activity(i) FROM generate_series(1, 9) i",
        "SELECT i.pg_stat_get_backend_activity FROM generate_series(1, 9) i",
        "SELECT (1).pg_stat_get_backend_client_addr",
        "SELECT * FROM pg_stat_get_activity(NULL)",
        "COPY pg_stat_activity TO STDOUT",
        "SELECT * FROM pg_stat_statements",
        "SELECT client_addr FROM pg_stat_replication",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="rule activity-hidden"):
            session.execute(cast(LiteralString, text))
    for text in ("SELECT <?> 1", "SELECT OPERATOR(public.<?>) 1", "SELECT public.peek(1)", "SELECT (1).peek"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match=r"\(rule "):
            session.execute(cast(LiteralString, text))
    assert rows(session, "SELECT count(*) > 0 FROM pg_locks") == [(True,)]
    hiding.admin.change(targets.permit(hiding.admin.store, name=target, kind=Permitted.FUNCTION, item="public.busy", **WHY))
    deadline = time.monotonic() + 5
    while True:
        try:
            assert rows(session, "SELECT n > 0 FROM busy") == [(True,)]
        except psycopg.errors.InsufficientPrivilege:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            break


def test_the_setting_changes_for_live_sessions(database: Database) -> None:
    with running_gateway() as gateway:
        person, target = gateway.analyst(database)
        session = gateway.client(person, target)
        text = "SELECT count(*) > 0 FROM pg_stat_activity"
        for _ in range(7):  # psycopg prepares it on the way: what was prepared is judged anew, too
            assert rows(session, text) == [(True,)]
        write_config(gateway.directory, **LISTEN, policy={"other_sessions": "hidden"})
        gateway.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 10
        refusal = ""
        while not refusal:
            assert time.monotonic() < deadline
            try:
                rows(session, text)
            except psycopg.errors.InsufficientPrivilege as error:
                refusal = str(error)
        assert "rule activity-hidden" in refusal
