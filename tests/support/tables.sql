-- What a test's own database holds: small, but one of each kind of thing that a statement could read or change.
CREATE TABLE public.accounts (
  id serial PRIMARY KEY, owner text NOT NULL, balance numeric(12, 2) NOT NULL DEFAULT 0, note text, region varchar(20));
INSERT INTO public.accounts (owner, balance, note, region)
  SELECT 'owner' || g, g * 10, 'note ' || g, 'r' || (g % 4) FROM generate_series(1, 50) g;
CREATE TABLE public.orders (
  id serial PRIMARY KEY, account_id int REFERENCES public.accounts (id), total numeric(10, 2), status text, tags jsonb);
INSERT INTO public.orders (account_id, total, status, tags)
  SELECT 1 + (g % 50), g, CASE WHEN g % 3 = 0 THEN 'paid' ELSE 'open' END, jsonb_build_object('k', g) FROM generate_series(1, 200) g;
CREATE TABLE public.audit (id bigserial PRIMARY KEY, at timestamptz DEFAULT clock_timestamp(), what text);
CREATE VIEW public.v_accounts AS SELECT id, owner, balance FROM public.accounts;
CREATE MATERIALIZED VIEW public.mv_totals AS SELECT account_id, sum(total) AS total FROM public.orders GROUP BY 1;
CREATE SEQUENCE public.s1;
CREATE TYPE public.mood AS ENUM ('sad', 'ok', 'happy');
CREATE SCHEMA hr;
CREATE TABLE hr.people (id int PRIMARY KEY, name text NOT NULL, mood public.mood);
INSERT INTO hr.people VALUES (1, 'Ada', 'happy'), (2, 'Bob', 'ok');
SELECT lo_from_bytea(424242, '\xdeadbeef');
-- Writes where a reader would not look.
CREATE FUNCTION public.evil_write() RETURNS int LANGUAGE plpgsql VOLATILE AS
  $$BEGIN INSERT INTO public.audit (what) VALUES ('evil_write'); RETURN 1; END$$;
CREATE FUNCTION public.evil_secdef() RETURNS int LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS
  $$BEGIN INSERT INTO public.audit (what) VALUES ('secdef'); RETURN 1; END$$;
GRANT USAGE ON SCHEMA public, hr TO app_ro, app_rw;
GRANT SELECT ON ALL TABLES IN SCHEMA public, hr TO app_ro;
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA public, hr TO app_rw;
GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA public, hr TO app_rw;
