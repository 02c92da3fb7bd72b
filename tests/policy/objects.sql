-- A shop's database whose owners defined a bit of everything. `record_call` stands for whatever a function of users may do.
CREATE TABLE public.journal (id bigserial PRIMARY KEY, entry text);
CREATE FUNCTION public.record_call(text) RETURNS int LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO public.journal (entry) VALUES ($1); RETURN 1; END $$;
CREATE TABLE public.customers (id int PRIMARY KEY, name text, city varchar(40), score numeric, total numeric);
INSERT INTO public.customers SELECT n, 'customer ' || n, 'city ' || n % 3, n, n FROM generate_series(1, 9) n;
CREATE TABLE public.orders (id int PRIMARY KEY, customer int REFERENCES public.customers, total numeric, placed date);
INSERT INTO public.orders SELECT n, 1 + n % 9, n * 10, '2024-01-01'::date + n FROM generate_series(1, 20) n;

-- Functions: by text, by row, by anything, with a column's name, set-returning, with defaults and without end.
CREATE FUNCTION public.touch(int) RETURNS int LANGUAGE sql AS $$ SELECT public.record_call('touch') $$;
CREATE FUNCTION public.loud(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
  $$ BEGIN PERFORM public.record_call('loud'); RETURN upper($1); END $$;
CREATE FUNCTION public.describe(public.customers) RETURNS text LANGUAGE sql AS $$ SELECT public.record_call('describe')::text $$;
CREATE FUNCTION public.anything(anyelement) RETURNS text LANGUAGE sql AS $$ SELECT public.record_call('anything')::text $$;
CREATE FUNCTION public.total(public.orders) RETURNS numeric LANGUAGE sql AS $$ SELECT public.record_call('total')::numeric $$;
CREATE FUNCTION public.lower(text, int) RETURNS text LANGUAGE sql AS $$ SELECT public.record_call('lower')::text $$;
CREATE FUNCTION public.greet(text, int DEFAULT 1) RETURNS text LANGUAGE sql AS $$ SELECT public.record_call('greet')::text $$;
CREATE FUNCTION public.concat_all(VARIADIC text[]) RETURNS text LANGUAGE sql AS $$ SELECT public.record_call('all')::text $$;
CREATE FUNCTION public.fiscal_quarter(date) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT 1 $$;
CREATE PROCEDURE public.tidy() LANGUAGE sql AS $$ SELECT public.record_call('tidy') $$;
CREATE SCHEMA elsewhere;
CREATE FUNCTION elsewhere.lower(text) RETURNS text LANGUAGE sql AS $$ SELECT public.record_call('elsewhere')::text $$;
CREATE FUNCTION elsewhere.same(text, text) RETURNS bool LANGUAGE sql AS $$ SELECT public.record_call('same') = 1 $$;
CREATE OPERATOR elsewhere.= (LEFTARG = text, RIGHTARG = text, FUNCTION = elsewhere.same);

-- Operators and aggregates.
CREATE FUNCTION public.close_to(int, int) RETURNS bool LANGUAGE sql AS $$ SELECT public.record_call('close') = 1 $$;
CREATE OPERATOR public.<~> (LEFTARG = int, RIGHTARG = int, FUNCTION = public.close_to);
CREATE OPERATOR public.<+> (LEFTARG = int, RIGHTARG = int, FUNCTION = pg_catalog.int4pl);
CREATE OPERATOR public.?! (RIGHTARG = text, FUNCTION = pg_catalog.pg_read_file);
CREATE FUNCTION public.step(int, int) RETURNS int LANGUAGE sql AS $$ SELECT public.record_call('step') $$;
CREATE AGGREGATE public.noted_sum(int) (SFUNC = public.step, STYPE = int, INITCOND = '0');
CREATE AGGREGATE public.plain_sum(int) (SFUNC = pg_catalog.int4pl, STYPE = int, INITCOND = '0');

-- Types: plain ones, and ones that run something when values are made, cast or compared.
CREATE TYPE public.stage AS ENUM ('new', 'paid', 'sent');
CREATE TYPE public.place AS (street text, zip int);
CREATE DOMAIN public.email AS text CHECK (VALUE ~ '^[^@]+@[^@]+$');
CREATE DOMAIN public.watched AS text CHECK (public.record_call(VALUE) = 1);
CREATE DOMAIN public.watched_more AS public.watched;
CREATE TYPE public.wrapped AS (a int, w public.watched);
CREATE FUNCTION public.distance(public.watched, public.watched) RETURNS float8 LANGUAGE sql IMMUTABLE AS 'SELECT 0.0::float8';
CREATE TYPE public.span AS RANGE (SUBTYPE = float8);
CREATE TYPE public.watched_span AS RANGE (SUBTYPE = public.watched);
CREATE TYPE public.release AS (n int);
CREATE FUNCTION public.release_below(public.release, public.release) RETURNS bool LANGUAGE sql AS 'SELECT ($1).n < ($2).n';
CREATE FUNCTION public.release_same(public.release, public.release) RETURNS bool LANGUAGE sql AS 'SELECT ($1).n = ($2).n';
CREATE FUNCTION public.release_above(public.release, public.release) RETURNS bool LANGUAGE sql AS 'SELECT ($1).n > ($2).n';
CREATE FUNCTION public.release_order(public.release, public.release) RETURNS int LANGUAGE plpgsql AS
  $$ BEGIN PERFORM public.record_call('order'); RETURN ($1).n - ($2).n; END $$;
CREATE OPERATOR public.< (LEFTARG = public.release, RIGHTARG = public.release, FUNCTION = public.release_below);
CREATE OPERATOR public.= (LEFTARG = public.release, RIGHTARG = public.release, FUNCTION = public.release_same);
CREATE OPERATOR public.> (LEFTARG = public.release, RIGHTARG = public.release, FUNCTION = public.release_above);
CREATE OPERATOR CLASS public.release_ops DEFAULT FOR TYPE public.release USING btree AS
  OPERATOR 1 public.<, OPERATOR 3 public.=, OPERATOR 5 public.>,
  FUNCTION 1 public.release_order(public.release, public.release);
CREATE TYPE public.amount AS (cents int);
CREATE FUNCTION public.amount_text(public.amount) RETURNS text LANGUAGE sql AS $$ SELECT public.record_call('amount')::text $$;
CREATE CAST (public.amount AS text) WITH FUNCTION public.amount_text(public.amount) AS IMPLICIT;
CREATE TABLE public.things (id int, stage public.stage, stages public.stage[], at public.place, mail public.email, w public.watched,
  r public.release, a public.amount, s public.span);
INSERT INTO public.things VALUES (1, 'new', '{new,paid}', ROW('x', 1), 'a@b', NULL, ROW(1), ROW(5), '[1,2]'),
  (2, 'paid', '{}', NULL, 'c@d', NULL, ROW(2), ROW(7), NULL);

-- Views, row security, and what planning runs.
CREATE VIEW public.plain_view AS SELECT c.id, c.name, c.city, count(*) AS n FROM public.customers c
  JOIN public.orders o ON o.customer = c.id GROUP BY 1, 2, 3;
CREATE VIEW public.view_of_view AS SELECT v.name, v.n FROM public.plain_view v WHERE v.n > 1;
CREATE VIEW public.noting_view AS SELECT public.touch(c.id) AS t FROM public.customers c;
CREATE VIEW public.noting_view_of_view AS SELECT v.t FROM public.noting_view v;
CREATE VIEW public.counting_view AS SELECT nextval('public.journal_id_seq') AS n;
CREATE VIEW public.setting_view AS SELECT set_config('search_path', 'elsewhere', false) AS s;
CREATE VIEW public.sorting_view AS SELECT t.r FROM public.things t ORDER BY t.r;
CREATE VIEW public.quarter_view AS SELECT public.fiscal_quarter(o.placed) AS q FROM public.orders o;
CREATE RECURSIVE VIEW public.numbers_view (n) AS SELECT 1 UNION ALL SELECT n + 1 FROM numbers_view WHERE n < 5;
CREATE VIEW public.secret_view AS SELECT a.rolname, a.rolpassword FROM pg_catalog.pg_authid a;
CREATE MATERIALIZED VIEW public.kept AS SELECT o.customer, sum(o.total) AS s FROM public.orders o GROUP BY 1;
CREATE MATERIALIZED VIEW public.kept_calls AS SELECT public.fiscal_quarter(o.placed) AS q FROM public.orders o;
CREATE TABLE public.noted_rows (id int, who text);
ALTER TABLE public.noted_rows ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.noted_rows FORCE ROW LEVEL SECURITY;
CREATE POLICY noted ON public.noted_rows FOR SELECT USING (public.record_call(who) = 1);
CREATE VIEW public.noted_rows_view AS SELECT n.id FROM public.noted_rows n;
CREATE TABLE public.tenants (id int, tenant text);
ALTER TABLE public.tenants ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON public.tenants USING (tenant = current_setting('app.tenant', true));
CREATE POLICY add ON public.tenants FOR INSERT WITH CHECK (public.record_call(tenant) = 1);
CREATE TABLE public.indexed (id int, name text);
CREATE INDEX indexed_name ON public.indexed (public.loud(name));
CREATE TABLE public.planned (id int, name text);
CREATE INDEX planned_some ON public.planned (id) WHERE public.loud('x') = 'X';
CREATE TABLE public.checked (id int CHECK (id > 0 OR public.loud('x') = 'X'));
CREATE TABLE public.yearly (id int, placed date) PARTITION BY RANGE (placed);
CREATE TABLE public.yearly_2024 PARTITION OF public.yearly FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE INDEX yearly_some ON public.yearly_2024 (id) WHERE public.loud('y') = 'Y';
CREATE TABLE public.measured (id int, note text);
DO $since14$ BEGIN
  IF current_setting('server_version_num')::int >= 140000 THEN
    EXECUTE $$CREATE STATISTICS measured_more ON (id + length(public.loud('z'))), note FROM public.measured$$;
  END IF;
END $since14$;
CREATE FUNCTION public.spread(int, int8) RETURNS int8 LANGUAGE plpgsql IMMUTABLE AS
  $$ BEGIN PERFORM public.record_call('spread'); RETURN $1; END $$;
CREATE OPERATOR CLASS public.spread_ops FOR TYPE int USING hash AS OPERATOR 1 pg_catalog.=, FUNCTION 2 public.spread(int, int8);
CREATE TABLE public.spread_out (id int) PARTITION BY HASH (id public.spread_ops);
CREATE TABLE public.spread_0 PARTITION OF public.spread_out FOR VALUES WITH (MODULUS 1, REMAINDER 0);
CREATE FUNCTION public.text_order(text, text) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
  $$ BEGIN PERFORM public.record_call('order'); RETURN bttextcmp($1, $2); END $$;
CREATE OPERATOR CLASS public.text_order_ops FOR TYPE text USING btree AS OPERATOR 1 pg_catalog.<, OPERATOR 2 pg_catalog.<=,
  OPERATOR 3 pg_catalog.=, OPERATOR 4 pg_catalog.>=, OPERATOR 5 pg_catalog.>, FUNCTION 1 public.text_order(text, text);
CREATE TABLE public.ordered (id int, name text);
CREATE INDEX ordered_name ON public.ordered (name public.text_order_ops);
CREATE EXTENSION file_fdw;
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE public.from_file (line text) SERVER files OPTIONS (filename '/etc/hostname');
CREATE VIEW public.from_file_view AS SELECT f.line FROM public.from_file f;
CREATE TABLE public.parted (n int, line text) PARTITION BY LIST (n);
CREATE TABLE public.parted_1 PARTITION OF public.parted FOR VALUES IN (1);
CREATE FOREIGN TABLE public.parted_2 PARTITION OF public.parted FOR VALUES IN (2) SERVER files OPTIONS (filename '/etc/hostname');
CREATE EXTENSION citext;
CREATE EXTENSION hstore;
CREATE EXTENSION pg_trgm;
CREATE EXTENSION tablefunc;
CREATE EXTENSION dblink;
CREATE EXTENSION pg_stat_statements;
CREATE TABLE public.words (id int, word citext, more hstore);
INSERT INTO public.words VALUES (1, 'One', 'a=>1'), (2, 'two', 'b=>2');
