-- Beside tests/support/tables.sql: a value of every kind that drivers treat in their own way, and a place to write to.
CREATE TYPE public.addr AS (street text, zip int);
CREATE DOMAIN public.positive AS int CHECK (VALUE > 0);
CREATE TABLE public.every_type (
  id int PRIMARY KEY, flag bool, small smallint, big bigint, single real, twice float8, amount numeric(30, 10), words text,
  short varchar(20), fixed char(3), bytes bytea, day date, moment timestamp, instant timestamptz, clock time, span interval, key uuid,
  doc json, docb jsonb, numbers int[], names text[], feeling mood, home addr, feelings mood[], homes addr[], ages int4range,
  address inet, bits bit(4), above positive);
INSERT INTO public.every_type VALUES (
  1, true, -32768, 9223372036854775807, 1.5, 0.1, 12345678901234567890.0123456789, 'Grüße, 世界 🙂', 'short', 'abc', '\x00ff10',
  '2024-02-29', '2024-02-29 12:34:56.789012', '2024-02-29 12:34:56.789012+00', '23:59:59.999999', '1 day 02:03:04',
  '00112233-4455-6677-8899-aabbccddeeff', '{"a": [1, null]}', '{"b": "ü"}', '{1,NULL,3}', '{"a,b","c\"d",NULL}', 'ok',
  ROW('x "st", 1', 123), '{sad,happy}', ARRAY[ROW('y', 1)::addr], '[1,5)', '192.0.2.7', B'1010', 7);
INSERT INTO public.every_type (id) VALUES (2);
CREATE TABLE public.scratch (id int, client text, note text, PRIMARY KEY (client, id));
CREATE INDEX scratch_note ON public.scratch (note);
COMMENT ON TABLE public.scratch IS 'what the clients of the tests wrote';
CREATE FUNCTION public.fiscal_year(date) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT extract(year FROM $1)::int';
CREATE TABLE public.measure (city int, logdate date, peak int) PARTITION BY RANGE (logdate);
CREATE TABLE public.measure_2024 PARTITION OF public.measure FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
GRANT SELECT ON ALL TABLES IN SCHEMA public TO app_ro;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO app_ro;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app_rw;
