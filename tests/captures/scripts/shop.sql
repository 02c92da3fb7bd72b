-- What an analyst does in a day, writes that fail and habits of psql included.
CREATE SCHEMA shop;
CREATE TABLE shop.items (id serial PRIMARY KEY, name varchar(40) NOT NULL, price numeric(10, 2) CHECK (price >= 0), tags text[], extra jsonb);
CREATE TABLE shop.sales (id int, item int REFERENCES shop.items, at timestamp, amount int) PARTITION BY RANGE (at);
CREATE TABLE shop.sales_h1 PARTITION OF shop.sales FOR VALUES FROM ('2024-01-01') TO ('2024-07-01');
CREATE TABLE shop.sales_h2 PARTITION OF shop.sales FOR VALUES FROM ('2024-07-01') TO ('2025-01-01');
CREATE MATERIALIZED VIEW shop.best AS SELECT item, sum(amount) AS amount FROM shop.sales GROUP BY item;
-- None of these may do anything. (The tables are empty while this script is recorded, and full when it is sent again.)
SET search_path = shop, public;
INSERT INTO items (name) VALUES ('no');
UPDATE items SET price = 0;
DELETE FROM sales;
TRUNCATE sales;
DROP TABLE items;
CREATE TABLE copy AS TABLE items;
CREATE TEMP TABLE mine AS TABLE items;
SELECT * INTO other FROM items;
WITH gone AS (DELETE FROM sales RETURNING *) SELECT * FROM gone;
EXPLAIN ANALYZE DELETE FROM sales;
EXPLAIN ANALYZE CREATE TABLE copy AS TABLE items;
SELECT nextval('items_id_seq');
SELECT * FROM items FOR UPDATE;
REFRESH MATERIALIZED VIEW best;
VACUUM items;
GRANT SELECT ON items TO PUBLIC;
COMMENT ON TABLE items IS 'no';
COPY items FROM STDIN;
\.
DO $$BEGIN DELETE FROM shop.sales; END$$;
BEGIN READ WRITE;
DELETE FROM sales;
COMMIT;
SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE;
DELETE FROM sales;
INSERT INTO shop.items (name, price, tags, extra)
  SELECT 'item ' || n, n * 1.5, ARRAY['t' || n % 3], jsonb_build_object('n', n, 'even', n % 2 = 0) FROM generate_series(1, 60) n;
INSERT INTO shop.sales SELECT n, 1 + n % 60, '2024-01-01'::timestamp + n * interval '1 day', n % 7 FROM generate_series(1, 360) n;
CREATE INDEX ON shop.sales (item, at);
CREATE VIEW shop.monthly AS SELECT date_trunc('month', at) AS month, sum(amount) AS amount FROM shop.sales GROUP BY 1;
REFRESH MATERIALIZED VIEW shop.best;
ANALYZE;
\d shop.*
\d+ shop.items
\dt+ shop.*
\dv shop.*
\df
\l
\dn+
SET search_path = shop, public;
SHOW search_path;
SET work_mem = '8MB';
SET statement_timeout = '10s';
SET TIME ZONE 'UTC';
SET DateStyle = 'ISO, DMY';
SELECT count(*), min(price), max(price), avg(price)::numeric(10, 3) FROM items;
SELECT * FROM items WHERE name LIKE 'item 1%' AND price BETWEEN 10 AND 20 ORDER BY price DESC LIMIT 5 OFFSET 1;
SELECT name, extra ->> 'n' AS n, extra @> '{"even": true}' AS even, tags[1] FROM items WHERE 't1' = ANY (tags) ORDER BY id;
SELECT i.name, s.at, sum(s.amount) OVER (PARTITION BY i.id ORDER BY s.at ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)
  FROM sales s JOIN items i ON i.id = s.item WHERE s.at < '2024-02-01' ORDER BY 1, 2;
WITH RECURSIVE days(d) AS (VALUES (date '2024-01-01') UNION ALL SELECT d + 1 FROM days WHERE d < '2024-01-10')
  SELECT d, coalesce(sum(amount), 0) FROM days LEFT JOIN sales ON at::date = d GROUP BY d ORDER BY d;
SELECT item, extract(quarter FROM at) AS q, sum(amount), grouping(item) FROM sales GROUP BY CUBE (1, 2) ORDER BY 1, 2 LIMIT 20;
SELECT item, percentile_cont(0.5) WITHIN GROUP (ORDER BY amount), count(*) FILTER (WHERE amount > 3) FROM sales GROUP BY item;
SELECT DISTINCT ON (item) item, at FROM sales ORDER BY item, at DESC;
SELECT * FROM monthly ORDER BY month;
TABLE best ORDER BY amount DESC LIMIT 3;
SELECT s.* FROM items i CROSS JOIN LATERAL (SELECT * FROM sales WHERE item = i.id ORDER BY at LIMIT 1) s ORDER BY s.id;
SELECT item FROM sales EXCEPT SELECT id FROM items WHERE price < 50 ORDER BY 1;
SELECT string_agg(name, ', ' ORDER BY id), jsonb_object_agg(name, price), array_agg(id) FROM items WHERE id < 4;
SELECT to_char(at, 'YYYY-MM-DD'), age(at, '2024-01-01'), at AT TIME ZONE 'Europe/Berlin' FROM sales ORDER BY at LIMIT 2;
SELECT regexp_replace(name, '\d+', '#'), split_part(name, ' ', 2)::int, format('%s: %L', id, name), md5(name) FROM items LIMIT 3;
SELECT width_bucket(price, 0, 90, 3), count(*) FROM items GROUP BY 1 HAVING count(*) > 1 ORDER BY 1;
SELECT to_tsvector('english', 'The quick brown foxes') @@ plainto_tsquery('english', 'fox'), ts_rank(to_tsvector('a b'), to_tsquery('a'));
EXPLAIN (COSTS OFF) SELECT * FROM sales WHERE at > '2024-08-01' AND item = 5;
EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT count(*) FROM sales;
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT * FROM items ORDER BY id;
FETCH 3 FROM c;
MOVE FORWARD 10 FROM c;
FETCH PRIOR FROM c;
CLOSE c;
SAVEPOINT a;
SELECT 1 / 0;
ROLLBACK TO a;
SELECT 'goes on';
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT count(*) FROM sales;
ROLLBACK;
PREPARE dear (numeric) AS SELECT count(*) FROM items WHERE price > $1;
EXECUTE dear (40);
EXPLAIN (COSTS OFF) EXECUTE dear (40);
DEALLOCATE dear;
COPY (SELECT id, name FROM items ORDER BY id LIMIT 3) TO STDOUT WITH (FORMAT csv, HEADER);
COPY items (id, price) TO STDOUT;
SELECT id, name FROM items ORDER BY id LIMIT 1 \gset v_
SELECT :'v_name', :v_id + 1;
SELECT 1 AS a, 'x' AS b \gdesc
SELECT format('SELECT count(*) FROM %I', t) FROM unnest(ARRAY['items', 'sales']) t \gexec
