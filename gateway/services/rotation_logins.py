"""What a rotation asks of the server: does this password let in, take this one, who is still there by the former one."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

from gateway.access.model import Target
from gateway.custody.rotation import Answer
from gateway.custody.upstream_admin import AdminConnection, UpstreamAdminError, scram_verifier
from gateway.quoting import quoted
from gateway.secret import Secret
from gateway.services.rotation_rows import Slot
from gateway.services.rotation_words import OldSession

Connect = Callable[[Target, str, Secret], AbstractAsyncContextManager[AdminConnection]]
"""custody.upstream_admin.admin_connection, or what stands for it."""

_WRONG_PASSWORD: Final = "28P01"  # noqa: S105
_PATIENT_SECONDS: Final = 6.0
_PAUSE_SECONDS: Final = 0.3
_FACTS: Final = (
    "SELECT pg_catalog.pg_is_in_recovery()::text, r.rolvaliduntil::text "
    "FROM pg_catalog.pg_roles r WHERE r.rolname = current_user"
)
_STILL_THERE: Final = """\
SELECT a.pid::text, coalesce(pg_catalog.host(a.client_addr), 'local'), coalesce(a.application_name, ''), coalesce(a.state, ''),
  pg_catalog.to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
FROM pg_catalog.pg_stat_activity a
WHERE a.usename = current_user AND a.pid <> pg_catalog.pg_backend_pid() AND a.backend_type = 'client backend'
ORDER BY a.backend_start"""


@dataclass(frozen=True, slots=True)
class Facts:
    """`valid_until`: when passwords of this login end, as the server writes it; None: never."""

    in_recovery: bool
    valid_until: str | None


async def facts_of(connection: AdminConnection) -> Facts:
    """Raises UpstreamAdminError."""
    for in_recovery, valid_until in await connection.rows(_FACTS):
        return Facts(in_recovery == "true", None if valid_until == "infinity" else valid_until)
    raise UpstreamAdminError("statement", "the server does not know who is logged in")


async def set_password(connection: AdminConnection, login: str, password: Secret) -> None:
    """As a verifier: no log of the server ever holds the password. Raises UpstreamAdminError."""
    await connection.run(f"ALTER ROLE {quoted(login)} PASSWORD '{scram_verifier(password)}'")


async def lets_in(
    connect: Connect, slot: Slot, password: Secret, *, patient: bool = False
) -> tuple[Answer, UpstreamAdminError | None]:
    """Over a connection of its own. `patient`: what is not the server's own word on the password is tried for some seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + (_PATIENT_SECONDS if patient else 0.0)
    while True:
        try:
            async with connect(slot.target, slot.login, password):
                return Answer.YES, None
        except UpstreamAdminError as error:
            if error.sqlstate == _WRONG_PASSWORD:
                return Answer.NO, error
            if loop.time() >= deadline:
                return Answer.UNKNOWN, error
        await asyncio.sleep(_PAUSE_SECONDS)


async def knows_it_too(connect: Connect, slot: Slot, new: Secret, former: Secret) -> Answer:
    """Whether this server takes the new password, too: the same one by another name, or a replica, which learns it in a moment.

    NO: it is another server, where the former one stays. UNKNOWN: nobody can tell yet.
    """
    try:
        async with asyncio.timeout(_PATIENT_SECONDS):
            while True:
                answer, _ = await lets_in(connect, slot, new)
                if answer is Answer.YES:
                    return Answer.YES
                if answer is Answer.NO and await _is_another_server(connect, slot, former):
                    return Answer.NO
                await asyncio.sleep(_PAUSE_SECONDS)
    except TimeoutError:
        return Answer.UNKNOWN


async def _is_another_server(connect: Connect, slot: Slot, former: Secret) -> bool:
    """It still takes the former password, and no primary will teach it another."""
    try:
        async with connect(slot.target, slot.login, former) as connection:
            return not (await facts_of(connection)).in_recovery
    except UpstreamAdminError:
        return False


async def still_there(
    connect: Connect, slot: Slot, password: Secret, ours: frozenset[int], *, end: bool
) -> tuple[list[OldSession], int, UpstreamAdminError | None]:
    """Sessions of this login beside `ours` (process ids); how many were ended, and why no more. Raises UpstreamAdminError."""
    async with connect(slot.target, slot.login, password) as connection:
        found = [
            OldSession(int(pid or 0), address or "", application or "", state or "", since or "")
            for pid, address, application, state, since in await connection.rows(_STILL_THERE)
        ]
        found = [each for each in found if each.process_id not in ours]
        ended = 0
        try:
            for each in found if end else ():
                answers = await connection.rows(f"SELECT pg_catalog.pg_terminate_backend({each.process_id})::text")
                ended += answers == [("true",)]
        except UpstreamAdminError as error:
            return found, ended, error
    return found, ended, None
