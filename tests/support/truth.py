"""What upstream itself says: the gateway's own word never counts. Every policy test ends with `upstream_checksum`."""

import hashlib
from typing import Any

import psycopg
from psycopg import sql

# Whole rows of these catalogues, for objects that are not PostgreSQL's own.
_CATALOGUES = (
    "pg_proc",
    "pg_operator",
    "pg_cast",
    "pg_aggregate",
    "pg_policy",
    "pg_rewrite",
    "pg_trigger",
    "pg_event_trigger",
    "pg_constraint",
    "pg_extension",
    "pg_foreign_data_wrapper",
    "pg_foreign_server",
    "pg_user_mapping",
    "pg_collation",
    "pg_opclass",
    "pg_language",
    "pg_enum",
    "pg_attrdef",
    "pg_inherits",
    "pg_description",
    "pg_shdescription",
    "pg_seclabel",
    "pg_default_acl",
    "pg_db_role_setting",
    "pg_init_privs",
    "pg_authid",
    "pg_auth_members",
    "pg_publication",
    "pg_subscription",
    "pg_statistic_ext",
    "pg_prepared_xacts",
)
# Where vacuum, analyze or a running sequence change a column by themselves, only the columns that a person changes.
_CHOSEN_COLUMNS = (
    "SELECT oid, relname, relnamespace, relkind, relowner, relpersistence, relfilenode, reltablespace, relacl, reloptions, "
    "relrowsecurity, relreplident, relispopulated FROM pg_class WHERE oid >= 16384 AND relkind <> 'S'",
    "SELECT attrelid, attnum, attname, atttypid, attnotnull, attidentity, attgenerated, attacl, attoptions, attisdropped "
    "FROM pg_attribute WHERE attrelid >= 16384",
    "SELECT oid, typname, typnamespace, typowner, typacl FROM pg_type WHERE oid >= 16384",
    "SELECT indexrelid, indisvalid, indisunique, indisclustered FROM pg_index WHERE indexrelid >= 16384",
    "SELECT oid, nspname, nspowner, nspacl FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp_'",
    "SELECT datname, datdba, datacl, datconnlimit FROM pg_database WHERE datname = current_database()",
    "SELECT schemaname, sequencename, last_value, increment_by, cache_size FROM pg_sequences",
    "SELECT slot_name, slot_type, restart_lsn::text FROM pg_replication_slots",
    "SELECT oid, lomowner, lomacl, md5(lo_get(oid)) FROM pg_largeobject_metadata",
    "SELECT classid, objid, objsubid, mode FROM pg_locks WHERE locktype = 'advisory'",
)
_TABLES = (
    "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind IN ('r', 'm') AND c.oid >= 16384 AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' "
    "AND NOT (c.relkind = 'm' AND NOT c.relispopulated) ORDER BY 1, 2"
)


def upstream_checksum(connection: "psycopg.Connection[Any]") -> str:
    """One digest over schema, privileges, roles, rows, sequences, large objects and advisory locks of a database.

    `connection` is a superuser's own, directly to upstream. Equal digests: nothing that a statement can leave behind is there.
    """
    digest = hashlib.sha256()
    for catalogue in _CATALOGUES:
        digest.update(_sorted_rows(connection, sql.SQL("SELECT * FROM {}").format(sql.Identifier(catalogue))))
    for query in _CHOSEN_COLUMNS:
        digest.update(_sorted_rows(connection, sql.SQL(query)))
    for schema, table in connection.execute(_TABLES).fetchall():
        name = sql.Identifier(schema, table)
        digest.update(f"{schema}.{table}".encode())
        digest.update(_sorted_rows(connection, sql.SQL("SELECT * FROM {}").format(name)))
    return digest.hexdigest()


def _sorted_rows(connection: "psycopg.Connection[Any]", query: sql.Composable) -> bytes:
    """The query's rows as one digest, made by the server: row order does not count, their number does."""
    counted = sql.SQL(
        "SELECT count(*)::text || coalesce(md5(string_agg(md5(r::text), '' ORDER BY md5(r::text))), '') FROM ({}) r"
    )
    row = connection.execute(counted.format(query)).fetchone()
    assert row is not None
    return str(row[0]).encode()
