"""One verb's change: signed by whoever makes it, and committed whole or not at all.

async with begin(store, actor, reason) as change:
    user = find_user(change.snapshot, name, expected_version)
    ...
    return await change.save(replace(user, enabled=False), "user.disabled", name)
"""

import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from gateway.access.accounts import Account, ClaimMapping
from gateway.access.approvals import ApprovalPolicy
from gateway.access.managed import ManagedLogin
from gateway.access.model import AdminRole, AllowlistEntry, ApiToken, Environment, Grant, Group, Snapshot, Target, User
from gateway.access.proof import Credential
from gateway.access.request_record import AccessRequest
from gateway.audit.admin_event import AdminEvent, DetailValue
from gateway.ports import ChangeableRow, FormerLogin, GrantEnding, OutboxMessage, RequestFilter, Store, TargetAdmin, UnitOfWork
from gateway.services.actor import Actor, require, resolve_actor
from gateway.services.managed_stay import check_managed_stay
from gateway.services.naming import check_actor, check_remark
from gateway.services.owners import check_owners_stay
from gateway.services.request_hanging import end_with_rows
from gateway.services.row_rights import check_put, check_remove, gives_to, speaks_for_itself
from gateway.services.visible import within_reach

Row = TypeVar(
    "Row",
    bound=User
    | Group
    | Target
    | Grant
    | AllowlistEntry
    | ApiToken
    | Environment
    | AdminRole
    | Account
    | ClaimMapping
    | Credential
    | ManagedLogin
    | ApprovalPolicy,
)
Detail = Mapping[str, DetailValue]


