"""The statements that make the roles of a target in its database, with the least rights that they need: of every script of ours.

For PostgreSQL 13 to 18; made again they change nothing. No password is in them. Pure.
"""

# ruff: noqa: S608 - names go in quoted by `quoted` and `literal`, and nothing here runs anything

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.quoting import literal, quoted, quoted_all

_NOTHING_ELSE: Final = "NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
_MORE: Final = ("rolsuper", "rolcreatedb", "rolcreaterole", "rolreplication", "rolbypassrls")
_READ: Final = "SELECT"
_WRITE: Final = "SELECT, INSERT, UPDATE, DELETE"


@dataclass(frozen=True, slots=True)
class Roles:
    """Those to be made. None: not that one."""

    reader: str | None
    writer: str | None
    connection_limit: int = 100

    @property
    def names(self) -> list[str]:
        return [role for role in (self.reader, self.writer) if role is not None]

    @property
    def granted(self) -> list[tuple[str, str]]:
        """What each may do with a table."""
        return [(role, _READ if role == self.reader else _WRITE) for role in self.names]


@dataclass(frozen=True, slots=True)
class Opened:
    """What they may use: whole `schemas`, and single `tables` (schema, name) besides.

    `parts`: of schemas in which not everything is for whoever runs this to give: names of tables, and of sequences.
    """

    schemas: Sequence[str] = ()
    tables: Sequence[tuple[str, str]] = ()
    parts: Mapping[str, tuple[Sequence[str], Sequence[str]]] = field(default_factory=dict)


def role_statements(dbname: str, roles: Roles, opened: Opened) -> list[str]:
    """In order, for one transaction. The names were checked."""
    parts = [_check_database(dbname)]
    parts += [_role(role, roles.connection_limit) for role in roles.names]
    if roles.reader is not None:
        parts.append(_read_only_by_default(roles.reader))
    parts.append(f"GRANT CONNECT ON DATABASE {quoted(dbname)} TO {quoted_all(roles.names)};")
    for schema in opened.schemas:
        parts += [_present(schema, roles.granted, roles.writer), _future(schema, roles.granted, roles.writer)]
    for schema, (tables, sequences) in opened.parts.items():
        parts += [_part(schema, tables, sequences, roles), _future(schema, roles.granted, roles.writer)]
    if opened.tables:
        parts.append(_single(sorted(set(opened.tables)), roles.granted, roles.writer))
    return [*parts, _watch_clients(roles.names)]


def block(body: str) -> str:
    """DO, between dollar quotes that no name in the body can end."""
    number = 0
    while (tag := f"$do{number}$") in body:
        number += 1
    return f"DO {tag}\n{body}\n{tag};"


def _check_database(dbname: str) -> str:
    return block(f"""\
BEGIN
  IF current_database() <> {literal(dbname)} THEN
    RAISE EXCEPTION 'run this in the database %, not in %', {literal(dbname)}, current_database();
  END IF;
END""")


def _role(role: str, connection_limit: int) -> str:
    """An existing role that may do more is left alone, and said: it may be somebody's who needs that."""
    more = " OR ".join(_MORE)
    made = block(f"""\
BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {literal(role)}) THEN
    CREATE ROLE {quoted(role)} LOGIN {_NOTHING_ELSE};
  ELSIF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {literal(role)} AND ({more})) THEN
    RAISE EXCEPTION 'the role % may do more than log in: choose another name, or take that away first', {literal(role)};
  END IF;
END""")
    return f"{made}\nALTER ROLE {quoted(role)} LOGIN CONNECTION LIMIT {connection_limit};"


def _read_only_by_default(role: str) -> str:
    return f"""\
-- A second lock beside the gateway's own; what holds against a determined statement is that the role lacks the rights to write.
ALTER ROLE {quoted(role)} SET default_transaction_read_only = on;"""


