"""What a database is like, as whoever is to adopt it sees it: asked of the server, nothing is changed.

Every question is for PostgreSQL 13 to 18. Rights are those of the login that asks, as PostgreSQL would use them.
"""

# ruff: noqa: S608 - names go in by `_text`, and are data

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.custody.upstream_admin import AdminConnection, Row

_MOST_TABLES: Final = 20_000
_OF_USERS: Final = (
    "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT EXISTS (SELECT FROM pg_depend e "
    "WHERE e.classid = 'pg_namespace'::regclass AND e.objid = n.oid AND e.deptype = 'e')"
)
_SELF: Final = """
SELECT current_user, r.rolsuper, r.rolcreaterole, pg_has_role(d.datdba, 'USAGE'), pg_is_in_recovery(),
  current_setting('server_version'), coalesce((SELECT string_agg(m.rolname, ',' ORDER BY 1) FROM pg_roles m
    WHERE m.rolname IN ('rds_superuser', 'cloudsqlsuperuser', 'azure_pg_admin', 'alloydbsuperuser', 'neon_superuser')), ''),
  coalesce((SELECT string_agg(a.privilege_type, ', ' ORDER BY 1) FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
    WHERE a.grantee = 0 AND a.privilege_type IN ('CREATE', 'TEMPORARY')), ''),
  has_database_privilege(d.oid, 'CONNECT WITH GRANT OPTION') OR pg_has_role(d.datdba, 'USAGE'), pg_get_userbyid(d.datdba)
FROM pg_database d, pg_roles r WHERE d.datname = current_database() AND r.rolname = current_user"""


@dataclass(frozen=True, slots=True)
class Admin:
    """The login that looks. `providers`: roles that tell a managed server. `public`: what PUBLIC may do with the database."""

    login: str
    superuser: bool
    create_role: bool
    owns_database: bool
    in_recovery: bool
    version: str
    providers: tuple[str, ...]
    public: str
    may_grant_connect: bool
    database_owner: str


@dataclass(frozen=True, slots=True)
class Schema:
    """`public_create`: everybody may make tables there. `may_grant`: this login may let roles use it."""

    name: str
    owner: str
    may_grant: bool
    public_create: bool


@dataclass(frozen=True, slots=True)
class Table:
    """`kind`: as pg_class has it; "S" for a sequence. `may_grant`: this login may grant rights on it.

    `reads`, `writes`: the roles that are asked about can already (a sequence: use it). `public_writes`: everybody can.
    """

    schema: str
    name: str
    kind: str
    owner: str
    may_grant: bool
    reads: bool
    writes: bool
    public_writes: bool


@dataclass(frozen=True, slots=True)
class Maker:
    """Somebody who makes tables in a schema. `may_say`: this login may give rights on those to come; `said`: they are given."""

    schema: str
    name: str
    may_say: bool
    said: bool


@dataclass(frozen=True, slots=True)
class KnownRole:
    """A role that is there already. `powers`: more than logging in. `may_manage`: this login may change and drop it.

    `uses`: names of schemas that it may use, of those with tables. `connects`: to this database. `settled`: its sessions begin
    read-only. `member_of`: other roles.
    """

    name: str
    comment: str
    powers: str
    may_manage: bool
    connects: bool
    settled: bool
    member_of: str
    uses: frozenset[str]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found. `more_tables`: there are more than were looked at."""

    admin: Admin
    schemas: tuple[Schema, ...]
    tables: tuple[Table, ...]
    makers: tuple[Maker, ...]
    roles: tuple[KnownRole, ...]
    more_tables: bool

    def role(self, name: str) -> KnownRole | None:
        return next((each for each in self.roles if each.name == name), None)


async def inspect(connection: AdminConnection, reader: str, writer: str | None) -> Inspection:
    """`reader`, `writer`: the roles that are to be made, or are there. Raises UpstreamAdminError."""
    names = [reader] if writer is None else [reader, writer]
    (found,) = await connection.rows(_SELF)
    schemas = tuple(map(_schema, await connection.rows(_schemas())))
    tables = await connection.rows(_tables(reader, writer))
    return Inspection(
        _admin(found),
        schemas,
        tuple(_table(row) for row in tables[:_MOST_TABLES]),
        tuple(map(_maker, await connection.rows(_makers(reader, writer)))),
        tuple(map(_role, await connection.rows(_roles(names)))),
        len(tables) > _MOST_TABLES,
    )


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _schemas() -> str:
    return f"""
SELECT n.nspname, pg_get_userbyid(n.nspowner), has_schema_privilege(n.oid, 'USAGE WITH GRANT OPTION'),
  EXISTS (SELECT FROM aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
    WHERE a.grantee = 0 AND a.privilege_type = 'CREATE')
FROM pg_namespace n WHERE {_OF_USERS}
  AND (n.nspname = 'public'
    OR EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'f')))
ORDER BY 1"""


def _oid(role: str) -> str:
    """NULL where there is no such role: then every answer about its rights is NULL, too."""
    return f"(SELECT q.oid FROM pg_roles q WHERE q.rolname = {_text(role)})"


def _tables(reader: str, writer: str | None) -> str:
    reads, writes = _oid(reader), _oid(writer or reader)
    right = "INSERT, UPDATE, DELETE" if writer is not None else "SELECT"
    used = f"has_sequence_privilege({writes}, c.oid, 'USAGE')" if writer is not None else "true"
    every = " AND ".join(f"has_table_privilege({writes}, c.oid, '{each}')" for each in ("SELECT", *right.split(", ")))
    return f"""
