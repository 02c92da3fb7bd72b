"""What is asked over an upstream session to know what its role could do if nothing judged its statements.

Every question is for PostgreSQL 13 to 18 and assumes that search_path is pg_catalog alone. Rights are read from the access lists
themselves, so that each answer names who was given the right: PUBLIC, the role, or a role that it is a member of (whether it
inherits from it or could only SET ROLE to it). What an owner may do with its own is not repeated: OWNED says that.

A row of a grant: kind, the right, the object, the grantees (these three as SQL), a word about it, and how many rows there were.
"""

# ruff: noqa: S608 - put together from constants

from typing import Final

from gateway.proxy.watched_functions import WATCHED_FUNCTIONS

_ROWS: Final = 100
_NOT_TEMPORARY: Final = "n.nspname !~ '^pg_(toast|temp)'"
_OF_USERS: Final = f"{_NOT_TEMPORARY} AND n.nspname NOT IN ('pg_catalog', 'information_schema')"
_REACHED: Final = "(x.grantee = 0 OR pg_has_role(x.grantee, 'MEMBER'))"
_GRANTEES: Final = (
    "string_agg(DISTINCT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END, ', ')"
)
_RIGHTS: Final = "string_agg(DISTINCT x.privilege_type, ', ')"

#: A row for the role itself and each that it is a member of: name, is it itself, does it inherit, then five attributes and the
#: connection limit.
ROLES: Final = f"""
SELECT r.rolname, r.rolname = current_user, pg_has_role(r.oid, 'USAGE'), r.rolsuper, r.rolreplication, r.rolbypassrls,
  r.rolcreaterole, r.rolcreatedb, r.rolconnlimit
FROM pg_roles r WHERE pg_has_role(r.oid, 'MEMBER') AND r.rolname <> 'pg_database_owner'
ORDER BY r.rolname <> current_user, r.rolname LIMIT {_ROWS}"""

#: A row for each thing that belongs to one of these roles: the owner, what it is, how many there are.
OWNED: Final = f"""
SELECT quote_ident(pg_get_userbyid(d.refobjid)), left(pg_describe_object(d.classid, d.objid, 0), 200), count(*) OVER ()
FROM pg_shdepend d
WHERE d.deptype = 'o' AND d.refclassid = 'pg_authid'::regclass AND pg_has_role(d.refobjid, 'MEMBER')
  AND d.classid NOT IN ('pg_user_mapping'::regclass, 'pg_default_acl'::regclass)
  AND d.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
ORDER BY 1, d.classid <> 'pg_database'::regclass, 2 LIMIT {_ROWS}"""


def _grants(kind: str, rights: str, named: str, word: str, source: str, acl: str, owner: str, where: str) -> str:
    """A SELECT of grant rows. `rights`: those that count; `acl`, `owner`, `named`: expressions over `source`."""
    return f"""
SELECT {kind}, {_RIGHTS}, {named}, {_GRANTEES}, {word}, count(*) OVER ()
FROM {source} CROSS JOIN LATERAL aclexplode({acl}) x
WHERE x.privilege_type IN ({rights}) AND x.grantee <> {owner} AND {_REACHED} AND {where}
GROUP BY 1, 3, 5"""


_RELATION: Final = "pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
_ROUTINE: Final = (
    "pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang"
    " LEFT JOIN pg_depend e ON e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e'"
)
_ROUTINE_NAMED: Final = "'ROUTINE ' || left(p.oid::regprocedure::text, 300)"
_ROUTINE_ACL: Final = "coalesce(p.proacl, acldefault('f', p.proowner))"

#: Rights to create something, on the database and its schemas.
CREATING: Final = (
    _grants(
        "'database'",
        "'CREATE', 'TEMPORARY'",
        "'DATABASE ' || quote_ident(d.datname)",
        "x.privilege_type",
        "pg_database d",
        "coalesce(d.datacl, acldefault('d', d.datdba))",
        "d.datdba",
        "d.datname = current_database()",
    )
    + " UNION ALL "
    + _grants(
        "'schema'",
        "'CREATE'",
        "'SCHEMA ' || quote_ident(n.nspname)",
        "''",
        "pg_namespace n",
        "coalesce(n.nspacl, acldefault('n', n.nspowner))",
        "n.nspowner",
        _NOT_TEMPORARY,
    )
    + f" LIMIT {_ROWS}"
)

#: Rights to change tables, single columns of them, sequences and large objects.
WRITING: Final = (
    _grants(
        "CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END",
        "'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER', 'REFERENCES', 'MAINTAIN', 'USAGE'",
        "CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || format('%I.%I', n.nspname, c.relname)",
        "''",
        _RELATION,
        "c.relacl",
        "c.relowner",
        f"c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND {_OF_USERS}",
    )
    + " UNION ALL "
    + _grants(
        "'column'",
        "'INSERT', 'UPDATE', 'REFERENCES'",
        "'TABLE ' || format('%I.%I', n.nspname, c.relname)",
        "quote_ident(a.attname)",
        f"{_RELATION} JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped",
        "a.attacl",
        "c.relowner",
        _OF_USERS,
    )
    + " UNION ALL "
    + _grants(
        "'large object'",
        "'UPDATE'",
        "'LARGE OBJECT ' || o.oid",
        "''",
        "pg_largeobject_metadata o",
        "o.lomacl",
        "o.lomowner",
        "true",
    )
    + f" ORDER BY 1, 3 LIMIT {_ROWS}"
)


