-- Values of users' types, and functions of users that read: listed, they may run.
CREATE SCHEMA kinds;
SET search_path = kinds;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN zip AS text CHECK (VALUE ~ '^\d{5}$');
CREATE TYPE address AS (street text, zip zip);
CREATE TYPE span AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE TABLE people (name text, feels mood, home address, seen span, zips zip[], PRIMARY KEY (name));
INSERT INTO people VALUES ('Ada', 'happy', ROW('Main', '12345'), '[1,2)', '{12345}'), ('Bob', 'ok', NULL, 'empty', NULL);
CREATE FUNCTION shout(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT upper($1) || ''!''';
CREATE FUNCTION how_many(mood) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM kinds.people WHERE feels = $1';
CREATE VIEW loud AS SELECT shout(name) AS name FROM people;
SELECT * FROM people ORDER BY feels;
SELECT feels, count(*) FROM people GROUP BY feels HAVING count(*) > 0 ORDER BY 1 DESC;
SELECT name FROM people WHERE feels > 'sad' AND feels IN ('ok', 'happy');
SELECT (home).street, (home).zip FROM people WHERE home IS NOT NULL;
SELECT enum_range(NULL::mood), 'sad'::mood < 'ok', '12345'::zip, ROW('x', '54321')::address;
SELECT seen @> 1.5::float8, upper(seen), isempty(seen) FROM people;
SELECT unnest(zips), cardinality(zips) FROM people;
SELECT row_to_json(p), to_jsonb(p) -> 'home' FROM people p;
SELECT shout(name), how_many(feels) FROM people;
SELECT * FROM loud;
SELECT pg_typeof(feels), feels::text, coalesce(feels, 'sad') FROM people;
SELECT p FROM people p WHERE p.home = ROW('Main', '12345')::address;
SELECT name, CASE feels WHEN 'ok' THEN 1 WHEN 'sad' THEN 0 END FROM people;
\dT+ kinds.*
\dD kinds.*
\df+ kinds.*
\sf kinds.shout
\sv kinds.loud
DROP TYPE mood CASCADE;
ALTER TYPE mood ADD VALUE 'x';
