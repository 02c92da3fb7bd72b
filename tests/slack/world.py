"""A store with a policy, a workspace of Slack, and everything between: Slack's office, and the courier that brings messages out.

ana asks, ben and cleo may decide, dora owns everything; each is a member of the workspace by their confirmed address.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.access.approvals import ApprovalPolicy, BreakGlass, Step
from gateway.access.model import Snapshot
from gateway.access.request_record import AccessRequest
from gateway.access_mode import AccessMode
from gateway.audit.admin_event import AdminEvent
from gateway.notify.courier import Courier
from gateway.notify.delivering import Delivered, Deliverer, Means, Outcome
from gateway.notify.slack.office import SlackOffice
from gateway.ports import OutboxMessage, RequestFilter
from gateway.secret import Secret
from gateway.services import admin_roles, environments, targets, users
from gateway.services.targets import Place
from gateway.settings import Settings
from gateway.store.migrate import upgrade
from gateway.store.sql_store import SqlStore
from gateway.store.unit_of_work import SqlUnitOfWork
from gateway.store.vault import SealedVault, ensure_key
from tests.support.fakes.slack.acting import Acting
from tests.support.fakes.slack.kit import inputs
from tests.support.fakes.slack.server import FakeSlack, running_slack
from tests.support.fakes.slack.state import Modal, Posting
from tests.support.short_names import SHORT_NAMES

BY = {"actor": "os:admin", "reason": "set up"}
RO, RW = AccessMode.READ_ONLY, AccessMode.READ_WRITE
WAIT_SECONDS = 15.0
_EVERY = RequestFilter()


async def make_store(folder: Path) -> None:
    """The people, two databases, and nobody to decide yet."""
    folder.mkdir()  # noqa: ASYNC240
    ensure_key(folder / "master.key")
    url = f"sqlite+aiosqlite:///{folder}/store.sqlite3"
    await upgrade(url)
    store, vault = SqlStore(url), SealedVault.load(folder / "master.key")
    for name in ("ana", "ben", "cleo", "dora", "eve"):
        await users.create_user(store, name=name, password=Secret("person-canary-77"), email=f"{name}@example.com", **BY)
    await admin_roles.change_members(store, name="owners", add=("dora",), **BY)
    await environments.create_environment(store, name="prod", **BY)
    for name in ("shop", "books"):
        await targets.create_target(store, name=name, place=Place("db.example", 5432, "prod"), environment="prod", **BY)
        for mode in (RO, RW):
            await targets.set_login(store, vault, name=name, mode=mode, login=f"app_{mode}", password=Secret("up-77"), **BY)


class HeldStore(SqlStore):
    """A store whose changes may be kept waiting. `told`: called after each."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, on_commit=lambda _revision: self.told())
        self.told: Callable[[], None] = lambda: None
        self.free = asyncio.Event()
        self.free.set()

    @contextlib.asynccontextmanager
    async def begin(self) -> AsyncIterator[SqlUnitOfWork]:
        await self.free.wait()
        async with super().begin() as work:
            yield work


