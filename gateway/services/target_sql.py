"""SQL that prepares a database for a target: two roles that may log in and do what their access mode says, and nothing more.

One script for PostgreSQL 13 to 18, for any client, run as the database's administrator in that database; running it again changes
nothing. No password is in it. Pure.
"""

# ruff: noqa: S608 - names go in quoted by `quoted` and `_literal`, and nothing here runs anything

from collections.abc import Iterable, Sequence
from enum import StrEnum
from importlib import resources
from typing import Final

from gateway.access.model import Grant
from gateway.access_mode import AccessMode
from gateway.services.errors import ServiceError
from gateway.services.naming import check_identifier

_NOTHING_ELSE: Final = "NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
_MORE: Final = ("rolsuper", "rolcreatedb", "rolcreaterole", "rolreplication", "rolbypassrls")
_READ: Final = "SELECT"
_WRITE: Final = "SELECT, INSERT, UPDATE, DELETE"


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
    granted = [(role, _READ if role == read_only_role else _WRITE) for role in roles]
    parts = [_head(dbname), "BEGIN;", _check_database(dbname)]
    parts += [_role(role, connection_limit) for role in roles]
    if read_only_role is not None:
        parts.append(_read_only_by_default(read_only_role))
    parts.append(f"GRANT CONNECT ON DATABASE {quoted(dbname)} TO {_names(roles)};")
    for schema in schemas:
        parts += [_present(schema, granted, read_write_role), _future(schema, granted, read_write_role)]
    if tables:
        parts.append(_single(sorted(set(tables)), granted, read_write_role))
    parts += [
        _watch_clients(roles),
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


def quoted(name: str) -> str:
    """As an identifier."""
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    """For standard_conforming_strings = on, which the script sets."""
    return "'" + text.replace("'", "''") + "'"


def _names(names: Iterable[str]) -> str:
    return ", ".join(quoted(name) for name in names)


def _block(body: str) -> str:
    """DO, between dollar quotes that no name in the body can end."""
    number = 0
    while (tag := f"$do{number}$") in body:
        number += 1
    return f"DO {tag}\n{body}\n{tag};"


def _head(dbname: str) -> str:
    return f"""\
-- pgbastion: least-privileged roles in the database {quoted(dbname)}, for PostgreSQL 13 to 18.
-- Run it there as a superuser, or as the owner of the database and its schemas with CREATEROLE. Running it again changes nothing.
SET standard_conforming_strings = on;"""


def _check_database(dbname: str) -> str:
    return _block(f"""\
BEGIN
  IF current_database() <> {_literal(dbname)} THEN
    RAISE EXCEPTION 'run this in the database %, not in %', {_literal(dbname)}, current_database();
  END IF;
END""")


def _role(role: str, connection_limit: int) -> str:
    """An existing role that may do more is left alone, and said: it may be somebody's who needs that."""
    more = " OR ".join(_MORE)
    block = _block(f"""\
BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {_literal(role)}) THEN
    CREATE ROLE {quoted(role)} LOGIN {_NOTHING_ELSE};
  ELSIF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {_literal(role)} AND ({more})) THEN
    RAISE EXCEPTION 'the role % may do more than log in: choose another name, or take that away first', {_literal(role)};
  END IF;
END""")
    return f"{block}\nALTER ROLE {quoted(role)} LOGIN CONNECTION LIMIT {connection_limit};"


def _read_only_by_default(role: str) -> str:
    return f"""\
-- A second lock beside the gateway's own; what holds against a determined statement is that the role lacks the rights to write.
ALTER ROLE {quoted(role)} SET default_transaction_read_only = on;"""


def _watch_clients(roles: Sequence[str]) -> str:
    """A gateway that dies cannot cancel what its sessions run; the server notices only if it looks."""
    lines = "\n".join(f"    ALTER ROLE {quoted(role)} SET client_connection_check_interval = '5s';" for role in roles)
    return "-- A query ends soon after the connection that waits for it (not every system can tell).\n" + _block(f"""\
BEGIN
  IF current_setting('server_version_num')::int >= 140000 THEN
{lines}
  END IF;
EXCEPTION WHEN invalid_parameter_value THEN
  NULL;
END""")


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


def _present(schema: str, granted: Sequence[tuple[str, str]], writer: str | None) -> str:
    lines = [f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {_names(role for role, _ in granted)};"]
    lines += [f"GRANT {rights} ON ALL TABLES IN SCHEMA {quoted(schema)} TO {quoted(role)};" for role, rights in granted]
    if writer is not None:
        lines.append(f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {quoted(schema)} TO {quoted(writer)};")
    return "\n".join(lines)


def _single(tables: Sequence[tuple[str, str]], granted: Sequence[tuple[str, str]], writer: str | None) -> str:
    schemas = sorted({schema for schema, _ in tables})
    lines = [f"GRANT USAGE ON SCHEMA {_names(schemas)} TO {_names(role for role, _ in granted)};"]
    full = [f"{quoted(schema)}.{quoted(name)}" for schema, name in tables]
    lines += [f"GRANT {rights} ON TABLE {each} TO {quoted(role)};" for role, rights in granted for each in full]
    if writer is not None:
        listed = ", ".join(f"{_literal(each)}::regclass" for each in full)
        lines.append("-- What fills their columns.")
        lines.append(
            _block(f"""\
DECLARE
  counter regclass;
BEGIN
  FOR counter IN
    SELECT d.objid::regclass FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid = d.objid
      WHERE d.classid = 'pg_class'::regclass AND c.relkind = 'S' AND d.deptype IN ('a', 'i') AND d.refobjid IN ({listed})
  LOOP
    EXECUTE format('GRANT USAGE, SELECT ON SEQUENCE %s TO %I', counter, {_literal(writer)});
  END LOOP;
END""")
        )
    return "\n".join(lines)


def _future(schema: str, granted: Sequence[tuple[str, str]], writer: str | None) -> str:
    """Default privileges belong to whoever will create the table: so far, who owns something there, and who runs this."""
    given = [(f"GRANT {rights} ON TABLES TO {quoted(role)}") for role, rights in granted]
    if writer is not None:
        given.append(f"GRANT USAGE, SELECT ON SEQUENCES TO {quoted(writer)}")
    begin = f"      EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I ', maker, {_literal(schema)})"
    statements = "\n".join(f"{begin} || {_literal(each)};" for each in given)
    return "-- The same for tables to come.\n" + _block(f"""\
DECLARE
  maker name;
BEGIN
  FOR maker IN
    SELECT current_user
    UNION SELECT pg_catalog.pg_get_userbyid(c.relowner) FROM pg_catalog.pg_class c
      WHERE c.relnamespace = {_literal(quoted(schema))}::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  LOOP
    BEGIN
{statements}
    EXCEPTION WHEN insufficient_privilege THEN
      RAISE WARNING 'what % will create in the schema % must be granted by that role itself', maker, {_literal(schema)};
    END;
  END LOOP;
END""")


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
