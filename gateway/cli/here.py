"""What the admin API's application stands on when a command runs it: this machine's store and gateway."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING

import structlog

from gateway.access.model import Snapshot
from gateway.access.request_record import AccessRequest
from gateway.access_mode import AccessMode
from gateway.audit.admin_event import RecordedAdminEvent
from gateway.bus.gateway import BusGateway
from gateway.custody.references.fetching import Fetching
from gateway.custody.sources import KeptSecrets
from gateway.custody.successors import SuccessiveSecrets
from gateway.ports import (
    CheckStep,
    EntryPreview,
    FormerLogin,
    GatewayUnavailable,
    OutsideLook,
    RequestFilter,
    RoleAudit,
    TargetAdmin,
    TargetObservation,
    UnitOfWork,
)
from gateway.ports.outbox import Outbox
from gateway.services.lookup import find_target
from gateway.settings import CurrentSettings, Settings
from gateway.store.errors import StoreError
from gateway.store.vault import SealedVault

if TYPE_CHECKING:
    from gateway.store.events import FoundClaim
    from gateway.store.provider_checks import ProviderCheck
    from gateway.store.sql_store import SqlStore


class TellingStore:
    """The store, remembering why it failed: the application does not tell its callers, but this one may know."""

    def __init__(self, store: "SqlStore", failures: list[StoreError]) -> None:
        self._store = store
        self._failures = failures

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[UnitOfWork]:
        try:
            async with self._store.begin() as work:
                yield work
        except StoreError as error:
            self._failures.append(error)
            raise

    async def read(self) -> Snapshot:
        try:
            return await self._store.read()
        except StoreError as error:
            self._failures.append(error)
            raise

    async def last_logins(self) -> Mapping[str, datetime]:
        return await self._store.last_logins()

    async def last_token_uses(self) -> Mapping[str, datetime]:
        return await self._store.last_token_uses()

    async def read_events(self) -> list[RecordedAdminEvent]:
        return await self._store.read_events()

    async def find_claim(self, key_hash: str) -> "FoundClaim | None":
        return await self._store.find_claim(key_hash)

    async def access_request(self, key: str | int) -> AccessRequest | None:
        return await self._store.access_request(key)

    async def access_requests(self, wanted: RequestFilter) -> list[AccessRequest]:
        return await self._store.access_requests(wanted)

    @property
    def outbox(self) -> Outbox:
        return self._store.outbox

    async def target_admin(self, target_id: str) -> TargetAdmin | None:
        return await self._store.target_admin(target_id)

    async def target_observation(self, target_id: str) -> TargetObservation | None:
        return await self._store.target_observation(target_id)

    async def outside_looks(self, target_id: str, since: datetime) -> list[OutsideLook]:
        return await self._store.outside_looks(target_id, since)

    async def former_logins(self, target_id: str) -> list[FormerLogin]:
        return await self._store.former_logins(target_id)

    async def take_lease(self, name: str, holder: str, seconds: float) -> bool:
        return await self._store.take_lease(name, holder, seconds)

    async def drop_lease(self, name: str, holder: str) -> None:
        await self._store.drop_lease(name, holder)

    async def gateway_id(self) -> str:
        return await self._store.gateway_id()

    async def put_provider_check(self, check: "ProviderCheck", due_at: datetime) -> None:
        await self._store.put_provider_check(check, due_at)

    async def take_provider_checks(self, next_due_at: datetime, limit: int) -> "Sequence[ProviderCheck]":
        return await self._store.take_provider_checks(next_due_at, limit)

    async def drop_provider_check(self, account_id: str) -> None:
        await self._store.drop_provider_check(account_id)


class LocalGateway(BusGateway):
    """The running gateway. Without one, a target is looked at from here: before the first start, too, one wants to know."""

    def __init__(self, settings: Settings, store: TellingStore, vault: SealedVault) -> None:
        super().__init__(settings.bus_socket)
        self._settings = settings
        self._store = store
        self._secrets = SuccessiveSecrets(KeptSecrets(vault, Fetching(CurrentSettings(settings))), vault, None)

    async def check_target(self, name: str, mode: AccessMode) -> list[CheckStep]:
        try:
            steps = await super().check_target(name, mode)
        except GatewayUnavailable:
            steps = []
        return steps or await self._check_from_here(name, mode)

    async def audit_target(self, name: str, mode: AccessMode) -> RoleAudit | None:
        try:
            found = await super().audit_target(name, mode)
        except GatewayUnavailable:
            found = None
        return found or await self._audit_from_here(name, mode)

    async def preview_entry(self, name: str, entry: str) -> EntryPreview | None:
        try:
            found = await super().preview_entry(name, entry)
        except GatewayUnavailable:
            found = None
        return found or await self._preview_from_here(name, entry)

    async def _preview_from_here(self, name: str, entry: str) -> EntryPreview | None:
        from gateway.proxy.entry_preview import preview_entry
        from gateway.proxy.upstream import UpstreamDialer

        target = find_target(await self._store.read(), name)
        role = target.roles.get(AccessMode.READ_ONLY)
        if role is None:
            return None
        return await preview_entry(
            UpstreamDialer(self._secrets),
            target,
            role,
            entry=entry,
            timeout_seconds=self._settings.policy.catalog_timeout_seconds,
            iterations_max=self._settings.limits.scram_iterations_max,
        )

    async def _audit_from_here(self, name: str, mode: AccessMode) -> RoleAudit | None:
        from gateway.proxy.role_audit import audit_target
        from gateway.proxy.upstream import UpstreamDialer

        target = find_target(await self._store.read(), name)
        role = target.roles.get(mode)
        if role is None:
            return None
        limits = self._settings.limits
        return await audit_target(
            UpstreamDialer(self._secrets),
            target,
            role,
            mode=mode,
            timeout_seconds=limits.upstream_connect_timeout_seconds,
            iterations_max=limits.scram_iterations_max,
        )

    async def _check_from_here(self, name: str, mode: AccessMode) -> list[CheckStep]:
        from gateway.proxy.target_check import check_target
        from gateway.proxy.upstream import UpstreamDialer

        target = find_target(await self._store.read(), name)
        role = target.roles.get(mode)
        if role is None:
            remedy = f"pgbastion targets login {name} --mode {mode} --login ROLE"
            return [CheckStep("login", ok=False, detail=f"the target has no login for {mode}", remedy=remedy)]
        limits = self._settings.limits
        return await check_target(
            UpstreamDialer(self._secrets),
            target,
            role,
            mode=mode,
            timeout_seconds=limits.upstream_connect_timeout_seconds,
            iterations_max=limits.scram_iterations_max,
        )


def keep_quiet() -> None:
    """What the application would log goes to nobody: the command says what went wrong. Only a bug speaks, on standard error."""
    structlog.configure(
        processors=[_only_bugs, structlog.processors.format_exc_info, structlog.dev.ConsoleRenderer(colors=False)]
    )


def _only_bugs(_logger: object, _method: str, record: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if not (record.get("exc_info") or record.get("traceback")):
        raise structlog.DropEvent
    return record
