"""What the routes stand on: one object, put together by the process or by the command that runs the application."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from gateway.access.model import Snapshot
from gateway.access.request_record import AccessRequest
from gateway.audit.admin_event import RecordedAdminEvent
from gateway.ports import (
    FormerLogin,
    LiveGateway,
    OutsideLook,
    RequestFilter,
    Sealer,
    SecretBox,
    Store,
    TargetAdmin,
    TargetObservation,
    Vault,
)
from gateway.ports.outbox import Outbox
from gateway.settings import CurrentSettings
from gateway.store.events import FoundClaim
from gateway.store.provider_checks import ProviderCheck

if TYPE_CHECKING:
    from gateway.services.audit import AuditLog


class Keyring(Sealer, Vault, SecretBox, Protocol):
    """Seals upstream secrets and others, and can tell whether one is already what a file says."""

    def derive(self, purpose: str) -> bytes:
        """A key of 32 bytes for another use, always the same."""
        ...


class ClaimStore(Store, Protocol):
    """A store that can say whether a request took effect already."""

    async def find_claim(self, key_hash: str) -> FoundClaim | None: ...

    async def access_request(self, key: str | int) -> AccessRequest | None:
        """By its id or its number."""
        ...

    async def access_requests(self, wanted: RequestFilter) -> list[AccessRequest]:
        """The newest first."""
        ...

    @property
    def outbox(self) -> Outbox:
        """What was to be told elsewhere, and what became of it."""
        ...

    async def target_admin(self, target_id: str) -> TargetAdmin | None:
        """By which login this target is administered, as far as anybody said."""
        ...

    async def target_observation(self, target_id: str) -> TargetObservation | None:
        """How often this target's database is looked at for others who use it, if it is."""
        ...

    async def outside_looks(self, target_id: str, since: datetime) -> list[OutsideLook]:
        """What was seen there since, the oldest first."""
        ...

    async def former_logins(self, target_id: str) -> list[FormerLogin]:
        """What its logins were before it was adopted, by access mode."""
        ...

    async def take_lease(self, name: str, holder: str, seconds: float) -> bool:
        """Be the only one at this work. False: another is."""
        ...

    async def drop_lease(self, name: str, holder: str) -> None: ...

    async def gateway_id(self) -> str:
        """What this gateway calls itself on its targets' servers."""
        ...

    async def put_provider_check(self, check: ProviderCheck, due_at: datetime) -> None:
        """Ask the identity provider with this from then on."""
        ...

    async def take_provider_checks(self, next_due_at: datetime, limit: int) -> Sequence[ProviderCheck]:
        """Those that are due; nobody else gets them before `next_due_at`."""
        ...

    async def drop_provider_check(self, account_id: str) -> None:
        """Do not ask any more."""
        ...

    async def last_token_uses(self) -> Mapping[str, datetime]:
        """By token id; one that was never used is not there."""
        ...

    async def read_events(self) -> list[RecordedAdminEvent]:
        """All of the record of changes, in order."""
        ...

    async def last_logins(self) -> Mapping[str, datetime]:
        """By user id; who never logged in is not there."""
        ...


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class AdminContext:
    """`settings.now` is what is in force.

    `read` gives a snapshot that holds at least every change committed through `store` by this process.

    `read` raises StoreUnavailableError when the newest one it has is too old to act on. `fresh`: whether it would not.
    `token_used`: told of each request by a token. `audit`: None where a command reads the files itself. `stopping` is set when the
    process ends: streams end then.
    """

    settings: CurrentSettings
    store: ClaimStore
    sealer: Keyring
    read: Callable[[], Awaitable[Snapshot]]
    gateway: LiveGateway
    fresh: Callable[[], bool] = lambda: True
    clock: Callable[[], datetime] = utc_now
    audit: "AuditLog | None" = None
    token_used: Callable[[str, datetime], None] = lambda _token_id, _at: None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
