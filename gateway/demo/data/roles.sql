-- The two upstream logins of a target, one per access mode: the gateway uses these and nothing else.
-- Placeholders in percent signs are filled in by gateway/demo/sample.py and by the tests. Run as a superuser, once per cluster.
CREATE ROLE %ro% LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 150 PASSWORD %ro_password%;
CREATE ROLE %rw% LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 150 PASSWORD %rw_password%;
-- A second lock beside the gateway's own startup parameter; it does not stop a determined session (BEGIN READ WRITE),
-- missing privileges do.
ALTER ROLE %ro% SET default_transaction_read_only = on;
ALTER ROLE %ro% SET temp_file_limit = '1GB';
ALTER ROLE %rw% SET temp_file_limit = '4GB';
