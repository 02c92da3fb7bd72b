-- Rows to stream: wide ones of a kilobyte (too short for TOAST, so nothing is decompressed), narrow ones of two numbers.
CREATE UNLOGGED TABLE wide (id int NOT NULL, payload text NOT NULL);
CREATE UNLOGGED TABLE narrow (id int NOT NULL, value int NOT NULL);
-- Where COPY FROM goes: `WHERE false` keeps it empty.
CREATE UNLOGGED TABLE sink (id int NOT NULL, payload text NOT NULL);

CREATE FUNCTION fill_wide(rows int) RETURNS void LANGUAGE sql AS $$
  INSERT INTO wide SELECT 1000000 + g, repeat(md5(g::text), 31) || 'abcd' FROM generate_series(1, rows) AS g
$$;
CREATE FUNCTION fill_narrow(rows int) RETURNS void LANGUAGE sql AS $$
  INSERT INTO narrow SELECT 1000000 + g, 10000 + g % 80000 FROM generate_series(1, rows) AS g
$$;