_WATCHED_NAMES: Final = ", ".join(f"'{name}'" for name in sorted(WATCHED_FUNCTIONS))

#: Rights to call functions of PostgreSQL and of extensions that the policy refuses; the word is the function's bare name.
CALLING: Final = (
    _grants(
        "'function'",
        "'EXECUTE'",
        _ROUTINE_NAMED,
        "p.proname::text",
        _ROUTINE,
        _ROUTINE_ACL,
        "p.proowner",
        f"p.proname = ANY (ARRAY[{_WATCHED_NAMES}]::name[]) AND p.prorettype <> 'trigger'::regtype"
        " AND (n.nspname = 'pg_catalog' OR e.objid IS NOT NULL)",
    )
    + " ORDER BY 3"
)

#: Rights to call users' routines that act with another's rights; the word says whose.
ACTING: Final = (
    _grants(
        "CASE WHEN p.prosecdef THEN 'definer' ELSE 'untrusted' END",
        "'EXECUTE'",
        _ROUTINE_NAMED,
        "CASE WHEN p.prosecdef THEN quote_ident(pg_get_userbyid(p.proowner)) ELSE l.lanname::text END",
        _ROUTINE,
        _ROUTINE_ACL,
        "p.proowner",
        f"{_OF_USERS} AND (p.prosecdef OR NOT l.lanpltrusted AND l.lanname NOT IN ('internal', 'c'))",
    )
    + f" ORDER BY 3 LIMIT {_ROWS}"
)

#: Ways out of the database: foreign servers, wrappers to make them with, foreign tables, and passwords kept for them.
FOREIGN: Final = (
    _grants(
        "'server'",
        "'USAGE'",
        "'FOREIGN SERVER ' || quote_ident(s.srvname)",
        "w.fdwname::text",
        "pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw",
        "s.srvacl",
        "s.srvowner",
        "true",
    )
    + " UNION ALL "
    + _grants(
        "'wrapper'",
        "'USAGE'",
        "'FOREIGN DATA WRAPPER ' || quote_ident(w.fdwname)",
        "''",
        "pg_foreign_data_wrapper w",
        "w.fdwacl",
        "w.fdwowner",
        "true",
    )
    + " UNION ALL "
    + _grants(
        "'foreign table'",
        "'SELECT'",
        "'TABLE ' || format('%I.%I', n.nspname, c.relname)",
        "w.fdwname::text",
        f"{_RELATION} JOIN pg_foreign_table f ON f.ftrelid = c.oid JOIN pg_foreign_server s ON s.oid = f.ftserver"
        " JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw",
        "c.relacl",
        "c.relowner",
        "true",
    )
    + """ UNION ALL
SELECT 'mapping', '', quote_ident(m.srvname), CASE WHEN m.umuser = 0 THEN 'PUBLIC' ELSE quote_ident(m.usename) END, '', 1
FROM pg_user_mappings m WHERE m.umuser = 0 OR pg_has_role(m.umuser, 'MEMBER')"""
    + f" ORDER BY 1, 3 LIMIT {_ROWS}"
)

#: System relations that only a superuser reads otherwise.
SECRETS: Final = (
    _grants(
        "'secret'",
        "'SELECT'",
        "'TABLE pg_catalog.' || quote_ident(c.relname)",
        "c.relname::text",
        _RELATION,
        "c.relacl",
        "c.relowner",
        "n.nspname = 'pg_catalog' AND c.relname IN ('pg_authid', 'pg_shadow', 'pg_user_mapping', 'pg_largeobject',"
        " 'pg_statistic', 'pg_statistic_ext_data', 'pg_hba_file_rules', 'pg_file_settings', 'pg_ident_file_mappings',"
        " 'pg_subscription')",
    )
    + " ORDER BY 3"
)

#: PostgreSQL 15 and newer: settings of the server that it was given.
PARAMETERS: Final = (
    _grants(
        "'parameter'",
        "'SET', 'ALTER SYSTEM'",
        "'PARAMETER ' || quote_ident(p.parname)",
        "''",
        "pg_parameter_acl p",
        "p.paracl",
        "10",
        "true",
    )
    + f" ORDER BY 3 LIMIT {_ROWS}"
)
PARAMETERS_SINCE: Final = 15

#: One row: what its sessions start with; default_transaction_read_only as the role or the database has it ("" for unset).
DEFAULTS: Final = """
SELECT current_setting('statement_timeout'), current_setting('idle_in_transaction_session_timeout'),
  current_setting('temp_file_limit'), coalesce(current_setting('client_connection_check_interval', true), ''),
  coalesce((SELECT split_part(c, '=', 2) FROM pg_db_role_setting s CROSS JOIN LATERAL unnest(s.setconfig) c
    WHERE c LIKE 'default\\_transaction\\_read\\_only=%'
      AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
      AND s.setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = current_user))
    ORDER BY s.setrole = 0, s.setdatabase = 0 LIMIT 1), '')"""
