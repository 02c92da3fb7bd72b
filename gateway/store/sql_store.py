"""The store of the control plane: where units of work begin, and where its records are read back."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.access.model import Snapshot
from gateway.access.password_age import PasswordAge
from gateway.access.request_record import AccessRequest
from gateway.audit.admin_event import RecordedAdminEvent
from gateway.ports import FormerLogin, OutsideLook, RequestFilter, TargetAdmin, TargetObservation
from gateway.store import events
from gateway.store.access import Access
from gateway.store.access_requests import read_access_request, read_access_requests
from gateway.store.activity import read_logins, read_token_uses, record_logins, record_token_uses
from gateway.store.bytes_sent import read_sent, record_sent
from gateway.store.engine import CHANGE_PATIENCE_SECONDS, connected, open_engine, store_errors
from gateway.store.events import FoundClaim
from gateway.store.leases import drop_lease, take_lease
from gateway.store.outbox import SqlOutbox
from gateway.store.outside_uses import read_looks, read_observation, record_look, take_observations
from gateway.store.password_ages import read_ages
from gateway.store.places import Place, SqlitePlace, locate
from gateway.store.provider_checks import PlannedCheck, ProviderCheck, drop_check, put_check, read_planned, take_due
from gateway.store.queries import read_all, read_gateway_id, read_has_managed, read_revision, read_rows
from gateway.store.row_values import to_event
from gateway.store.sqlite_stamp import Stamp, stamp
from gateway.store.target_admins import read_admin, read_former
from gateway.store.unit_of_work import SqlUnitOfWork

if TYPE_CHECKING:
    from gateway.settings import Settings


def _nobody(_revision: int) -> None:
    """Nobody wants to know about commits."""


class SqlStore:
    """Implements ports.Store. For control-plane processes; holds nothing open in between."""

    def __init__(
        self,
        where: "Settings | str | Place",
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        on_commit: Callable[[int], None] | None = None,
    ) -> None:
        """`on_commit` is called with the new revision right after each commit."""
        self._place = locate(where)
        self._clock = clock
        self._on_commit = on_commit or _nobody
        self._changing = open_engine(self._place, Access.WRITE, CHANGE_PATIENCE_SECONDS)
        self._reading = open_engine(self._place, Access.READ)
        self.outbox = SqlOutbox(self._place, self._reading, self._changing)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[SqlUnitOfWork]:
        """Read everything, and keep everybody else from changing it until the block ends. Without a commit nothing changes.

        Raises StoreUnavailableError, StoreConflictError.
        """
        async with connected(self._changing, self._place) as connection:
            yield SqlUnitOfWork(
                connection, self._place, await self._snapshot(connection, Access.WRITE), self._clock(), self._on_commit
            )

    async def read(self) -> Snapshot:
        """The whole, once, without keeping anybody from changing it. Raises StoreUnavailableError."""
        async with connected(self._reading, self._place) as connection:
            return await self._snapshot(connection, Access.READ)

    async def record_logins(self, logins: Mapping[str, datetime]) -> None:
        """When users (by id) logged in, as of which nothing else changes. Raises StoreUnavailableError."""
        await record_logins(self._changing, self._place, logins)

    async def record_token_uses(self, uses: Mapping[str, datetime]) -> None:
        """When API tokens (by id) were used, as of which nothing else changes. Raises StoreUnavailableError."""
        await record_token_uses(self._changing, self._place, uses)

    async def last_token_uses(self) -> Mapping[str, datetime]:
        """By token id; one that never was is not there. Raises StoreUnavailableError."""
        async with connected(self._reading, self._place) as connection:
            with store_errors(self._place):
                return await read_token_uses(connection)

    async def last_logins(self) -> Mapping[str, datetime]:
        """By user id; who never did is not there. Raises StoreUnavailableError."""
        async with connected(self._reading, self._place) as connection:
            with store_errors(self._place):
                return await read_logins(connection)

    async def put_provider_check(self, check: ProviderCheck, due_at: datetime) -> None:
        """Ask the identity provider with this from then on. Raises StoreUnavailableError."""
        async with connected(self._changing, self._place) as connection:
            with store_errors(self._place):
                await put_check(connection, check, due_at)

    async def take_provider_checks(self, next_due_at: datetime, limit: int) -> Sequence[ProviderCheck]:
        """Those that are due, for whoever calls this alone: nobody else gets them before `next_due_at`.

        Raises StoreUnavailableError.
        """
        async with connected(self._changing, self._place) as connection:
            with store_errors(self._place):
                return await take_due(connection, self._clock(), next_due_at, limit)

    async def planned_checks(self) -> Sequence[PlannedCheck]:
        """Whom the identity provider is asked about, and when. Raises StoreUnavailableError."""
        async with connected(self._reading, self._place) as connection:
            with store_errors(self._place):
                return await read_planned(connection)

    async def drop_provider_check(self, account_id: str) -> None:
        """Do not ask any more. Raises StoreUnavailableError."""
        async with connected(self._changing, self._place) as connection:
            with store_errors(self._place):
                await drop_check(connection, account_id)

    async def record_sent(self, day: date, more: Mapping[tuple[str, str], int]) -> None:
        """So many bytes more were sent on this day, by user and grant id. Raises StoreUnavailableError."""
        await record_sent(self._changing, self._place, day, more)

    async def sent_on(self, day: date) -> dict[tuple[str, str], int]:
        """The reverse. Raises StoreUnavailableError."""
        async with connected(self._reading, self._place) as connection:
            with store_errors(self._place):
                return await read_sent(connection, day)

    async def password_ages(self) -> Sequence[PasswordAge]:
        """Of upstream logins with a schedule, or a rotation that has not ended. Raises StoreUnavailableError."""
        async with connected(self._reading, self._place) as connection:
            with store_errors(self._place):
                return await read_ages(connection)

    async def take_lease(self, name: str, holder: str, seconds: float) -> bool:
        """Be the only one at this work for so long, or for so long more. False: another is. Raises StoreUnavailableError."""
        now = self._clock()
        async with connected(self._changing, self._place) as connection:
            with store_errors(self._place):
                return await take_lease(connection, name, holder, now, now + timedelta(seconds=seconds))

    async def drop_lease(self, name: str, holder: str) -> None:
        """Raises StoreUnavailableError."""
        async with connected(self._changing, self._place) as connection:
            with store_errors(self._place):
                await drop_lease(connection, name, holder)

    async def gateway_id(self) -> str:
        """The same for every process of a gateway, and as long as its store lives. Raises StoreUnavailableError."""
        async with connected(self._reading, self._place) as connection:
            with store_errors(self._place):
                return await read_gateway_id(connection)

    async def revision(self) -> int:
        """How often it was changed. Raises StoreUnavailableError."""
        async with connected(self._reading, self._place) as connection:
            with store_errors(self._place):
                return await read_revision(connection)

    async def has_managed(self) -> bool:
        """Whether any target has managed logins, or may have. Raises StoreUnavailableError."""
        async with connected(self._reading, self._place) as connection:
            with store_errors(self._place):
                return await read_has_managed(connection)

    async def target_admin(self, target_id: str) -> TargetAdmin | None:
        """By which login this target is administered, as far as anybody said. Raises StoreUnavailableError."""
        async with connected(self._reading, self._place) as connection:
            with store_errors(self._place):
                return await read_admin(connection, target_id)

    async def access_request(self, key: str | int) -> AccessRequest | None:
        """By its id or its number, as it was written last. Raises StoreUnavailableError."""
        async with connected(self._reading, self._place) as connection:
            with store_errors(self._place):
                return await read_access_request(connection, key)

    async def access_requests(self, wanted: RequestFilter) -> list[AccessRequest]:
        """The newest first. Raises StoreUnavailableError."""
        async with connected(self._reading, self._place) as connection:
            with store_errors(self._place):
                return await read_access_requests(connection, wanted)

    async def target_observation(self, target_id: str) -> TargetObservation | None:
        """How often this target's database is looked at, if it is. Raises StoreUnavailableError."""
        async with connected(self._reading, self._place) as connection:
            with store_errors(self._place):
                return await read_observation(connection, target_id)

    async def take_observations(self) -> Sequence[TargetObservation]:
        """Those that are due, for whoever calls this alone. Raises StoreUnavailableError."""
        async with connected(self._changing, self._place) as connection:
            with store_errors(self._place):
                return await take_observations(connection, self._clock())

    async def record_look(self, observation: TargetObservation, look: OutsideLook) -> None:
        """What was seen. Raises StoreUnavailableError."""
        async with connected(self._changing, self._place) as connection:
            with store_errors(self._place):
                await record_look(connection, observation, look)

    async def outside_looks(self, target_id: str, since: datetime) -> list[OutsideLook]:
        """What was seen since, the oldest first. Raises StoreUnavailableError."""
        async with connected(self._reading, self._place) as connection:
            with store_errors(self._place):
                return await read_looks(connection, target_id, since)

    async def former_logins(self, target_id: str) -> list[FormerLogin]:
        """What its logins were before it was adopted, by access mode. Raises StoreUnavailableError."""
        async with connected(self._reading, self._place) as connection:
            with store_errors(self._place):
                return await read_former(connection, target_id)

    async def find_claim(self, key_hash: str) -> FoundClaim | None:
        """What became of the request that claimed this key. Raises StoreUnavailableError."""
        async with connected(self._reading, self._place) as connection:
            with store_errors(self._place):
                found = (await connection.execute(events.select_claim(key_hash))).mappings().first()
        return None if found is None else FoundClaim(found["request_hash"], to_event(found))

    async def read_events(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        actor: str | None = None,
        action: str | None = None,
        object_name: str | None = None,
        text: str | None = None,
        before: int | None = None,
        after: int | None = None,
        limit: int | None = None,
    ) -> list[RecordedAdminEvent]:
        """Admin events in the order of their commits. Raises StoreUnavailableError.

        `since` <= at < `until`; `action`: how it begins ("grant."); `text` stands anywhere in it, in upper or lower case.
        `before` and `after` are sequence numbers. `limit`: with `after` the first that many, else the newest.
        """
        wanted = events.filtered(since, until, actor, action, object_name, text)
        if after is not None:
            return await self._fetch(events.forwards(wanted, after, before, limit))
        return (await self._fetch(events.backwards(wanted, before, limit)))[::-1]

    async def events_after(self, sequence: int, limit: int) -> list[RecordedAdminEvent]:
        """The next events to ship. Whoever remembers the last `sequence` gets each one once. Raises StoreUnavailableError."""
        return await self.read_events(after=sequence, limit=limit)

    def stamp(self) -> Stamp | None:
        """Equal ones, and not None: nothing was committed in between, so that there is nothing to look for. Raises OSError."""
        return stamp(self._place.path) if isinstance(self._place, SqlitePlace) else None

    async def _fetch(self, query: Select[tuple[object, ...]]) -> list[RecordedAdminEvent]:
        async with connected(self._reading, self._place) as connection:
            with store_errors(self._place):
                found = (await connection.execute(query)).mappings().all()
        return [to_event(row) for row in found]

    async def _snapshot(self, connection: AsyncConnection, access: Access) -> Snapshot:
        with store_errors(self._place):
            return await read_rows(await read_all(connection, access), str(self._place))
