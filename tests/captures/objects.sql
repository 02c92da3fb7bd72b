-- A working database with one of each kind of object, for tools to look at. Made beside tests/support/tables.sql, as superuser.
CREATE SCHEMA app AUTHORIZATION app_rw;
COMMENT ON SCHEMA app IS 'the application''s own';
GRANT USAGE ON SCHEMA app TO app_ro;
CREATE SCHEMA "Odd ""Name""";
GRANT USAGE ON SCHEMA "Odd ""Name""" TO app_ro;

CREATE DOMAIN app.zip AS text CHECK (VALUE ~ '^\d{5}$');
CREATE DOMAIN app.age AS int DEFAULT 18 NOT NULL CONSTRAINT grown CHECK (VALUE > 0);
CREATE TYPE app.stage AS ENUM ('new', 'paid', 'sent');
CREATE TYPE app.address AS (street text, zip app.zip, tags text[]);
CREATE TYPE app.span AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE TYPE app.shell;
CREATE COLLATION app.byte_order FROM "C";

CREATE TABLE app.customers (
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, home app.address, grown app.age, born date,
  email text COLLATE "C" UNIQUE, loud text GENERATED ALWAYS AS (upper(name)) STORED, notes jsonb DEFAULT '{}',
  seen app.span, CONSTRAINT named CHECK (name <> ''), EXCLUDE USING gist (seen WITH &&));
INSERT INTO app.customers (name, home, born, email, seen) VALUES
  ('Ada', ROW('1 Main St', '12345', '{a,b}'), '1815-12-10', 'ada@example.com', '[1,2)'), ('Bob', NULL, NULL, NULL, NULL);
COMMENT ON TABLE app.customers IS 'people';
COMMENT ON COLUMN app.customers.name IS 'as they say it';
CREATE INDEX ON app.customers (lower(name)) WHERE born IS NOT NULL;
CREATE INDEX ON app.customers USING gin (notes jsonb_path_ops);
CREATE INDEX ON app.customers USING brin (born);
CREATE INDEX ON app.customers USING hash (name);
CREATE STATISTICS app.together (dependencies, ndistinct) ON name, born FROM app.customers;
ALTER TABLE app.customers ALTER COLUMN name SET STATISTICS 200, ALTER COLUMN notes SET STORAGE EXTERNAL;
CREATE TABLE app.bookings (
  id uuid DEFAULT gen_random_uuid(), customer int REFERENCES app.customers ON DELETE CASCADE, stage app.stage DEFAULT 'new',
  placed timestamptz NOT NULL DEFAULT now(), amount numeric(12, 2), PRIMARY KEY (id, placed)) PARTITION BY RANGE (placed);
CREATE TABLE app.bookings_2024 PARTITION OF app.bookings FOR VALUES FROM ('2024-01-01') TO ('2025-01-01') PARTITION BY RANGE (placed);
CREATE TABLE app.bookings_2024_may PARTITION OF app.bookings_2024 FOR VALUES FROM ('2024-05-01') TO ('2024-06-01');
CREATE TABLE app.bookings_rest PARTITION OF app.bookings DEFAULT;
INSERT INTO app.bookings (customer, placed, amount) VALUES (1, '2024-05-05', 12.50), (2, '2025-06-06', 99);
CREATE TABLE app.shards (k int, v text) PARTITION BY HASH (k);
CREATE TABLE app.shard_0 PARTITION OF app.shards FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE app.parents (id int PRIMARY KEY, what text);
CREATE TABLE app.children (extra text) INHERITS (app.parents);
CREATE TABLE app.typed OF app.address;
CREATE UNLOGGED TABLE app.loose (id serial, doc xml, found tsvector, place point, mac macaddr, bits varbit(9), cash money);
INSERT INTO app.loose (found, place, mac, bits, cash) VALUES (to_tsvector('english', 'cats and dogs'), '(1,2)', '08:00:2b:01:02:03', B'101', 12);
CREATE TABLE "Odd ""Name"""."Select" ("From" int PRIMARY KEY, "a b" text, "Grüße" text DEFAULT 'é');
INSERT INTO "Odd ""Name"""."Select" VALUES (1, 'x', 'y');
CREATE TABLE app.secrets (id int, owner text, word text);
ALTER TABLE app.secrets ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON app.secrets FOR SELECT TO PUBLIC USING (owner = CURRENT_USER);
CREATE POLICY no_writes ON app.secrets AS RESTRICTIVE FOR UPDATE TO app_rw USING (false) WITH CHECK (false);
INSERT INTO app.secrets VALUES (1, 'app_ro', 'mine'), (2, 'app_rw', 'not mine');

CREATE FUNCTION app.fiscal_year(date, shift int DEFAULT 0) RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE
  AS 'SELECT extract(year FROM $1)::int + shift';
CREATE FUNCTION app.pairs(OUT a int, OUT b text) RETURNS SETOF record LANGUAGE plpgsql STABLE SECURITY DEFINER
  SET search_path = app AS $$BEGIN RETURN QUERY SELECT 1, 'x'::text; END$$;
CREATE FUNCTION app.listing(VARIADIC words text[]) RETURNS TABLE (n int, word text) LANGUAGE sql
  AS 'SELECT 1, w FROM unnest(words) w';
