-- The database that every entry of the corpora meets: a small business, a hoard of objects that run code where nobody looks,
-- and names that hide PostgreSQL's own. Whatever runs such code leaves a row in public.audit.
CREATE TABLE accounts (id serial PRIMARY KEY, owner text NOT NULL, balance numeric(12, 2) NOT NULL DEFAULT 0, note text, region varchar(20));
CREATE INDEX accounts_owner_idx ON accounts (owner);
INSERT INTO accounts (owner, balance, note, region)
  SELECT format('owner%s', n), n * 10, format('note %s', n), format('r%s', n % 4) FROM generate_series(1, 40) n;
CREATE TABLE orders (
  id serial PRIMARY KEY, account_id int REFERENCES accounts, total numeric(10, 2), status text, created_at timestamptz, tags jsonb, doc tsvector);
CREATE INDEX orders_doc_gin ON orders USING gin (doc) WITH (fastupdate = on);
CREATE INDEX orders_brin ON orders USING brin (id);
INSERT INTO orders (account_id, total, status, created_at, tags, doc)
  SELECT n % 40 + 1, n, (ARRAY['paid', 'open', 'void'])[n % 3 + 1], timestamptz '2024-02-01 UTC' + n * interval '1 hour',
    jsonb_build_object('k', n, 'a', ARRAY[n, 2]), to_tsvector('english', format('blue socks number %s', n)) FROM generate_series(1, 120) n;
CREATE TABLE staging (id int, payload text);
INSERT INTO staging VALUES (1, 'one'), (2, 'two');
CREATE TABLE pgbench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84));
INSERT INTO pgbench_accounts SELECT n, 1, 0, '' FROM generate_series(1, 60) n;
CREATE TABLE audit (id bigserial PRIMARY KEY, at timestamptz DEFAULT clock_timestamp(), what text);
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE addr AS (street text, zip int);
CREATE TABLE people (id int PRIMARY KEY, m mood, a addr, nick text[]);
INSERT INTO people VALUES (1, 'happy', ('Hill Road', 10), '{ann}'), (2, 'ok', ('Quay', 20), '{bo,bob}');
CREATE TABLE measure (city int, logdate date, peak int) PARTITION BY RANGE (logdate);
CREATE TABLE measure_2024 PARTITION OF measure FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
INSERT INTO measure SELECT n, date '2024-03-01' + n, 2 * n FROM generate_series(1, 20) n;
CREATE VIEW v_accounts AS SELECT id, owner, balance FROM accounts;
CREATE MATERIALIZED VIEW mv_totals AS SELECT account_id, sum(total) AS t FROM orders GROUP BY account_id;
CREATE UNIQUE INDEX mv_totals_u ON mv_totals (account_id);
CREATE SEQUENCE s1;
COMMENT ON TABLE accounts IS 'who has how much';
SELECT lo_from_bytea(424242, '\x0badf00d');
CREATE FUNCTION fiscal_year(day date) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT extract(year FROM day + 184)::int $$;

