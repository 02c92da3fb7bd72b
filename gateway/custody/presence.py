"""Who is in a database at this moment, as the server tells: every client's session, ours too."""

from dataclasses import dataclass
from typing import Final

from gateway.custody.upstream_admin import AdminConnection, Row

_MOST: Final = 5000
#: Also sessions by this login in other databases of the server: they end with its password, too. A login that may not see others'
#: sessions gets no address and no start of them.
_PRESENT: Final = f"""
SELECT a.pid, coalesce(a.usename, ''), coalesce(a.datname, ''),
  CASE WHEN a.client_addr IS NOT NULL THEN host(a.client_addr) WHEN a.backend_start IS NULL THEN '' ELSE 'local' END,
  coalesce(a.application_name, ''), coalesce(a.state, ''), coalesce(a.backend_type, '') = 'walsender',
  coalesce(to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '')
FROM pg_stat_activity a
WHERE (a.datname = current_database() OR a.usename = current_user) AND a.pid <> pg_backend_pid()
  AND coalesce(a.backend_type, 'client backend') IN ('client backend', 'walsender')
ORDER BY a.backend_start, a.pid LIMIT {_MOST}"""  # noqa: S608 - a constant


@dataclass(frozen=True, slots=True)
class Present:
    """A session. `address`: "local" for a socket of the server's own machine. It and `started_at` (ISO 8601) are "" if not told.

    `application` is what the client says of itself: whatever it likes.
    """

    process_id: int
    role: str
    database: str
    address: str
    application: str
    state: str
    replicates: bool
    started_at: str


async def who_is_there(connection: AdminConnection) -> list[Present]:
    """But this connection. Raises UpstreamAdminError."""
    return [_present(row) for row in await connection.rows(_PRESENT)]


def _present(row: Row) -> Present:
    process_id, role, database, address, application, state, replicates, started_at = row
    return Present(
        int(process_id or 0),
        role or "",
        database or "",
        address or "",
        application or "",
        state or "",
        replicates == "t",
        started_at or "",
    )