@dataclass
class SlackWorld:
    folder: Path
    slack: FakeSlack
    settings: Settings
    store: HeldStore
    channel: str
    members: dict[str, str]

    def acting(self, name: str) -> Acting:
        return Acting(self.slack, self.members[name])

    async def policy(self, **changed: Any) -> ApprovalPolicy:
        """The one for prod, as it is from now on."""
        async with self.store.begin() as work:
            ids = {user.name: user.id for user in work.snapshot.users.values()}
            place = work.snapshot.environments["prod"].id
            known = work.snapshot.approval_policies.get("production")
            policy = known or ApprovalPolicy(
                id="policy-1",
                name="production",
                environment_id=place,
                modes=frozenset({RO, RW}),
                steps=(Step(frozenset({ids["ben"], ids["cleo"]})),),
                default_seconds=3600,
                max_seconds=28_800,
                announce=(f"slack:{self.channel}",),
            )
            if "needed" in changed:
                changed["steps"] = (replace(policy.steps[0], needed=changed.pop("needed")),)
            if "glass" in changed:
                changed["break_glass"] = BreakGlass(frozenset({ids[changed.pop("glass")]}), 1800)
            policy = replace(policy, **changed)
            work.put(policy)
            await work.commit(AdminEvent("os:admin", "approval_policy.updated", policy.id, policy.name, "set up", {}))
        return policy

    async def snapshot(self) -> Snapshot:
        return await self.store.read()

    async def request(self, number: int = 1) -> AccessRequest:
        found = await self.store.access_request(number)
        assert found is not None, f"there is no request {number}"
        return found

    def announced(self, number: int = 1) -> Posting | None:
        """The message of the channel about a request."""
        return next((each for each in self.in_channel() if f"equest {number}" in each.text), None)

    def in_channel(self) -> list[Posting]:
        postings = self.slack.state.postings
        return [each for each in postings if each.channel == self.channel and each.ephemeral_to is None and not each.thread_ts]

    def told(self, name: str) -> str:
        """All that this person alone has read."""
        return "\n".join(each.words for each in self.acting(name).told())

    async def hears(self, name: str, said: str) -> Posting:
        """The message in which somebody reads this, once they do; nobody else sees it."""
        return await self.until(lambda: next((each for each in self.acting(name).told() if said in each.words), None))

    async def form(self, name: str) -> Modal:
        """The form with fields that somebody has open, once it is."""
        return await self.view(name, lambda modal: bool(inputs(modal.view)))

    async def view(self, name: str, holds: Callable[[Modal], bool]) -> Modal:
        """Whatever stands in the last form that somebody has open, once this holds of it."""
        member, opened = self.members[name], self.slack.state.modals

        def last() -> Modal | None:
            found = [each for each in opened.values() if each.member == member and each.is_open]
            return found[-1] if found and holds(found[-1]) else None

        return await self.until(last)

    async def until(self, holds: Callable[[], Any]) -> Any:
        """What it gives once it gives something."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not (found := holds()):  # noqa: ASYNC110 - of what others do
                await asyncio.sleep(0.02)
        return found

    async def asked(self, name: str = "ana", **filled: Any) -> Posting:
        """Somebody asks by the form; the message with the buttons."""
        who = self.acting(name)
        await who.slash("request shop")
        await self.form(name)
        number = len(await self.store.access_requests(_EVERY)) + 1
        modal = await who.submit(**{"reason": "orders are stuck", **filled})
        assert not modal.errors, modal.errors
        found = await self.until(lambda: self.announced(number))
        assert isinstance(found, Posting)
        return found


@contextlib.asynccontextmanager
async def slack_world(folder: Path) -> AsyncIterator[SlackWorld]:
    """Over `folder`, a copy of what `make_store` made. Socket Mode; the courier runs."""
    async with bare_world(folder) as world:
        means = Means(
            settings=world.settings,
            store=world.store,
            vault=SealedVault.load(world.settings.key_file),
            snapshot=_never,
            clock=lambda: datetime.now(UTC),
        )
        office = SlackOffice(means, ping_seconds=0.5)
        ways = _Ways(office, world.store)
        courier = Courier(world.store.outbox, ways, world.settings.notify, means.clock, first_pause_seconds=0.2)
        world.store.told = courier.wake
        await office.start()
        running = asyncio.create_task(courier.run())
        try:
            await world.slack.until_connected()
            yield world
        finally:
            await courier.stop(WAIT_SECONDS)
            await running
            await office.close()
            await _finished()


async def _finished() -> None:
    """What people did is seen through: a driver of SQLite whose work is cancelled with the loop may never come back."""
    working = [task for task in asyncio.all_tasks() if "run_ack_function" in getattr(task.get_coro(), "__qualname__", "")]
    if working:
        await asyncio.wait(working, timeout=WAIT_SECONDS)


@contextlib.asynccontextmanager
async def bare_world(folder: Path) -> AsyncIterator[SlackWorld]:
    """The same, but nobody of ours speaks to Slack yet."""
    async with running_slack() as slack:
        members = {name: slack.state.member(name) for name in ("ana", "ben", "cleo", "dora", "eve")}
        channel = slack.state.channel(*members.values())
        settings = settings_of(folder, slack)
        world = SlackWorld(folder, slack, settings, HeldStore(settings), channel, members)
        await world.policy()
        yield world


def settings_of(folder: Path, slack: FakeSlack) -> Settings:
    section = {"api_url": slack.api_url}
    for name, value in (
        ("bot_token", slack.bot_token),
        ("app_token", slack.app_token),
        ("signing_secret", slack.signing_secret),
    ):
        file = folder / f"slack-{name}"
        file.write_text(f"{value}\n")
        section[f"{name}_file"] = str(file)
    public = {"host": "db.example.com", "port": 6432, "ca_file": "system"}
    return Settings.model_validate({"state_dir": folder, "users": SHORT_NAMES, "slack": section, "public": public})


class _Ways:
    """Who delivers: Slack, to channels and to people."""

    def __init__(self, office: SlackOffice, store: SqlStore) -> None:
        self._office = office
        self._store = store

    def __call__(self, destination: str) -> Deliverer:
        return self if destination.startswith("person:") else self._office

    async def deliver(self, message: OutboxMessage) -> Outcome:
        user_id = message.destination.partition(":")[2]
        snapshot = await self._store.read()
        user = next(each for each in snapshot.users.values() if each.id == user_id)
        return await self._office.deliver_to(message, user) or Delivered(dropped="nobody there")


def _never() -> Snapshot:
    raise AssertionError("the office reads the store")
