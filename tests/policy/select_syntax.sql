-- Every production of the SELECT grammar that a reader may use, one statement a line.
WITH RECURSIVE t(a, b) AS NOT MATERIALIZED (SELECT 1, 2 UNION ALL SELECT a, b FROM t) SEARCH DEPTH FIRST BY a, b SET o SELECT * FROM t
WITH RECURSIVE t(a) AS (SELECT 1 UNION SELECT a FROM t) SEARCH BREADTH FIRST BY a SET o CYCLE a SET c TO true DEFAULT false USING p SELECT * FROM t
SELECT a, b, grouping(a, b) FROM t GROUP BY DISTINCT ROLLUP (a, b), CUBE (a), GROUPING SETS ((a), (b), ()) HAVING count(*) > 1
SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY a DESC NULLS LAST) FILTER (WHERE a > 1) FROM t
SELECT sum(a) OVER (PARTITION BY b ORDER BY c RANGE BETWEEN '1 day' PRECEDING AND UNBOUNDED FOLLOWING EXCLUDE TIES) FROM t
SELECT sum(a) OVER (w GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW) FROM t WINDOW w AS (PARTITION BY b ORDER BY c)
SELECT string_agg(DISTINCT a, ',' ORDER BY a USING <) FROM t
SELECT * FROM t ORDER BY a USING > NULLS FIRST OFFSET 1 ROWS FETCH FIRST 3 ROWS WITH TIES
SELECT ALL a FROM ONLY t AS x (b, c) TABLESAMPLE BERNOULLI (1.5) REPEATABLE (2)
SELECT * FROM a NATURAL FULL OUTER JOIN b CROSS JOIN c LEFT JOIN d USING (x, y) AS j RIGHT JOIN e ON true
SELECT * FROM (a JOIN b ON true) AS j (x, y), LATERAL (SELECT 1) AS l, LATERAL generate_series(1, j.x) WITH ORDINALITY AS g (v, n)
SELECT * FROM ROWS FROM (json_to_recordset('[]') AS (a int, b text COLLATE "C"), generate_series(1, 2)) WITH ORDINALITY AS r
SELECT * FROM json_to_record('{}') AS t (a int, b text[], c numeric(5, 2), d interval day to second(3))
SELECT * FROM XMLTABLE(XMLNAMESPACES('x' AS y, DEFAULT 'z'), '/a' PASSING BY REF '<a/>' COLUMNS n FOR ORDINALITY, a int PATH 'b' DEFAULT 1 NOT NULL)
SELECT xmlelement(name a, xmlattributes(b AS c, d), e), xmlforest(a, b AS c), xmlconcat(a, b), xmlpi(name p, 'x'), xmlroot(x, version '1.0', standalone yes)
SELECT xmlparse(document '<a/>' preserve whitespace), xmlserialize(content x AS text INDENT), x IS DOCUMENT, xmlexists('//a' PASSING BY VALUE x)
SELECT JSON_OBJECT('a': 1, 'b' VALUE 2 ABSENT ON NULL WITH UNIQUE KEYS RETURNING jsonb), JSON_ARRAY(1, 2 NULL ON NULL), JSON_ARRAY(SELECT 1)
SELECT JSON_OBJECTAGG(a : b WITH UNIQUE KEYS) FILTER (WHERE true), JSON_ARRAYAGG(a ORDER BY b ABSENT ON NULL RETURNING jsonb) OVER (PARTITION BY c) FROM t
SELECT JSON_VALUE(j, '$.a' PASSING 1 AS x RETURNING int DEFAULT 0 ON EMPTY ERROR ON ERROR), JSON_QUERY(j, '$' WITH CONDITIONAL WRAPPER KEEP QUOTES)
SELECT JSON_QUERY(j, '$' OMIT QUOTES ON SCALAR STRING EMPTY ARRAY ON EMPTY), JSON_EXISTS(j, '$.a' TRUE ON ERROR), JSON(t), JSON_SCALAR(1), JSON_SERIALIZE(j)
SELECT * FROM JSON_TABLE(j, '$[*]' AS p PASSING 1 AS x COLUMNS (n FOR ORDINALITY, a int EXISTS PATH '$.b', c jsonb FORMAT JSON PATH '$', NESTED PATH '$.d[*]' AS q COLUMNS (e text)) ERROR ON ERROR) AS t
SELECT '1' IS JSON, '1' IS NOT JSON ARRAY WITH UNIQUE KEYS, j IS JSON SCALAR
SELECT a[1], a[1:2], a[:], a[1:][2], (a).b, (a).*, (f(x)).c, ARRAY[[1, 2], [3, 4]], ARRAY(SELECT 1), (ROW(1, 2)).f1 FROM t
SELECT ROW(1, 2) < ROW(1, 3), (1, 2) IN (SELECT 1, 2), (1, 2) OVERLAPS (3, 4), 1 < ALL (SELECT 1), 1 = ANY (ARRAY[1]), 1 <> SOME (VALUES (1))
SELECT a IS DISTINCT FROM b, a IS NOT UNKNOWN, a ISNULL, a NOT BETWEEN SYMMETRIC 1 AND 2, a NOT SIMILAR TO 'x' ESCAPE '!', a ILIKE ANY (ARRAY['x'])
SELECT CASE a WHEN 1 THEN 2 ELSE 3 END, CASE WHEN a THEN b END, COALESCE(a, b), NULLIF(a, b), GREATEST(a, b), LEAST(a, b), NOT a, a OR b AND c
SELECT CAST(a AS double precision), a::varchar(10)[], a::bit(3), a::timestamp(3) with time zone, interval '1' hour, date '2020-01-01', B'1', X'f', 1e3, 0x1f
SELECT a COLLATE "C", a COLLATE pg_catalog."de-x-icu", a AT TIME ZONE 'UTC', now() AT LOCAL, a IS NFC NORMALIZED, collation for (a), normalize(a, NFD)
SELECT extract(year FROM a), overlay(a placing b from 1 for 2), position(a in b), substring(a from 1 for 2), substring(a similar 'x' escape '!'), trim(leading 'x' from a)
SELECT current_date, current_time(3), localtimestamp(2), current_role, session_user, user, current_catalog, current_schema, system_user
SELECT make_interval(days => 1, hours := 2), concat(VARIADIC ARRAY['a', 'b']), count(ALL a), format('%s', VARIADIC a) FROM t
SELECT 1 UNION ALL (SELECT 2 INTERSECT SELECT 3) EXCEPT DISTINCT VALUES (4) ORDER BY 1 LIMIT ALL
SELECT DISTINCT ON (a, b) a AS "select", b c, t.*, *, $1, $2::int, -a, +b, @ c, a OPERATOR(pg_catalog.+) b, |/ 4 FROM t
SELECT (SELECT 1), EXISTS (SELECT 1), (VALUES (1)), ((((1)))), (TABLE t LIMIT 1) IS NULL
SELECT
TABLE ONLY t
VALUES (1, 'a'), (2, NULL)
SELECT FROM t WHERE (a, b) = (SELECT 1, 2)
