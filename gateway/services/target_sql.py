"""SQL that prepares a database for a target: two roles that may log in and do what their access mode says, and nothing more.

One script for PostgreSQL 13 to 18, for any client, run as the database's administrator in that database; running it again changes
nothing. No password is in it. Pure.
"""

from collections.abc import Sequence
from enum import StrEnum
from importlib import resources

from gateway.access.model import Grant
from gateway.access_mode import AccessMode
from gateway.quoting import quoted
from gateway.services.errors import ServiceError
from gateway.services.naming import check_identifier
from gateway.services.role_sql import Opened, Roles, role_statements

__all__ = ["Hardening", "harden_sql", "init_sql", "quoted", "sql_of_grant"]


class Hardening(StrEnum):
    """What is taken from PUBLIC, that is from everybody else who uses this database too: shown as a choice, or done."""

    AS_COMMENT = "as-comment"
    APPLIED = "applied"


def init_sql(
    dbname: str,
    *,
    read_only_role: str | None = "app_ro",
    read_write_role: str | None = "app_rw",
    schemas: Sequence[str] = ("public",),
    connection_limit: int = 100,
    hardening: Hardening = Hardening.AS_COMMENT,
    tables: Sequence[tuple[str, str]] = (),
) -> str:
    """The script. None leaves that role out. Open are `schemas`, and single `tables` (schema, name) besides.

    Raises ServiceError for names that PostgreSQL would not take.
    """
    check_identifier("database's name", dbname)
    roles = [role for role in (read_only_role, read_write_role) if role is not None]
    for role in roles:
        check_identifier("database role's name", role)
    for schema in (*schemas, *(schema for schema, _ in tables)):
        check_identifier("schema's name", schema)
    for _, name in tables:
        check_identifier("table's name", name)
    if not roles or not (schemas or tables) or len(set(roles)) != len(roles):
        raise ServiceError("init-sql-empty", "there must be at least one role and one schema or table, and no role twice", "")
    if not -1 <= connection_limit <= 100_000:
        raise ServiceError("connection-limit-invalid", f"{connection_limit} is not a connection limit", "Give 1 to 100000.")
    made = Roles(read_only_role, read_write_role, connection_limit)
    parts = [
        _head(dbname),
        "BEGIN;",
        *role_statements(dbname, made, Opened(schemas, tables)),
        "COMMIT;",
        _limits(roles),
        *_temporary(dbname, read_only_role),
        _hardening(dbname, sorted({*schemas, *(schema for schema, _ in tables)}), hardening),
        _passwords(roles),
    ]
    return "\n\n".join(parts) + "\n"


def sql_of_grant(dbname: str, grant: Grant) -> str:
    """The script for a database role that may do what a grant with a list of schemas and tables opens, and nothing else.

    The gateway logs in to a target with one role per access mode; so such a role is for a target of its own, which this grant is
    for. Raises ServiceError for a grant without a list.
    """
    reading = grant.reading
    if not reading.is_narrow:
        raise ServiceError(
            "grant-opens-all",
            f'grant "{grant.id}" has no list of schemas and tables',
            "What its sessions may read is what the target's own login may: leave the grant out.",
        )
    role = f"grant_{''.join(each for each in grant.id if each.isalnum())[:12].lower()}"
    reads = grant.mode is AccessMode.READ_ONLY
    script = init_sql(
        dbname,
        read_only_role=role if reads else None,
        read_write_role=None if reads else role,
        schemas=sorted(reading.schemas),
        tables=sorted(reading.tables),
    )
    return f"{_of_grant(grant.id)}\n{script}"


def _of_grant(grant_id: str) -> str:
    return f"""\
-- For grant {grant_id} alone: a role that has what this grant opens, so that the database holds it, too.
-- Make a target of its own with this login (pgbastion targets create, targets login), and move the grant there."""


def harden_sql() -> str:
    """Takes from PUBLIC the functions, and the rights on the database and on schema public, that no analyst should have."""
    return resources.files("gateway.services").joinpath("data", "harden.sql").read_text(encoding="utf-8")


def _head(dbname: str) -> str:
    return f"""\
-- pgbastion: least-privileged roles in the database {quoted(dbname)}, for PostgreSQL 13 to 18.
-- Run it there as a superuser, or as the owner of the database and its schemas with CREATEROLE. Running it again changes nothing.
SET standard_conforming_strings = on;"""


def _limits(roles: Sequence[str]) -> str:
    """Shown only: how long a report may take is nothing that we could know."""
    lines = [
        "-- Choices. Limits for everything that these roles run; the values are examples. (temp_file_limit: as a superuser.)"
    ]
    for role in roles:
        lines += [
            f"-- ALTER ROLE {quoted(role)} SET statement_timeout = '30min';",
            f"-- ALTER ROLE {quoted(role)} SET idle_in_transaction_session_timeout = '15min';",
            f"-- ALTER ROLE {quoted(role)} SET temp_file_limit = '10GB';",
        ]
    return "\n".join(lines)


def _temporary(dbname: str, reader: str | None) -> list[str]:
    """Shown only: most readers need none."""
    if reader is None:
        return []
    return [
        "-- Choice. Only where grants carry the option temporary-tables: what read-only sessions need for them.\n"
        f"-- GRANT TEMPORARY ON DATABASE {quoted(dbname)} TO {quoted(reader)};"
    ]


def _hardening(dbname: str, schemas: Sequence[str], hardening: Hardening) -> str:
    text = harden_sql().rstrip("\n")
    if hardening is Hardening.APPLIED:
        return text
    remark = """\
-- Choices. PostgreSQL gives everybody some rights that these roles should not have, and what is taken away here is taken from
-- every other role too, owners and superusers excepted. Remove the "-- " in front of what you want."""
    simple = [f"-- REVOKE TEMPORARY, CREATE ON DATABASE {quoted(dbname)} FROM PUBLIC;"]
    simple += [
        f"-- REVOKE CREATE ON SCHEMA {quoted(schema)} FROM PUBLIC;  -- the default before PostgreSQL 15" for schema in schemas
    ]
    return (
        "\n".join([remark, *simple, "--", "-- All of it, and functions that hold or reach other sessions:"])
        + "\n"
        + _commented(text)
    )


def _commented(text: str) -> str:
    return "\n".join(f"-- {line}".rstrip() for line in text.splitlines())


def _passwords(roles: Sequence[str]) -> str:
    """psql asks, makes the SCRAM verifier itself and sends only that: no password in a script, a log or a process list."""
    lines = ["-- Nobody can log in as these roles yet. Give each a password; in psql:"]
    lines += [f"--   \\password {quoted(role)}" for role in roles]
    return "\n".join([*lines, "-- and hand the same to the gateway: pgbastion targets login"])