class Change:
    """A unit of work and its signature. Rows are staged together with the audit event that speaks of them."""

    def __init__(self, work: UnitOfWork, who: Actor, reason: str) -> None:
        self._work = work
        self._before = work.snapshot  # where several verbs are one change, the work's follows what they stage
        self._who = who
        self._actor = who.name
        self._reason = reason
        self._asked = False
        self._snapshot: Snapshot | None = None
        self._events: list[AdminEvent] = []
        self._staged: list[ChangeableRow] = []
        self._gone: list[ChangeableRow] = []

    @property
    def snapshot(self) -> Snapshot:
        """What the actor can reach of the whole, as it is now; nobody else changes it before this ends."""
        if self._snapshot is None:
            self._snapshot = within_reach(self._work.snapshot, self._who)
        return self._snapshot

    @property
    def whole(self) -> Snapshot:
        """All of it: for what must be unique."""
        return self._work.snapshot

    @property
    def now(self) -> datetime:
        return self._work.now

    @property
    def actor(self) -> str:
        """The name that the audit writes."""
        return self._actor

    @property
    def who(self) -> Actor:
        return self._who

    async def target_admin(self, target_id: str) -> TargetAdmin | None:
        """By which login this target is administered now."""
        return await self._work.target_admin(target_id)

    async def former_logins(self, target_id: str) -> list[FormerLogin]:
        """What its logins were before it was adopted."""
        return await self._work.former_logins(target_id)

    @property
    def reason(self) -> str:
        return self._reason

    async def next_request_number(self) -> int:
        return await self._work.next_request_number()

    async def access_request(self, key: str | int) -> AccessRequest | None:
        """By its id or its number, as it is now; nobody else changes it before this ends."""
        return await self._work.access_request(key)

    async def access_requests(self, wanted: RequestFilter) -> list[AccessRequest]:
        """Likewise, the newest first."""
        return await self._work.access_requests(wanted)

    def require(self, verb: str, *, target: Target | None = None, user_id: str | None = None) -> None:
        """May the actor do this (`verb` of access/data/verbs.csv)? Raises NotPermitted.

        `target`: what it is done to. `user_id`: whose own it is, where one's own is everybody's to change. A change of which
        nothing was asked is for owners alone.
        """
        environment_id = None if target is None else target.environment_id
        require(self._who, verb, self._work.snapshot, environment_id=environment_id, user_id=user_id)
        self._asked = True

    def require_in(self, verb: str, environment_id: str) -> None:
        """Likewise, of what is done in an environment."""
        require(self._who, verb, self._work.snapshot, environment_id=environment_id)
        self._asked = True

    def note(self, action: str, object_id: str, name: str, detail: Detail | None = None, *, by: str | None = None) -> None:
        """Stage the audit event alone. `name`: what people call the object. Never a secret in any of it. `by`: who did it, if not
        the actor (a rule that answered them).
        """
        self._events.append(AdminEvent(by or self._actor, action, object_id, name, self._reason, detail or {}))

    def put(self, row: Row, action: str, name: str, detail: Detail | None = None) -> None:
        """Stage an insert or a replacement by id, with its event."""
        self.also_put(row)
        own = {"self": True} if gives_to(row, self._who, self._work.snapshot) else {}
        self.note(action, row.id, name, {**(detail or {}), **own})

    def remove(self, row: Row, action: str, name: str, detail: Detail | None = None) -> None:
        """Stage a removal, with its event. What hangs on the row goes too."""
        self.also_remove(row)
        self.note(action, row.id, name, detail)

    def also_put(self, row: ChangeableRow) -> None:
        """Stage a row that another row's event speaks of. Raises NotPermitted, as `put` does."""
        check_put(self._who, row, self._work.snapshot)
        self._asked = self._asked or speaks_for_itself(row)
        self._staged.append(row)
        self._work.put(row)

    def also_remove(self, row: ChangeableRow) -> None:
        """Stage the removal of a row that another row's event speaks of. Raises NotPermitted, as `remove` does."""
        check_remove(self._who, row, self._work.snapshot)
        self._asked = self._asked or speaks_for_itself(row)
        self._gone.append(row)
        self._work.remove(row)

    def follows(self, row: ChangeableRow) -> None:
        """Stage a row that only loses what another one takes with it; the right to that other one was asked for."""
        self._staged.append(row)
        self._work.put(row)

    def carries_out(self, row: AccessRequest | Grant | GrantEnding | OutboxMessage) -> None:
        """Stage what a decision about an access request leads to: the right to decide was asked for, not one to grant."""
        self._staged.append(row)
        self._work.put(row)

    def takes_back(self, grant: Grant) -> None:
        """Stage the removal of a grant that an access request had led to, likewise."""
        self.takes_along(grant)

    def takes_along(self, row: ChangeableRow) -> None:
        """Stage the removal of a row that goes with another one; the right to that other one was asked for."""
        self._gone.append(row)
        self._work.remove(row)

    @property
    def staged(self) -> tuple[ChangeableRow, ...]:
        """What is to be inserted or replaced so far."""
        return tuple(self._staged)

    @property
    def gone(self) -> tuple[ChangeableRow, ...]:
        """What is to be removed so far."""
        return tuple(self._gone)

    async def commit(self) -> int:
        """Everything staged, in one transaction; the new revision. What has no event cannot be committed (ValueError)."""
        await end_with_rows(self)
        event, *more = self._events
        check_owners_stay(self._before, self._staged, self._gone)
        check_managed_stay(self._work.snapshot, self._staged, self._gone)
        if not self._asked:
            self.require(event.action)
        return await self._work.commit(event, *more)

    async def save(self, row: Row, action: str, name: str, detail: Detail | None = None) -> Row:
        """`put` and `commit`; the row as stored."""
        self.put(row, action, name, detail)
        return replace(row, version=await self.commit())

    async def drop(self, row: Row, action: str, name: str, detail: Detail | None = None) -> Row:
        """`remove` and `commit`; the row as it was."""
        self.remove(row, action, name, detail)
        await self.commit()
        return row


@asynccontextmanager
async def begin(store: Store, actor: str, reason: str) -> AsyncIterator[Change]:
    """Raises ServiceError for an actor or a reason that cannot be written down, NotPermitted for an actor who is no longer there;
    else what the store raises."""
    check_actor(actor)
    check_remark("reason", reason)
    async with store.begin() as work:
        yield Change(work, resolve_actor(actor, work.snapshot, work.now), reason)


def new_id() -> str:
    return str(uuid.uuid4())


def shown(instant: datetime | None) -> str | None:
    """An instant as details have it: ISO 8601."""
    return None if instant is None else instant.isoformat()
