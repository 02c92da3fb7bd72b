"""Managed logins: whatever happens to a right, wherever a process stops, in the end there is a role for each right, no other."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.access.managed import ManagedKey, ManagedLogin, ManagedMode, ManagedState
from gateway.access.managed_rights import Rights, as_role
from gateway.access.model import Target
from gateway.access.verifiers import parse_verifier, password_fits
from gateway.custody.login_roles import Left
from gateway.ports import UnitOfWork
from gateway.secret import Secret
from gateway.services import grants, targets, users
from gateway.services.change import begin
from gateway.services.errors import ServiceError
from gateway.services.managed_rows import SYSTEM, ManagedRows
from gateway.services.managed_stay import check_managed_stay
from gateway.services.managed_sweep import drop_orphans, orphans_on
from gateway.services.managed_work import ManagedWork, Next
from gateway.store.sql_store import SqlStore
from gateway.store.vault import SealedVault
from tests.services.world import ALICE, BY, RO, RW, World
from tests.support.login_server import RememberedServer
from tests.support.remembered_store import RememberedStore


class Crash(BaseException):
    """This process is gone."""


class StoppingStore:
    """The store, in a process that ends at the `stop`-th of its changes: before it, or after it."""

    def __init__(self, store: "SqlStore | RememberedStore", steps: "Steps") -> None:
        self._store = store
        self._steps = steps

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[UnitOfWork]:
        async with self._store.begin() as work:
            commit = work.commit

            async def counted(*events):  # type: ignore[no-untyped-def]
                self._steps.pass_by("before commit")
                revision = await commit(*events)
                self._steps.pass_by("after commit")
                return revision

            work.commit = counted  # type: ignore[method-assign]
            yield work

    async def read(self):  # type: ignore[no-untyped-def]
        return await self._store.read()


@dataclass
class Steps:
    """`stop`: at which of them the process ends; None: at none."""

    stop: int | None = None
    passed: list[str] = field(default_factory=list)

    def pass_by(self, name: str) -> None:
        self.passed.append(name)
        if self.stop is not None and len(self.passed) == self.stop:
            raise Crash(name)


@dataclass
class Stage:
    store: "SqlStore | RememberedStore"
    vault: SealedVault
    server: RememberedServer = field(default_factory=RememberedServer)
    steps: Steps = field(default_factory=Steps)
    gateway_id: str = "11111111-1111-4111-8111-111111111111"

    def work(self, *, steps: Steps | None = None) -> ManagedWork:
        """As of a new process."""
        steps = self.steps if steps is None else steps
        self.server.before = lambda change: steps.pass_by(f"before {change}")
        self.server.after = lambda change: steps.pass_by(f"after {change}")

        async def server_of(_target: Target) -> RememberedServer:
            return self.server

        rows = ManagedRows(StoppingStore(self.store, steps), self.vault, self.gateway_id)
        return ManagedWork(rows, self.vault, server_of, lambda: 30)

    async def target(self) -> Target:
        return (await self.store.read()).targets["sales"]

    async def key(self, mode=RO, grant_id: str | None = None) -> ManagedKey:  # type: ignore[no-untyped-def]
        snapshot = await self.store.read()
        return ManagedKey(snapshot.targets["sales"].id, mode, snapshot.users["alice"].id, grant_id)

    async def manage(self, mode: ManagedMode) -> None:
        async with begin(self.store, **BY) as change:
            target = change.snapshot.targets["sales"]
            await change.save(replace(target, managed=mode), "target.managed_changed", "sales")

    async def round(self, work: ManagedWork, *, end_sessions: bool = True) -> bool:
        """Everything that asks for it, once. Whether anything did."""
        snapshot, now, busy = await self.store.read(), datetime.now(UTC), False
        rights = Rights(snapshot)
        for login in snapshot.managed_logins:
            behind, target = rights.still(login, now), rights.target(login)
            assert target is not None
            if behind is None or login.state is not ManagedState.ACTIVE or login.valid_until != behind.until:
                busy = True
                await work.attend(target, login, behind, end_sessions=end_sessions)
        return busy

    async def settle(self) -> None:
        """Another process, which does not end, looks after everything."""
        work = self.work(steps=Steps())
        for _ in range(6):
            if not await self.round(work):
                return
        raise AssertionError("it does not come to rest")

    async def check(self) -> None:
        """What the store says is on the server, and nothing else; who has no right has no role."""
        snapshot, now = await self.store.read(), datetime.now(UTC)
        rights = Rights(snapshot)
        assert set(self.server.roles) == {login.login for login in snapshot.managed_logins}
        for login in snapshot.managed_logins:
            behind, role = rights.still(login, now), self.server.roles[login.login]
            assert login.state is ManagedState.ACTIVE
            assert not login.finding
            assert behind is not None
            assert role.enabled
            assert role.spec.valid_until == login.valid_until == behind.until
            assert role.spec.member_of == behind.member_of
            assert password_fits(self.vault.open(as_role(login)).reveal(), parse_verifier(role.spec.verifier))


@pytest.fixture
def stage(world: World) -> Stage:
    made = Stage(world.store, world.vault)
    asyncio.run(made.manage(ManagedMode.PER_USER))
    return made


Act = Callable[[Stage, ManagedWork], Awaitable[object]]


async def _come(stage: Stage, work: ManagedWork) -> ManagedLogin:
    return await work.ensure(await stage.key(), None, "session s1")


async def _revoke(stage: Stage, _work: ManagedWork) -> None:
    await grants.revoke_grants(stage.store, holder=ALICE, target_name="sales", **BY)


async def _grant(stage: Stage, _work: ManagedWork) -> None:
    until = datetime.now(UTC) + timedelta(hours=3)
    await grants.create_grant(stage.store, holder=ALICE, target_name="sales", mode=RO, valid_until=until, **BY)


async def _prolong(stage: Stage, _work: ManagedWork) -> None:
    until = datetime.now(UTC) + timedelta(days=2)
    await grants.create_grant(
        stage.store, holder=ALICE, target_name="sales", mode=RO, valid_until=until, replace_live=True, **BY
    )


async def _look(stage: Stage, work: ManagedWork) -> None:
    await stage.round(work)


async def _delete_user(stage: Stage, _work: ManagedWork) -> None:
    await users.delete_user(stage.store, name="alice", **BY)


async def _other_role(stage: Stage, _work: ManagedWork) -> None:
    await targets.set_login(
        stage.store,
        stage.vault,
        name="sales",
        mode=RO,
        login="other_ro",
        password=Secret("upstream-canary-55d0"),
        **BY,
    )


async def _switch_off(stage: Stage, _work: ManagedWork) -> None:
    await stage.manage(ManagedMode.OFF)


LIVES: dict[str, list[Act]] = {
    "come, go": [_come, _revoke, _look],
    "come, come": [_come, _come],
    "prolonged": [_come, _prolong, _look, _come],
    "revoked and granted again while it is dropped": [_come, _revoke, _look, _grant, _come, _look],
    "granted again before anybody looked": [_come, _revoke, _grant, _come, _look],
    "the account is deleted": [_come, _delete_user, _look],
    "another database role": [_come, _other_role, _look, _come],
    "switched off": [_come, _switch_off, _look],
}


async def _live(stage: Stage, life: str) -> None:
    """What people do, they do again after a crash; what is looked after is looked after by another process."""
    await stage.manage(ManagedMode.PER_USER)
    work = stage.work()
    for act in LIVES[life]:
        try:
            await act(stage, work)
        except Crash:
            work = stage.work(steps=Steps())
            await act(stage, work)
    await stage.settle()
    await stage.check()


@pytest.mark.parametrize("life", LIVES)
async def test_wherever_a_process_ends_the_next_one_comes_to_the_same(world: World, life: str) -> None:
    snapshot = await world.store.read()
    whole = Stage(RememberedStore(snapshot), world.vault)
    await _live(whole, life)
    assert whole.steps.passed
    for stop in range(1, len(whole.steps.passed) + 1):
        stage = Stage(RememberedStore(snapshot), world.vault, steps=Steps(stop))
        await _live(stage, life)
        assert len(stage.steps.passed) == stop
        assert set(stage.server.roles) == set(whole.server.roles)


@pytest.mark.parametrize("stop", [None, 1, 3, 5])
async def test_over_a_real_store_too(world: World, stop: int | None) -> None:
    await _live(Stage(world.store, world.vault, steps=Steps(stop)), "revoked and granted again while it is dropped")


async def test_later_sessions_cost_nothing(stage: Stage) -> None:
    work = stage.work()
    first = await work.ensure(await stage.key(), None, "session s1")
    changes, revision = list(stage.server.changes), (await stage.store.read()).revision
    key = await stage.key()
    again = await asyncio.gather(*(work.ensure(key, None, f"session {n}") for n in range(5)))
    assert {each.id for each in again} == {first.id}
    assert stage.server.changes == changes == ["make"]
    assert (await stage.store.read()).revision == revision


async def test_many_who_come_at_once_have_it_made_once(stage: Stage) -> None:
    work = stage.work()
    key = await stage.key()
    found = await asyncio.gather(*(work.ensure(key, None, f"session {n}") for n in range(8)))
    assert len({each.login for each in found}) == 1
    assert stage.server.changes == ["make"]


async def test_a_login_that_the_server_does_not_take_is_made_anew(stage: Stage) -> None:
    work = stage.work()
    first = await work.ensure(await stage.key(), None, "session s1")
    stage.server.roles.clear()  # somebody dropped it
    second = await work.ensure(await stage.key(), first.sealed_secret, "session s2")
    assert (second.id, second.login) == (first.id, first.login)
    assert second.sealed_secret != first.sealed_secret
    third = await work.ensure(await stage.key(), first.sealed_secret, "session s3")  # who was refused a moment ago, too
    assert third.sealed_secret == second.sealed_secret
    await stage.check()


async def test_a_name_that_is_taken_is_left_to_whose_it_is(stage: Stage) -> None:
    work = stage.work()
    first = await work.ensure(await stage.key(), None, "session s1")
    await _revoke(stage, work)
    await stage.settle()
    stage.server.taken.add(first.login)
    await _grant(stage, work)
    second = await work.ensure(await stage.key(), None, "session s2")
    assert second.login != first.login
    assert second.login.startswith("pgb_alice_")
    await stage.check()


async def test_who_comes_back_has_the_same_name(stage: Stage) -> None:
    """Rules on the server may name it: a row-level policy, say."""
    work = stage.work()
    first = await work.ensure(await stage.key(), None, "session s1")
    await _revoke(stage, work)
    await stage.settle()
    await _grant(stage, work)
    second = await work.ensure(await stage.key(), None, "session s2")
    assert second.login == first.login
    assert second.id != first.id
    assert second.sealed_secret != first.sealed_secret


async def test_a_role_is_kept_while_its_sessions_last_and_when_the_server_refuses(stage: Stage) -> None:
    work = stage.work()
    login = await work.ensure(await stage.key(), None, "session s1")
    await _revoke(stage, work)
    stage.server.in_use.add(login.login)
    target = await stage.target()
    assert await work.attend(target, login, None, end_sessions=False) is Next.SOON
    assert not stage.server.roles[login.login].enabled
    stage.server.in_use.clear()
    stage.server.stuck[login.login] = 'in database "other": permission denied'
    assert await work.attend(target, login, None, end_sessions=False) is Next.LATER
    (kept,) = (await stage.store.read()).managed_logins
    assert (kept.state, kept.finding) == (ManagedState.KEPT, 'in database "other": permission denied')
    with pytest.raises(ServiceError, match="of their own on the server") as refused:
        await targets.delete_target(stage.store, name="sales", **BY)
    assert refused.value.rule == "managed-logins-there"
    stage.server.stuck.clear()
    await stage.settle()
    await stage.check()
    await targets.delete_target(stage.store, name="sales", **BY)


async def test_what_fails_is_said_and_nobody_gets_in(stage: Stage) -> None:
    work = stage.work()
    stage.server.taken.update({await _name(stage, attempt) for attempt in range(4)})
    with pytest.raises(ServiceError) as refused:
        await work.ensure(await stage.key(), None, "session s1")
    assert refused.value.rule == "managed-login-unavailable"
    (row,) = (await stage.store.read()).managed_logins
    assert row.state is ManagedState.CREATING
    assert "somebody else's" in row.finding
    stage.server.taken.clear()
    await stage.settle()
    await stage.check()


async def test_orphans_are_roles_that_no_row_speaks_of(stage: Stage) -> None:
    work = stage.work()
    await work.ensure(await stage.key(), None, "session s1")
    await grants.create_grant(stage.store, holder=ALICE, target_name="sales", mode=RW, **BY)
    kept = set(stage.server.roles)
    spec = next(iter(stage.server.roles.values())).spec
    stage.server.roles["pgb_gone_123456"] = replace(
        next(iter(stage.server.roles.values())), spec=replace(spec, login="pgb_gone_123456")
    )
    assert [each.login for each in await orphans_on(stage.server, stage.store)] == ["pgb_gone_123456"]
    dropped = await drop_orphans(stage.store, stage.server, await stage.target(), by=SYSTEM, reason="")
    assert [(each.login, each.left) for each in dropped] == [("pgb_gone_123456", Left.NOTHING)]
    assert set(stage.server.roles) == kept
    assert [each.event.action for each in await stage.store.read_events()][-1] == "managed_login.orphan_dropped"


async def test_a_login_for_each_grant(stage: Stage) -> None:
    await stage.manage(ManagedMode.PER_GRANT)
    work = stage.work()
    snapshot = await stage.store.read()
    (grant,) = snapshot.grants[snapshot.users["alice"].id]
    login = await work.ensure(await stage.key(RO, grant.id), None, "session s1")
    with pytest.raises(ServiceError):
        await work.ensure(await stage.key(), None, "session s1")  # not on this target
    await _prolong(stage, work)  # another grant in its place
    await stage.settle()
    assert login.login not in stage.server.roles


def test_a_target_with_managed_logins_stays_where_it_is(stage: Stage) -> None:
    async def run() -> None:
        work = stage.work()
        await work.ensure(await stage.key(), None, "session s1")
        snapshot, target = await stage.store.read(), await stage.target()
        check_managed_stay(snapshot, [replace(target, enabled=False)], [])
        for changed in (replace(target, host="elsewhere"), replace(target, port=1), replace(target, dbname="other")):
            with pytest.raises(ServiceError):
                check_managed_stay(snapshot, [changed], [])

    asyncio.run(run())


async def _name(stage: Stage, attempt: int) -> str:
    from gateway.access.managed import login_name

    return login_name(stage.gateway_id, await stage.key(), "alice", attempt)
