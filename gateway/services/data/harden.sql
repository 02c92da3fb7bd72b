-- Take from PUBLIC what an analyst's login must not have in this database. Run as a superuser, once per database; harmless
-- when repeated, and on servers that lack one of the functions. Owners and superusers keep everything. A program of yours that
-- uses one of the functions (LISTEN and NOTIFY, locks for migrations, txid_current in triggers) gets it back for its own role:
-- GRANT EXECUTE ON FUNCTION pg_notify(text, text) TO its_role;
DO $$
DECLARE
  doomed regprocedure;
BEGIN
  EXECUTE format('REVOKE TEMPORARY, CREATE ON DATABASE %I FROM PUBLIC', current_database());
  REVOKE CREATE ON SCHEMA public FROM PUBLIC;
  FOR doomed IN
    SELECT p.oid::regprocedure
    FROM pg_proc p
    JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE (n.nspname = 'pg_catalog' AND p.proname = ANY (ARRAY[
        -- hold a server process, or reach into other sessions
        'pg_sleep', 'pg_sleep_for', 'pg_sleep_until', 'pg_terminate_backend', 'pg_cancel_backend', 'pg_notify',
        'pg_export_snapshot',
        -- write, though PostgreSQL's read-only transactions let them
        'pg_logical_emit_message', 'pg_current_xact_id', 'txid_current', 'lo_creat', 'lo_create', 'lo_from_bytea', 'lo_import',
        'lo_export', 'lo_open',
        'lo_put', 'lo_truncate', 'lo_truncate64', 'lo_unlink', 'lowrite',
        -- run text that nobody judged
        'ts_stat', 'query_to_xml', 'query_to_xmlschema', 'query_to_xml_and_xmlschema', 'cursor_to_xml', 'cursor_to_xmlschema',
        'table_to_xml', 'table_to_xmlschema', 'table_to_xml_and_xmlschema', 'schema_to_xml', 'schema_to_xmlschema',
        'schema_to_xml_and_xmlschema', 'database_to_xml', 'database_to_xmlschema', 'database_to_xml_and_xmlschema']))
      OR (n.nspname = 'pg_catalog' AND p.proname ~ '^pg_(try_)?advisory_(xact_)?lock')  -- (asyncpg's reset unlocks)
      OR (n.nspname = 'pg_catalog' AND p.proname ~ '^pg_replication_origin_')  -- PUBLIC's on 13, though only superusers get through
      OR (n.nspname <> 'pg_catalog' AND p.proname ~ '^(dblink|pg_prewarm|autoprewarm)')
  LOOP
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', doomed);
  END LOOP;
END
$$;