def _watch_clients(roles: Sequence[str]) -> str:
    """A gateway that dies cannot cancel what its sessions run; the server notices only if it looks."""
    lines = "\n".join(f"    ALTER ROLE {quoted(role)} SET client_connection_check_interval = '5s';" for role in roles)
    return "-- A query ends soon after the connection that waits for it (not every system can tell).\n" + block(f"""\
BEGIN
  IF current_setting('server_version_num')::int >= 140000 THEN
{lines}
  END IF;
EXCEPTION WHEN invalid_parameter_value THEN
  NULL;
END""")


def _present(schema: str, granted: Sequence[tuple[str, str]], writer: str | None) -> str:
    lines = [f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {quoted_all(role for role, _ in granted)};"]
    lines += [f"GRANT {rights} ON ALL TABLES IN SCHEMA {quoted(schema)} TO {quoted(role)};" for role, rights in granted]
    if writer is not None:
        lines.append(f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {quoted(schema)} TO {quoted(writer)};")
    return "\n".join(lines)


def _part(schema: str, tables: Sequence[str], sequences: Sequence[str], roles: Roles) -> str:
    """One statement for each role, however many tables there are."""

    def listed(found: Sequence[str]) -> str:
        return ", ".join(f"{quoted(schema)}.{quoted(name)}" for name in found)

    lines = [f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {quoted_all(roles.names)};"]
    if tables:
        lines += [f"GRANT {rights} ON TABLE {listed(tables)} TO {quoted(role)};" for role, rights in roles.granted]
    if sequences and roles.writer is not None:
        lines.append(f"GRANT USAGE, SELECT ON SEQUENCE {listed(sequences)} TO {quoted(roles.writer)};")
    return "\n".join(lines)


def _single(tables: Sequence[tuple[str, str]], granted: Sequence[tuple[str, str]], writer: str | None) -> str:
    schemas = sorted({schema for schema, _ in tables})
    lines = [f"GRANT USAGE ON SCHEMA {quoted_all(schemas)} TO {quoted_all(role for role, _ in granted)};"]
    full = [f"{quoted(schema)}.{quoted(name)}" for schema, name in tables]
    lines += [f"GRANT {rights} ON TABLE {each} TO {quoted(role)};" for role, rights in granted for each in full]
    if writer is not None:
        listed = ", ".join(f"{literal(each)}::regclass" for each in full)
        lines.append("-- What fills their columns.")
        lines.append(
            block(f"""\
DECLARE
  counter regclass;
BEGIN
  FOR counter IN
    SELECT d.objid::regclass FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid = d.objid
      WHERE d.classid = 'pg_class'::regclass AND c.relkind = 'S' AND d.deptype IN ('a', 'i') AND d.refobjid IN ({listed})
  LOOP
    EXECUTE format('GRANT USAGE, SELECT ON SEQUENCE %s TO %I', counter, {literal(writer)});
  END LOOP;
END""")
        )
    return "\n".join(lines)


def _future(schema: str, granted: Sequence[tuple[str, str]], writer: str | None) -> str:
    """Default privileges belong to whoever will create the table: so far, who owns something there, and who runs this."""
    given = [(f"GRANT {rights} ON TABLES TO {quoted(role)}") for role, rights in granted]
    if writer is not None:
        given.append(f"GRANT USAGE, SELECT ON SEQUENCES TO {quoted(writer)}")
    begin = f"      EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I ', maker, {literal(schema)})"
    statements = "\n".join(f"{begin} || {literal(each)};" for each in given)
    return "-- The same for tables to come.\n" + block(f"""\
DECLARE
  maker name;
BEGIN
  FOR maker IN
    SELECT current_user
    UNION SELECT pg_catalog.pg_get_userbyid(c.relowner) FROM pg_catalog.pg_class c
      WHERE c.relnamespace = {literal(quoted(schema))}::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  LOOP
    BEGIN
{statements}
    EXCEPTION WHEN insufficient_privilege THEN
      RAISE WARNING 'what % will create in the schema % must be granted by that role itself', maker, {literal(schema)};
    END;
  END LOOP;
END""")
