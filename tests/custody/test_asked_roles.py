"""Existing database roles that access requests are for: whom nobody is made a member of, and what a membership brings."""

import secrets
from collections.abc import Iterator
from contextlib import closing

import pytest
from psycopg import sql

from gateway.access_mode import AccessMode
from gateway.custody.login_roles import LoginRoleRefused
from tests.custody.test_login_roles import OPTIONS_MAJOR, Stage, server, stage

__all__ = ["server", "stage"]  # fixtures

RO, RW = AccessMode.READ_ONLY, AccessMode.READ_WRITE
ALL_DATA_MAJOR = 14


@pytest.fixture
def role(stage: Stage) -> Iterator[str]:
    """One that is there, and that the admin may make members of."""
    name = f"reporting_{secrets.token_hex(3)}"
    upstream = stage.database.upstream
    with upstream.connect() as root:
        root.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))
        if upstream.major >= OPTIONS_MAJOR and stage.admin.name != upstream.superuser:
            root.execute(sql.SQL("GRANT {} TO {} WITH ADMIN OPTION").format(*map(sql.Identifier, (name, stage.admin.name))))
    yield name
    with upstream.connect(stage.database.name) as root:
        root.execute(sql.SQL("DROP TABLE IF EXISTS asked; DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(name)))


async def test_what_was_asked_for_gives_rights_and_no_settings(stage: Stage, role: str) -> None:
    """By the search_path of the target's login statements are judged: no other role brings its own."""
    with stage.database.upstream.connect(stage.database.name) as root:
        root.execute(sql.SQL("CREATE TABLE asked (a int); GRANT SELECT ON asked TO {}").format(sql.Identifier(role)))
        root.execute(sql.SQL("ALTER ROLE {} SET search_path = elsewhere").format(sql.Identifier(role)))
    await stage.roles().make(stage.spec(member_of=role, asked_for=AccessMode.READ_ONLY, like=stage.member_of))
    with closing(stage.connect()) as session:
        assert session.execute("SELECT count(*) FROM public.asked").fetchone() == (0,)
        path = session.execute("SHOW search_path").fetchone()
        assert path is not None
        assert "elsewhere" not in path[0]


@pytest.mark.parametrize(
    ("given", "mode", "named"),
    [
        ("CREATEDB", RO, "CREATEDB"),
        ("CREATEROLE", RO, "CREATEROLE"),
        ("SUPERUSER", RW, "SUPERUSER"),
        ("REPLICATION", RO, "REPLICATION"),
        ("BYPASSRLS", RW, "BYPASSRLS"),
        ("IN ROLE pg_read_server_files", RO, "pg_read_server_files"),
        ("IN ROLE pg_execute_server_program", RW, "pg_execute_server_program"),
        ("IN ROLE pg_signal_backend", RO, "pg_signal_backend"),
        ("IN ROLE pg_read_all_data", RW, "pg_read_all_data"),
        ("IN ROLE pg_write_all_data", RW, "pg_write_all_data"),
    ],
)
async def test_a_role_that_is_more_than_its_tables_is_given_to_nobody(
    stage: Stage,
    role: str,
    given: str,
    mode: AccessMode,
    named: str,
) -> None:
    with stage.database.upstream.connect() as root:
        if "_all_data" in named and stage.database.upstream.major < ALL_DATA_MAJOR:
            return
        verb = "GRANT {1} TO {0}" if given.startswith("IN ROLE") else "ALTER ROLE {0} {1}"
        what = sql.SQL(given.removeprefix("IN ROLE "))
        root.execute(sql.SQL(verb).format(sql.Identifier(role), what))
    with pytest.raises(LoginRoleRefused, match=named) as refused:
        await stage.roles().make(stage.spec(member_of=role, asked_for=mode, like=stage.member_of))
    assert refused.value.rule == "asked-role-too-mighty"
    assert stage.facts() is None


@pytest.mark.parametrize("shows", ["pg_monitor", "pg_read_all_settings", "pg_read_all_data"])
async def test_roles_that_only_show_are_given(stage: Stage, role: str, shows: str) -> None:
    with stage.database.upstream.connect() as root:
        if shows == "pg_read_all_data" and stage.database.upstream.major < ALL_DATA_MAJOR:
            return
        root.execute(sql.SQL("GRANT {} TO {}").format(sql.SQL(shows), sql.Identifier(role)))
    await stage.roles().make(stage.spec(member_of=role, asked_for=RO, like=stage.member_of))
    assert stage.facts() is not None


async def test_so_is_one_that_is_gone_and_one_persons_own(stage: Stage) -> None:
    with pytest.raises(LoginRoleRefused, match="is not there") as refused:
        await stage.roles().make(stage.spec(member_of="never", asked_for=RO, like=stage.member_of))
    assert refused.value.rule == "asked-role-missing"
    await stage.roles().make(stage.spec())
    with pytest.raises(LoginRoleRefused, match="one person alone"):
        await stage.roles().make(
            stage.spec(login=f"{stage.login}_2", member_of=stage.login, asked_for=RO, like=stage.member_of)
        )
