"""The running gateway, from outside of its workers."""

from collections.abc import Mapping
from typing import Protocol

from gateway.access_mode import AccessMode
from gateway.ports.answers import (
    CatalogRefresh,
    CheckStep,
    DeniedStatement,
    EntryPreview,
    RoleAudit,
    SessionFacts,
    TargetHealth,
    UpstreamProcess,
)


class GatewayUnavailable(Exception):
    """The running gateway cannot be asked: it does not run here, or one of its workers does not answer."""


class LiveGateway(Protocol):
    """The running gateway, asked over its bus. Everything but `wake` raises GatewayUnavailable."""

    async def sessions(self) -> list[SessionFacts]: ...

    async def cancel(self, session_id: str) -> bool:
        """Cancel what this session runs now. False: there is no such session."""
        ...

    async def check_target(self, name: str, mode: AccessMode) -> list[CheckStep]:
        """DNS, TCP, TLS, login, role, database, settings: in this order, ending with the first that fails."""
        ...

    async def target_health(self) -> list[TargetHealth]:
        """Of each target and access mode that somebody tried since the gateway was started, by name."""
        ...

    async def audit_target(self, name: str, mode: AccessMode) -> RoleAudit | None:
        """What the role of this mode could do if the parser failed. None: the gateway has not heard of this login yet."""
        ...

    async def preview_entry(self, name: str, entry: str) -> EntryPreview | None:
        """What an entry of the target's list would open to read-only sessions. None: the gateway has not heard of their login."""
        ...

    async def refresh_catalog(self, name: str) -> list[CatalogRefresh]:
        """Read what is in the target's database again; in force when this returns. A worker without sessions there has nothing."""
        ...

    async def denied_statement(self, code: str, user_id: str) -> DeniedStatement | None:
        """What was refused under this code, if that was this user's statement and not long ago."""
        ...

    async def upstream_processes(self) -> list[UpstreamProcess]:
        """Of all sessions, over all workers."""
        ...

    async def revision(self) -> int:
        """The oldest revision of the store that one of its workers decides by."""
        ...

    async def counters(self) -> list[Mapping[str, float]]:
        """One mapping per worker: the names are those of gateway/proxy/counters.py, and "worker" is its number."""
        ...

    def wake(self) -> None:
        """The store changed: look now. Never raises; without a gateway, nothing happens."""
        ...
