"""What is asked over an opened upstream session to judge a target: of its role, its rights, its database."""

import asyncio
from typing import Final

from gateway.proxy.upstream import UpstreamConnection
from gateway.session.upstream_login import UpstreamRefused
from gateway.wire import backend, frontend
from gateway.wire.errors import WireError
from gateway.wire.framing import HEADER_SIZE, unpack_header

Row = list[str | None]
_MAX_ANSWER_BYTES: Final = 256 * 1024

#: Rows (role, attribute) of everything beyond a plain login that this role has, itself or by membership.
ATTRIBUTES: Final = """
SELECT r.rolname, a.word FROM pg_catalog.pg_roles r
CROSS JOIN LATERAL (VALUES ('SUPERUSER', r.rolsuper), ('REPLICATION', r.rolreplication), ('BYPASSRLS', r.rolbypassrls),
  ('CREATEROLE', r.rolcreaterole), ('CREATEDB', r.rolcreatedb)) a (word, given)
WHERE a.given AND pg_catalog.pg_has_role(r.oid, 'MEMBER')
UNION ALL
SELECT r.rolname, '' FROM pg_catalog.pg_roles r
WHERE r.rolname IN ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files', 'pg_signal_backend',
  'pg_create_subscription') AND pg_catalog.pg_has_role(r.oid, 'MEMBER')
ORDER BY 1, 2"""

#: Rows (how many, kind, name) of what this role could change if nothing else stopped it; a few of them.
WRITABLE: Final = """
SELECT pg_catalog.count(*) OVER (), w.kind, w.name FROM (
  SELECT 1 AS rank, 'database' AS kind, pg_catalog.current_database()::text AS name
  WHERE pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')
  UNION ALL
  SELECT 2, 'schema', n.nspname::text FROM pg_catalog.pg_namespace n
  WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND pg_catalog.has_schema_privilege(n.oid, 'CREATE')
  UNION ALL
  SELECT 3, 'table', pg_catalog.format('%I.%I', n.nspname, c.relname)
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
    AND CASE WHEN c.relkind IN ('r', 'p', 'v', 'f') THEN pg_catalog.has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
        OR pg_catalog.has_any_column_privilege(c.oid, 'INSERT, UPDATE')
      WHEN c.relkind = 'S' THEN pg_catalog.has_sequence_privilege(c.oid, 'USAGE, UPDATE')
      WHEN c.relkind = 'm' THEN pg_catalog.pg_has_role(c.relowner, 'USAGE') END
) w ORDER BY w.rank, w.name LIMIT 4"""

#: One row: tables that can be read, tables, read-only now, a standby, may make temporary tables, risky functions.
DATABASE: Final = """
SELECT pg_catalog.count(*) FILTER (WHERE pg_catalog.has_schema_privilege(n.oid, 'USAGE')
    AND pg_catalog.has_any_column_privilege(c.oid, 'SELECT')),
  pg_catalog.count(*),
  pg_catalog.current_setting('transaction_read_only'),
  pg_catalog.pg_is_in_recovery(),
  pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMPORARY'),
  (SELECT pg_catalog.count(*) FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace m ON m.oid = p.pronamespace
   WHERE p.prosecdef AND m.nspname NOT IN ('pg_catalog', 'information_schema')
     AND pg_catalog.has_schema_privilege(m.oid, 'USAGE') AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE'))
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"""


class Interview:
    """One question at a time, as simple queries; the caller bounds the time. `close` always."""

    def __init__(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        self._buffer = b""
        self._bytes = 0
        self._rows: list[Row] = []
        self._sqlstate = ""
        self._answer: asyncio.Future[list[Row]] | None = None
        self._over: UpstreamRefused | None = None
        connection.attach(self)

    async def ask(self, sql: str) -> list[Row]:
        """Raises UpstreamRefused: the query failed ("question"), or what came was no answer ("protocol", "closed")."""
        if self._over is not None:
            raise self._over
        self._bytes, self._rows, self._sqlstate = 0, [], ""
        self._answer = asyncio.get_running_loop().create_future()
        self._connection.transport.write(frontend.build_query(sql.encode()))
        return await self._answer

    def close(self) -> None:
        if self._over is None:
            self._connection.transport.write(frontend.TERMINATE)
        self._connection.transport.close()

    # -- Relay: what the upstream connection tells ---------------------------------------------------------------------

    def upstream_data(self, data: bytes) -> None:
        self._buffer += data
        self._bytes += len(data)
        try:
            if self._bytes > _MAX_ANSWER_BYTES:
                raise UpstreamRefused("protocol", "an answer without an end")
            while self._message():
                pass
        except WireError as error:
            self._end(UpstreamRefused("protocol", error.message))
        except UpstreamRefused as error:
            self._end(error)

    def upstream_lost(self) -> None:
        self._end(UpstreamRefused("closed", "the server closed the connection"))

    def upstream_full(self) -> None:
        """Our questions are small."""

    def upstream_drained(self) -> None:
        """Our questions are small."""

    def _message(self) -> bool:
        if len(self._buffer) < HEADER_SIZE:
            return False
        kind, length = unpack_header(self._buffer, 0)
        if not 4 <= length <= _MAX_ANSWER_BYTES:
            raise UpstreamRefused("protocol", "a message of an impossible length")
        if len(self._buffer) < 1 + length:
            return False
        body, self._buffer = self._buffer[HEADER_SIZE : 1 + length], self._buffer[1 + length :]
        match chr(kind):
            case "D":
                values = backend.read_data_row(body)
                self._rows.append([None if value is None else value.decode("utf-8", "replace") for value in values])
            case "E":
                self._sqlstate = backend.error_code(body) or "XX000"
            case "Z":
                self._answered()
            case "T" | "C" | "N" | "S" | "I":
                pass
            case _:
                raise UpstreamRefused("protocol", "an unexpected message")
        return True

    def _answered(self) -> None:
        if self._answer is None or self._answer.done():
            raise UpstreamRefused("protocol", "an answer without a question")
        if self._sqlstate:
            self._answer.set_exception(UpstreamRefused("question", "the question failed", self._sqlstate))
        else:
            self._answer.set_result(self._rows)

    def _end(self, why: UpstreamRefused) -> None:
        self._over = self._over or why
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(self._over)
        self._connection.transport.abort()
