"""An existing database role for a while: sessions with its rights under a name of the person's own, nothing left afterwards."""

import secrets
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql

from gateway.access.managed import ManagedMode
from tests.e2e.test_managed_logins import OPTIONS_MAJOR, RO, RW, Stage, stage, until, who
from tests.support.asked_for import Asked, give
from tests.support.gateway import Person

__all__ = ["stage"]  # a fixture


@pytest.fixture
def role(stage: Stage) -> Iterator[str]:
    """One that may read a table that the target's own logins may not, and change it."""
    name = f"reporting_{secrets.token_hex(3)}"
    identifier, admin = sql.Identifier(name), sql.Identifier(stage.admin.name)
    with stage.database.superuser() as root:
        root.autocommit = True
        root.execute("CREATE TABLE IF NOT EXISTS public.salaries AS SELECT 'ann' AS name, 5 AS amount")
        root.execute("REVOKE ALL ON public.salaries FROM PUBLIC, app_ro, app_rw")
        root.execute(sql.SQL("CREATE ROLE {}").format(identifier))
        root.execute(sql.SQL("GRANT SELECT, UPDATE ON public.salaries TO {}").format(identifier))
        if stage.database.upstream.major >= OPTIONS_MAJOR:
            root.execute(sql.SQL("GRANT {} TO {} WITH ADMIN OPTION").format(identifier, admin))
        yield name
        stage.gateway.close_clients()
        root.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE IF EXISTS {0}").format(identifier))


def client(stage: Stage, person: Person, dbname: str) -> "psycopg.Connection[Any]":
    return stage.gateway.client(person, dbname, autocommit=True)


def begins(stage: Stage, role: str, mode: Any = RO) -> tuple[Person, "psycopg.Connection[Any]", Asked]:
    person = stage.gateway.person()
    asked = give(stage.gateway, person, stage.target, mode, database_role=role)
    dbname = stage.target if mode is RO else f"{stage.target}:rw"
    stage.gateway.settle(person, dbname)
    return person, client(stage, person, dbname), asked


@pytest.mark.parametrize("managed", [ManagedMode.PER_USER, ManagedMode.PER_GRANT])
def test_its_rights_for_as_long_as_the_grant(stage: Stage, role: str, managed: ManagedMode) -> None:
    if managed is ManagedMode.PER_GRANT:
        stage.manage(managed)
    person, session, asked = begins(stage, role)
    assert session.execute("SELECT amount FROM salaries").fetchall() == [(5,)]
    name = who(session)
    assert name.startswith(f"pgb_{person.name}_")
    members = "SELECT g.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles r ON r.oid = m.member"
    assert stage.ask(f"{members} WHERE r.rolname = %s", name) == [(role,)]
    started = stage.gateway.wait_for_event(event="session_start", user=person.name, grant=asked.grant.id)
    assert (started["database_role"], started["member_of"]) == (name, role)
    asked.end("request 17 was given back")
    with pytest.raises(errors.AdminShutdown, match="your access request 17 was given back"):
        until(lambda: session.execute("SELECT 1") is None)
    until(lambda: not stage.roles(person))
    until(lambda: not stage.logins(person))


def test_reading_stays_reading_whatever_the_role_may(stage: Stage, role: str) -> None:
    _, session, _ = begins(stage, role)
    with pytest.raises(errors.ReadOnlySqlTransaction):
        session.execute("UPDATE salaries SET amount = 6 WHERE name = 'ann'")
    for text in ("SET ROLE {}", "SET SESSION AUTHORIZATION {}"):
        with pytest.raises(errors.InsufficientPrivilege):
            session.execute(text.format(role))
    assert session.execute("SHOW default_transaction_read_only").fetchone() == ("on",)
    assert stage.ask("SELECT amount FROM public.salaries") == [(5,)]
    _, writing, _ = begins(stage, role, RW)
    writing.execute("UPDATE salaries SET amount = 6 WHERE name = 'ann'")
    assert stage.ask("SELECT amount FROM public.salaries") == [(6,)]
    stage.ask("UPDATE public.salaries SET amount = 5")


def test_a_live_session_keeps_the_role_that_it_began_with(stage: Stage, role: str) -> None:
    person = stage.person()
    before = stage.gateway.client(person, stage.target, autocommit=True)
    plain = who(before)
    asked = give(stage.gateway, person, stage.target, RO, database_role=role)

    def reads() -> bool:
        with client(stage, person, stage.target) as session:
            try:
                return session.execute("SELECT amount FROM salaries").fetchone() == (5,)
            except errors.InsufficientPrivilege:
                return False

    until(reads)
    assert who(before) == plain
    with pytest.raises(errors.InsufficientPrivilege, match="permission denied"):
        before.execute("SELECT amount FROM salaries")
    asked.end("request 17 was revoked by ana")
    until(lambda: not reads())
    until(lambda: stage.roles(person) == {plain})
    assert who(before) == plain


def test_a_role_that_is_gone_or_more_than_its_tables_is_named_to_the_person(stage: Stage, role: str) -> None:
    person = stage.gateway.person()
    give(stage.gateway, person, stage.target, RO, database_role="never_was")
    for given, told in (("", "never_was.*is not there"), ("BYPASSRLS", "has BYPASSRLS")):
        if given:
            person = stage.gateway.person()
            with stage.database.upstream.connect() as root:
                root.execute(sql.SQL("ALTER ROLE {} BYPASSRLS").format(sql.Identifier(role)))
            give(stage.gateway, person, stage.target, RO, database_role=role)

        def refused(person: Person = person) -> str:
            try:
                stage.gateway.client(person, stage.target).close()
            except psycopg.OperationalError as error:
                return str(error)
            return ""

        until(lambda: "which your" in refused() or "database role" in refused())
        with pytest.raises(psycopg.OperationalError, match=told):
            stage.gateway.client(person, stage.target)
