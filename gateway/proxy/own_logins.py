"""The database role of a person's own that their session uses upstream, where a target has such: see ADR 18.

It is known from the snapshot; who comes for the first time has it made by the custodian, the one process that has admin logins.
When that one does not answer, nobody is let in.
"""

from dataclasses import dataclass, replace
from typing import Final, Protocol

import structlog

from gateway.access.managed import ManagedKey, ManagedState
from gateway.access.managed_rights import as_role, key_of
from gateway.access.model import DatabaseRole, Lease
from gateway.bus.lines import CUSTODIAN, BusUnavailable, Payload
from gateway.ports import Directory
from gateway.session.effects import fatal
from gateway.session.upstream_login import UpstreamRefused
from gateway.wire import sqlstate
from gateway.wire.backend import ErrorFields

ANSWER_SECONDS: Final = 15.0  # for DDL on a server that may be far away
_MOST_TOLD: Final = 1000
_NOT_LET_IN: Final = frozenset({"28P01", "28000"})
_TOO_MANY: Final = "53300"
_log: Final = structlog.stdlib.get_logger("gateway.upstream")


class Asked(Protocol):
    """The bus, as far as it is needed here."""

    async def ask(self, to: str, kind: str, payload: Payload, timeout_seconds: float) -> Payload: ...


@dataclass(frozen=True, slots=True)
class _Told:
    """What the custodian said: good until the snapshot is as new."""

    role: DatabaseRole
    member_of: str
    version: int


class OwnLogins:
    """Of this worker's sessions."""

    def __init__(self, directory: Directory, bus: Asked) -> None:
        self._directory = directory
        self._bus = bus
        self._told: dict[ManagedKey, _Told] = {}

    async def lease_of(self, session_id: str, lease: Lease) -> Lease | ErrorFields:
        """The lease with the database role to log in as: on most targets the one that it has."""
        key = key_of(lease)
        if key is None:
            return lease
        role = self._known(key, lease.role.login)
        return await self._ask(session_id, lease, key, None) if role is None else replace(lease, role=role)

    async def after_refusal(
        self, session_id: str, own: Lease, lease: Lease, refused: UpstreamRefused
    ) -> Lease | ErrorFields | None:
        """The server did not let that login in: it may have been dropped, or altered, by hand or by a restored backup.

        `lease`: as `authorize` made it. None: that is not what is wrong.
        """
        key = key_of(lease)
        if key is None or not _is_the_logins(refused):
            return None
        _log.warning(
            "the server does not take a managed login", login=own.role.login, target=own.target.name, session=session_id
        )
        return await self._ask(session_id, lease, key, own.role.sealed_secret)

    def _known(self, key: ManagedKey, member_of: str) -> DatabaseRole | None:
        snapshot = self._directory.snapshot
        told = self._told.get(key)
        if told is not None and snapshot.revision < told.version:
            return told.role if told.member_of == member_of else None
        login = snapshot.managed.get(key)
        if login is None or login.state is not ManagedState.ACTIVE or login.member_of != member_of:
            return None
        return as_role(login)

    async def _ask(self, session_id: str, lease: Lease, key: ManagedKey, refused: bytes | None) -> Lease | ErrorFields:
        wanted: Payload = {
            "session": session_id,
            "target_id": key.target_id,
            "mode": key.mode.value,
            "user_id": key.user_id,
            "grant_id": key.grant_id,
            "refused": None if refused is None else refused.hex(),
        }
        try:
            answer = await self._bus.ask(CUSTODIAN, "managed-login", wanted, ANSWER_SECONDS)
        except BusUnavailable:
            text = f'the gateway could not prepare your own database role for target "{lease.target.name}" in time'
            return fatal(
                sqlstate.CANNOT_CONNECT_NOW, text, "Try again in a moment.", "pgbastion rule: managed-login-unavailable"
            )
        match answer:
            case {
                "id": str(row_id),
                "login": str(login),
                "member_of": str(member_of),
                "sealed": str(sealed),
                "version": int(version),
            }:
                role = DatabaseRole(row_id, login, bytes.fromhex(sealed))
                if len(self._told) >= _MOST_TOLD:
                    self._told.clear()
                self._told[key] = _Told(role, member_of, version)
                return replace(lease, role=role)
            case {"rule": str(rule), "message": str(message), "hint": str(hint)}:
                return fatal(sqlstate.CANNOT_CONNECT_NOW, message, hint, f"pgbastion rule: {rule}")
        return fatal(sqlstate.INTERNAL_ERROR, "the gateway does not understand itself; it is logged")


def _is_the_logins(refused: UpstreamRefused) -> bool:
    """Whether making it anew helps: not what pg_hba.conf says; the role's own limit, yes, which follows the settings."""
    if refused.sqlstate == _TOO_MANY:
        return "for role" in refused.detail
    return refused.sqlstate in _NOT_LET_IN and "pg_hba.conf" not in refused.detail