-- Functions that write, under every label. `leave` is the one that does it.
CREATE FUNCTION leave(mark text) RETURNS void LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.audit (what) VALUES (mark); END';
CREATE FUNCTION evil_write() RETURNS int LANGUAGE plpgsql VOLATILE AS $$ BEGIN PERFORM public.leave('function'); RETURN 1; END $$;
CREATE FUNCTION evil_sql() RETURNS int LANGUAGE sql VOLATILE AS $$ SELECT public.leave('sql'); SELECT 1 $$;
CREATE FUNCTION evil_stable() RETURNS int LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN public.evil_write(); END $$;
CREATE FUNCTION evil_immutable(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN public.evil_write(); END $$;
CREATE FUNCTION evil_secdef() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN PERFORM public.leave('definer'); RETURN 1; END $$;
CREATE FUNCTION evil_rw() RETURNS text LANGUAGE plpgsql SET default_transaction_read_only = off
  AS $$ BEGIN PERFORM public.leave('setting'); RETURN current_setting('transaction_read_only'); END $$;
CREATE FUNCTION evil_rowfn(accounts) RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM public.leave('row'); RETURN $1.id; END $$;
CREATE FUNCTION evil_txt(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM public.leave('text'); RETURN $1; END $$;
CREATE FUNCTION evil_default(int DEFAULT nextval('public.s1')) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT $1 $$;
CREATE PROCEDURE evil_proc() LANGUAGE plpgsql AS $$ BEGIN PERFORM public.leave('procedure'); END $$;
CREATE PROCEDURE evil_proc_tx() LANGUAGE plpgsql
  AS $$ BEGIN COMMIT; SET TRANSACTION READ WRITE; PERFORM public.leave('procedure tx'); COMMIT; END $$;
CREATE FUNCTION evil_sfunc(int, int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM public.leave('aggregate'); RETURN coalesce($1, 0) + $2; END $$;
CREATE AGGREGATE evil_agg(int) (SFUNC = evil_sfunc, STYPE = int);

-- Operators, casts, domains.
CREATE FUNCTION evil_int(int, int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM public.leave('operator'); RETURN true; END $$;
CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = evil_int);
CREATE FUNCTION evil_plus(int, int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM public.leave('plus'); RETURN $1 - - $2; END $$;
CREATE TYPE evil_t AS (x int);
CREATE FUNCTION evil_cast(evil_t) RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM public.leave('cast'); RETURN $1.x; END $$;
CREATE CAST (evil_t AS int) WITH FUNCTION evil_cast(evil_t) AS IMPLICIT;
CREATE TABLE evil_tt (e evil_t);
INSERT INTO evil_tt VALUES (ROW(20)), (ROW(10));
CREATE FUNCTION evil_check(text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM public.leave('check'); RETURN true; END $$;
CREATE DOMAIN evil_dom AS text CHECK (evil_check(VALUE));
CREATE DOMAIN evil_dom2 AS evil_dom;
CREATE TYPE evil_wrap AS (d evil_dom);
CREATE TABLE has_dom (id int, d evil_dom);

-- Relations that run code when they are read.
CREATE VIEW v_evil AS SELECT public.evil_write() AS x;
CREATE VIEW v_evil2 AS SELECT a.id, public.evil_txt(a.owner) AS t FROM public.accounts a;
CREATE VIEW v_deep AS SELECT x FROM public.v_evil;
CREATE TABLE rls_t (id int, owner text);
INSERT INTO rls_t VALUES (1, 'o'), (2, 'o');
ALTER TABLE rls_t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY p1 ON rls_t FOR SELECT USING (evil_check(owner));
CREATE TABLE tenant (id int, tenant text);
INSERT INTO tenant VALUES (1, 'north'), (2, 'south');
ALTER TABLE tenant ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY p2 ON tenant FOR SELECT USING (tenant = current_setting('app.tenant', true));
CREATE TABLE idxexpr (t text);
INSERT INTO idxexpr VALUES ('p'), ('q');
CREATE FUNCTION evil_idx(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM public.evil_txt('index'); RETURN $1; END $$;
CREATE INDEX idxexpr_i ON idxexpr (evil_idx(t));

-- A type whose order and equality run code.
CREATE TYPE evil_ord AS (x int);
CREATE FUNCTION evil_cmp(evil_ord, evil_ord) RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM public.leave('compare'); RETURN $1.x - $2.x; END $$;
CREATE FUNCTION evil_lt(evil_ord, evil_ord) RETURNS bool LANGUAGE sql IMMUTABLE AS $$ SELECT $1.x < $2.x $$;
CREATE FUNCTION evil_gt(evil_ord, evil_ord) RETURNS bool LANGUAGE sql IMMUTABLE AS $$ SELECT $1.x > $2.x $$;
CREATE FUNCTION evil_eq(evil_ord, evil_ord) RETURNS bool LANGUAGE sql IMMUTABLE AS $$ SELECT $1.x = $2.x $$;
CREATE OPERATOR #<# (LEFTARG = evil_ord, RIGHTARG = evil_ord, FUNCTION = evil_lt, COMMUTATOR = #>#);
CREATE OPERATOR #># (LEFTARG = evil_ord, RIGHTARG = evil_ord, FUNCTION = evil_gt, COMMUTATOR = #<#);
CREATE OPERATOR #=# (LEFTARG = evil_ord, RIGHTARG = evil_ord, FUNCTION = evil_eq);
CREATE OPERATOR CLASS evil_ord_ops DEFAULT FOR TYPE evil_ord USING btree
  AS OPERATOR 1 #<#, OPERATOR 3 #=#, OPERATOR 5 #>#, FUNCTION 1 evil_cmp(evil_ord, evil_ord);
CREATE TABLE evil_ords (e evil_ord);
INSERT INTO evil_ords VALUES (ROW(3)), (ROW(1)), (ROW(2));
CREATE TYPE evil_box AS (inside evil_ord);
CREATE TABLE evil_boxes (b evil_box);
INSERT INTO evil_boxes SELECT ROW(e)::evil_box FROM evil_ords;
CREATE TYPE evil_range AS RANGE (subtype = evil_ord, subtype_opclass = evil_ord_ops);

-- Names that hide PostgreSQL's own.
CREATE SCHEMA shadow;
CREATE FUNCTION shadow.lower(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM public.leave('lower'); RETURN pg_catalog.lower($1); END $$;
CREATE FUNCTION shadow.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN PERFORM public.leave('now'); RETURN pg_catalog.now(); END $$;
CREATE FUNCTION shadow.count(int) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN PERFORM public.leave('count'); RETURN 0; END $$;
CREATE FUNCTION shadow.texteq2(text, text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM public.leave('equal'); RETURN true; END $$;
CREATE OPERATOR shadow.= (LEFTARG = text, RIGHTARG = text, FUNCTION = shadow.texteq2);
CREATE OPERATOR shadow.+ (LEFTARG = int, RIGHTARG = int, FUNCTION = evil_plus);

TRUNCATE audit RESTART IDENTITY;
SELECT setval('s1', 1, false);
GRANT USAGE ON SCHEMA public, shadow TO analyst, app_owner;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO analyst;
GRANT ALL ON ALL TABLES IN SCHEMA public TO app_owner;
GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO app_owner;