SELECT n.nspname, c.relname, c.relkind, pg_get_userbyid(c.relowner),
  pg_has_role(c.relowner, 'USAGE') OR CASE c.relkind WHEN 'S' THEN has_sequence_privilege(c.oid, 'USAGE WITH GRANT OPTION')
    ELSE has_table_privilege(c.oid, 'SELECT WITH GRANT OPTION') END,
  coalesce(CASE c.relkind WHEN 'S' THEN true ELSE has_table_privilege({reads}, c.oid, 'SELECT') END, false),
  coalesce(CASE c.relkind WHEN 'S' THEN {used} ELSE {every} END, false),
  EXISTS (SELECT FROM aclexplode(c.relacl) a
    WHERE a.grantee = 0 AND a.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE'))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND {_OF_USERS} ORDER BY 1, 2 LIMIT {_MOST_TABLES + 1}"""


def _makers(reader: str, writer: str | None) -> str:
    """Whoever owns tables somewhere, and this login: as the SQL of `services.target_sql` goes by."""

    def said(role: str, kind: str, right: str) -> str:
        return f"""EXISTS (SELECT FROM pg_default_acl d CROSS JOIN LATERAL aclexplode(d.defaclacl) a
    WHERE d.defaclrole = m.maker AND d.defaclnamespace IN (0, m.schema) AND d.defaclobjtype = '{kind}'
      AND a.grantee = {_oid(role)} AND a.privilege_type = '{right}')"""

    wanted = [said(reader, "r", "SELECT")]
    wanted += [] if writer is None else [said(writer, "r", "DELETE"), said(writer, "S", "USAGE")]
    return f"""
SELECT n.nspname, pg_get_userbyid(m.maker), pg_has_role(m.maker, 'USAGE'), {" AND ".join(wanted)}
FROM (SELECT c.relnamespace AS schema, c.relowner AS maker FROM pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
  UNION SELECT s.oid, r.oid FROM pg_namespace s, pg_roles r WHERE r.rolname = current_user) m
JOIN pg_namespace n ON n.oid = m.schema WHERE {_OF_USERS} ORDER BY 1, 2"""


def _roles(names: Sequence[str]) -> str:
    listed = ", ".join(map(_text, names))
    return f"""
SELECT r.rolname, coalesce(shobj_description(r.oid, 'pg_authid'), ''),
  concat_ws(', ', CASE WHEN r.rolsuper THEN 'SUPERUSER' END, CASE WHEN r.rolcreatedb THEN 'CREATEDB' END,
    CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END, CASE WHEN r.rolreplication THEN 'REPLICATION' END,
    CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END),
  CASE WHEN me.rolsuper THEN true WHEN r.rolsuper OR NOT me.rolcreaterole THEN false
    WHEN current_setting('server_version_num')::int < 160000 THEN true
    ELSE pg_has_role(r.oid, 'USAGE WITH ADMIN OPTION') OR pg_has_role(r.oid, 'MEMBER WITH ADMIN OPTION') END,
  has_database_privilege(r.oid, current_database(), 'CONNECT') AND r.rolcanlogin,
  EXISTS (SELECT FROM pg_db_role_setting s CROSS JOIN LATERAL unnest(s.setconfig) c
    WHERE s.setrole = r.oid AND s.setdatabase = 0 AND c = 'default_transaction_read_only=on'),
  coalesce((SELECT string_agg(pg_get_userbyid(m.roleid), ', ' ORDER BY 1) FROM pg_auth_members m WHERE m.member = r.oid), ''),
  coalesce((SELECT string_agg(n.nspname, E'\\n') FROM pg_namespace n
    WHERE {_OF_USERS} AND has_schema_privilege(r.oid, n.oid, 'USAGE')), '')
FROM pg_roles r, pg_roles me WHERE me.rolname = current_user AND r.rolname IN ({listed}) ORDER BY 1"""


def _yes(value: str | None) -> bool:
    return value == "t"


def _admin(row: Row) -> Admin:
    login, superuser, create_role, owns, recovery, version, providers, public, connect, owner = row
    names = tuple(filter(None, (providers or "").split(",")))
    return Admin(
        login or "",
        _yes(superuser),
        _yes(create_role),
        _yes(owns),
        _yes(recovery),
        version or "",
        names,
        public or "",
        _yes(connect),
        owner or "",
    )


def _schema(row: Row) -> Schema:
    return Schema(row[0] or "", row[1] or "", _yes(row[2]), _yes(row[3]))


def _table(row: Row) -> Table:
    return Table(row[0] or "", row[1] or "", row[2] or "", row[3] or "", *map(_yes, row[4:8]))


def _maker(row: Row) -> Maker:
    return Maker(row[0] or "", row[1] or "", _yes(row[2]), _yes(row[3]))


def _role(row: Row) -> KnownRole:
    uses = frozenset(filter(None, (row[7] or "").split("\n")))
    return KnownRole(row[0] or "", row[1] or "", row[2] or "", _yes(row[3]), _yes(row[4]), _yes(row[5]), row[6] or "", uses)