CREATE PROCEDURE app.nothing(INOUT n int) LANGUAGE plpgsql AS $$BEGIN n := n + 1; END$$;
CREATE FUNCTION app.stamp() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.what := 'stamped'; RETURN NEW; END$$;
CREATE TRIGGER stamp BEFORE INSERT OR UPDATE OF what ON app.parents FOR EACH ROW WHEN (NEW.what IS NULL) EXECUTE FUNCTION app.stamp();
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON app.parents DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app.stamp();
ALTER TABLE app.parents DISABLE TRIGGER later;
CREATE FUNCTION app.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN END$$;
CREATE EVENT TRIGGER on_ddl ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION app.on_ddl();
CREATE FUNCTION app.add_up(numeric, numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT coalesce($1, 0) + coalesce($2, 0)';
CREATE AGGREGATE app.total(numeric) (SFUNC = app.add_up, STYPE = numeric, INITCOND = '0');
CREATE FUNCTION app.address_eq(app.address, app.address) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT ($1).street = ($2).street';
COMMENT ON FUNCTION app.address_eq IS 'by street';
CREATE OPERATOR app.=== (LEFTARG = app.address, RIGHTARG = app.address, FUNCTION = app.address_eq, COMMUTATOR = OPERATOR(app.===));
CREATE TYPE app.rarely AS ENUM ('a', 'b');
CREATE FUNCTION app.to_rarely(int) RETURNS app.rarely LANGUAGE sql IMMUTABLE AS $$SELECT 'a'::app.rarely$$;
CREATE CAST (int AS app.rarely) WITH FUNCTION app.to_rarely(int);
COMMENT ON CAST (int AS app.rarely) IS 'hardly ever';
CREATE OPERATOR FAMILY app.family USING btree;
CREATE OPERATOR CLASS app.by_text FOR TYPE text USING btree FAMILY app.family AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =,
  OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 bttextcmp(text, text);
CREATE CONVERSION app.latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;

CREATE VIEW app.v_bookings WITH (security_barrier) AS
  SELECT b.id, c.name, b.amount, row_number() OVER (PARTITION BY c.id ORDER BY b.placed) FROM app.bookings b JOIN app.customers c
  ON c.id = b.customer WHERE b.amount > 10;
CREATE VIEW app.v_stamped AS SELECT id, what FROM app.parents WHERE what <> '' WITH LOCAL CHECK OPTION;
CREATE VIEW app.v_years AS SELECT name, app.fiscal_year(born) FROM app.customers;
CREATE RECURSIVE VIEW app.v_counting (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM v_counting WHERE n < 5;
CREATE MATERIALIZED VIEW app.mv_amounts AS SELECT customer, sum(amount) FROM app.bookings GROUP BY 1;
CREATE UNIQUE INDEX ON app.mv_amounts (customer);
CREATE MATERIALIZED VIEW app.mv_empty AS SELECT 1 AS one WITH NO DATA;
CREATE RULE quiet AS ON INSERT TO app.v_years DO INSTEAD NOTHING;
CREATE SEQUENCE app.numbers AS smallint INCREMENT 5 MINVALUE 5 CYCLE OWNED BY app.parents.id;

CREATE TEXT SEARCH DICTIONARY app.words (TEMPLATE = simple, STOPWORDS = english);
CREATE TEXT SEARCH CONFIGURATION app.search (COPY = english);
ALTER TEXT SEARCH CONFIGURATION app.search ALTER MAPPING FOR asciiword WITH app.words, english_stem;
CREATE TEXT SEARCH PARSER app.parser (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype);
CREATE TEXT SEARCH TEMPLATE app.template (LEXIZE = dsimple_lexize, INIT = dsimple_init);

CREATE FOREIGN DATA WRAPPER elsewhere OPTIONS (a 'b');
CREATE SERVER far_server TYPE 't' VERSION '1' FOREIGN DATA WRAPPER elsewhere OPTIONS (host 'far');
CREATE USER MAPPING FOR app_ro SERVER far_server OPTIONS ("user" 'x');
CREATE FOREIGN TABLE app.far (id int NOT NULL, what text OPTIONS (column_name 'w')) SERVER far_server OPTIONS (table_name 'f');
COMMENT ON FOREIGN TABLE app.far IS 'not here';
CREATE PUBLICATION some_tables FOR TABLE app.parents, app.customers WITH (publish = 'insert');
CREATE PUBLICATION all_tables FOR ALL TABLES;
CREATE SUBSCRIPTION subscribed CONNECTION 'dbname=nowhere' PUBLICATION p WITH (connect = false, slot_name = NONE);
COMMENT ON LARGE OBJECT 424242 IS 'a picture';
GRANT SELECT ON LARGE OBJECT 424242 TO app_ro;
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO app_ro;
ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO app_rw;
GRANT SELECT ON ALL TABLES IN SCHEMA app, "Odd ""Name""" TO app_ro;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA app, public TO app_ro;
GRANT SELECT (id), UPDATE (what) ON app.parents TO PUBLIC;
DO $$
DECLARE wanted text;
BEGIN
  FOREACH wanted IN ARRAY ARRAY['hstore', 'citext', 'pg_trgm', 'ltree', 'uuid-ossp', 'btree_gist', 'pgcrypto', 'tablefunc', 'cube'] LOOP
    BEGIN
      EXECUTE format('CREATE EXTENSION IF NOT EXISTS %I SCHEMA public', wanted);
    EXCEPTION WHEN OTHERS THEN
      RAISE NOTICE 'without %', wanted;
    END;
  END LOOP;
END $$;
