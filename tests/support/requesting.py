"""A store in which people ask for access, by a clock that tests turn: ana asks; ben, cam and dee approve for "prod", where the
targets shop and crm are; ana_second is ana's other account, by its address; max came later.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.access.approvals import AutomaticRule, RuleKind
from gateway.access.asking import ModeWanted, Right
from gateway.access.managed import ManagedMode
from gateway.access.model import Grant, Snapshot
from gateway.access.request_record import AccessRequest, Word
from gateway.access_mode import AccessMode
from gateway.ports import OutboxMessage
from gateway.secret import Secret
from gateway.services import access_requests, approval_policies, environments, groups, targets, users
from gateway.services.access_requests import Asked
from gateway.services.approval_terms import NamedBreakGlass, NamedStep
from gateway.services.targets import Place
from gateway.store.outbox_rows import to_message
from gateway.store.places import Place as StorePlace
from gateway.store.sql_store import SqlStore

BY = {"actor": "os:admin", "reason": "set up"}
RO, RW = AccessMode.READ_ONLY, AccessMode.READ_WRITE
READING = ModeWanted(RO)
PEOPLE = ("ana", "ben", "cam", "dee", "eve", "max")
HOUR = 3600
ANY_TWO = (NamedStep(("group:approvers",), 2),)
ON_CALL = AutomaticRule(RuleKind.ON_CALL, HOUR)


@dataclass
class Clock:
    now: datetime

    def __call__(self) -> datetime:
        return self.now

    def go(self, **by: float) -> None:
        self.now += timedelta(**by)


@dataclass(frozen=True)
class Desk:
    """What people do, by their names."""

    store: SqlStore
    clock: Clock

    async def ask(self, right: Right = READING, by: str = "ana", **more: Any) -> AccessRequest:
        asked = Asked(right, **{"reason": "monthly report", "target_name": "shop", **more})
        if asked.environment_name is not None:
            asked = replace(asked, target_name=None)
        return await access_requests.create_request(self.store, asked=asked, actor=_actor(by))

    async def decide(self, request: AccessRequest, by: str, word: Word = Word.YES, **more: Any) -> AccessRequest:
        facts = {"fingerprint": request.wanted.fingerprint, **more}
        return await access_requests.decide_request(self.store, request=request.number, word=word, actor=_actor(by), **facts)

    async def given(self, *by: str, **more: Any) -> AccessRequest:
        """Asked for and approved by these."""
        request = await self.ask(**more)
        for name in by or ("ben",):
            request = await self.decide(request, name)
        return request

    async def revoke(self, request: AccessRequest, by: str = "os:admin", reason: str = "no longer") -> AccessRequest:
        return await access_requests.revoke_request(self.store, request=request.number, actor=_actor(by), reason=reason)

    async def relinquish(self, request: AccessRequest, by: str = "ana") -> AccessRequest:
        return await access_requests.relinquish_request(self.store, request=request.number, actor=_actor(by))

    async def cancel(self, request: AccessRequest, by: str = "ana") -> AccessRequest:
        return await access_requests.cancel_request(self.store, request=request.number, actor=_actor(by))

    async def review(self, request: AccessRequest, by: str) -> AccessRequest:
        return await access_requests.review_break_glass(
            self.store, request=request.number, comment="looked at", actor=_actor(by)
        )

    async def sweep(self) -> tuple[int, ...]:
        return (await access_requests.sweep_requests(self.store, now=self.clock)).numbers

    async def policy(self, **given: Any) -> None:
        """Change what the policy of prod says."""
        await approval_policies.update_policy(self.store, name="prod", **given, **BY)

    async def now(self, request: AccessRequest) -> AccessRequest:
        found = await self.store.access_request(request.id)
        assert found is not None
        return found

    async def grants(self, name: str = "ana") -> Sequence[Grant]:
        snapshot = await self.store.read()
        return snapshot.grants.get(snapshot.users[name].id, ()) if name in snapshot.users else ()

    async def events(self, prefix: str = "access_request.") -> list[tuple[str, str]]:
        """Actor and action, in order."""
        found = await self.store.read_events(action=prefix)
        return [(each.event.actor, each.event.action.removeprefix("access_request.")) for each in found]

    async def messages(self, topic: str) -> list[OutboxMessage]:
        """In the outbox, in order."""
        from sqlalchemy import select

        from gateway.store import tables
        from gateway.store.access import Access
        from gateway.store.engine import connected, open_engine

        place = self.store._place
        async with connected(open_engine(place, Access.READ), place) as connection:
            rows = (await connection.execute(select(tables.outbox).order_by(tables.outbox.c.sequence))).mappings().all()
        return [to_message(dict(row)) for row in rows if row["topic"] == f"access_request.{topic}"]


def desk_at(where: "str | StorePlace", now: datetime | None = None) -> Desk:
    clock = Clock(now or datetime.now(UTC).replace(microsecond=0))
    return Desk(SqlStore(where, clock=clock), clock)


async def fill(desk: Desk) -> None:
    """A migrated store becomes the one that this module's text describes."""
    store = desk.store
    for name in PEOPLE:
        await users.create_user(store, name=name, email=f"{name}@example.org", password=Secret(f"of-{name}-1234567890"), **BY)
    await users.create_user(store, name="ana_second", email="ANA@example.org", password=Secret("of-another-1234567890"), **BY)
    await groups.create_group(store, name="approvers", members=("ben", "cam", "dee", "ana", "ana_second"), **BY)
    await groups.create_group(store, name="on-duty", members=("ana",), **BY)
    await environments.create_environment(store, name="prod", **BY)
    for name in ("shop", "crm"):
        await targets.create_target(store, name=name, place=Place("db.example", 5432, name), **BY)
        await environments.move_to_environment(store, name=name, environment="prod", **BY)
    await targets.create_target(store, name="elsewhere", place=Place("db.example", 5432, "other"), **BY)
    await approval_policies.create_policy(
        store,
        name="prod",
        environment="prod",
        modes=frozenset(AccessMode),
        steps=(NamedStep(("group:approvers",)),),
        max_seconds=8 * HOUR,
        announce=("slack:C024BE91L",),
        break_glass=NamedBreakGlass(("group:on-duty",), HOUR),
        **BY,
    )


async def manage(desk: Desk, target: str) -> None:
    """People have database roles of their own there (and no server is asked)."""
    await _put(desk, lambda snapshot: replace(snapshot.targets[target], managed=ManagedMode.PER_USER))


async def _put(desk: Desk, row: Callable[[Snapshot], Any]) -> None:
    from gateway.audit.admin_event import AdminEvent

    async with desk.store.begin() as work:
        found = row(work.snapshot)
        work.put(found)
        await work.commit(AdminEvent("os:admin", "target.managed", found.id, found.name, ""))


def _actor(name: str) -> str:
    return name if ":" in name or name == "system" else f"user:{name}"
