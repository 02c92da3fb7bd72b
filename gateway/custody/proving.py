"""Does a login of a target do what its access mode says? Tried on the server, as that login; nothing stays of it."""

from collections.abc import Sequence
from typing import Final

from gateway.access.model import Target
from gateway.access_mode import AccessMode
from gateway.custody.upstream_admin import AdminConnection, UpstreamAdminError, admin_connection
from gateway.ports import CheckStep
from gateway.secret import Secret

_DENIED: Final = "42501"
#: A table that this login may read, and one to write to: ordinary ones first, without triggers and rules, which would run.
_A_TABLE: Final = """
SELECT format('%I.%I', n.nspname, c.relname),
  (SELECT format('%I', a.attname) FROM pg_attribute a
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.attidentity = '' LIMIT 1)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT c.relhasrules
  AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal)
  AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'){more}
ORDER BY c.relpages, 1 LIMIT 1"""
_WRITABLE: Final = " AND has_table_privilege(c.oid, 'UPDATE')"


async def prove_login(target: Target, login: str, secret: Secret, mode: AccessMode) -> list[CheckStep]:
    """login, read, write: in this order, ending with the first that fails. Raises nothing that the server says."""
    try:
        async with admin_connection(target, login, secret, mode=mode) as connection:
            steps = [CheckStep("login", ok=True, detail=f'the server lets "{login}" in')]
            steps.append(await _reads(connection, login))
            if steps[-1].ok:
                steps.append(
                    await (_is_refused(connection, login) if mode is AccessMode.READ_ONLY else _writes(connection, login))
                )
            return steps
    except UpstreamAdminError as error:
        remedy = "Does pg_hba.conf let this role in from here?" if error.sqlstate == "28000" else ""
        return [CheckStep("login", ok=False, detail=f'"{login}": {error}', remedy=remedy)]


async def _reads(connection: AdminConnection, login: str) -> CheckStep:
    found = await connection.rows(_A_TABLE.format(more=""))
    if not found:
        return CheckStep("read", ok=True, detail=f'there is no table yet that "{login}" could read')
    table = found[0][0]
    try:
        await connection.run(f"SELECT FROM {table} LIMIT 1")
    except UpstreamAdminError as error:
        return CheckStep("read", ok=False, detail=f"{table}: {error}")
    return CheckStep("read", ok=True, detail=f"{table} can be read")


async def _is_refused(connection: AdminConnection, login: str) -> CheckStep:
    """Of a table that it reads; and outside of the read-only transactions that would refuse it anyway."""
    found = await connection.rows(_A_TABLE.format(more=""))
    writable = await connection.rows(_A_TABLE.format(more=_WRITABLE))
    if writable:
        return CheckStep("write", ok=False, detail=f'"{login}" may write to {writable[0][0]}', remedy="Take that right away.")
    if not found:
        return CheckStep("write", ok=True, detail="there is no table yet to write to")
    table, column = found[0]
    try:
        await _in_vain(connection, [_change(table, column)])
    except UpstreamAdminError as error:
        if error.sqlstate == _DENIED:
            return CheckStep("write", ok=True, detail=f"{table} cannot be written to: {error}")
        return CheckStep("write", ok=False, detail=f"{table}: {error}")
    return CheckStep("write", ok=False, detail=f"{table} could be written to")


async def _writes(connection: AdminConnection, login: str) -> CheckStep:
    found = await connection.rows(_A_TABLE.format(more=_WRITABLE))
    if not found:
        return CheckStep("write", ok=True, detail=f'there is no table yet that "{login}" could write to')
    table, column = found[0]
    try:
        await _in_vain(connection, [_change(table, column), f"DELETE FROM {table} WHERE false"])  # noqa: S608 - quoted by the server
    except UpstreamAdminError as error:
        return CheckStep("write", ok=False, detail=f"{table}: {error}")
    return CheckStep("write", ok=True, detail=f"{table} can be written to (tried, and rolled back)")


def _change(table: str | None, column: str | None) -> str:
    """Of no row at all."""
    if column is None:
        return f"DELETE FROM {table} WHERE false"  # noqa: S608 - quoted by the server
    return f"UPDATE {table} SET {column} = {column} WHERE false"  # noqa: S608 - quoted by the server


async def _in_vain(connection: AdminConnection, statements: Sequence[str]) -> None:
    """Rolled back, whatever comes of it."""
    await connection.run("BEGIN READ WRITE")
    try:
        for statement in statements:
            await connection.run(statement)
    finally:
        await connection.run("ROLLBACK")
