"""One small store for tests of the services: alice may read sales, by herself; group analysts, with bob, may read sales too."""

import asyncio
import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway.access.accounts import Identity
from gateway.access.model import Permission, Snapshot, TlsMode, TokenKind, TokenScope, UserKind
from gateway.access_mode import AccessMode
from gateway.audit.admin_event import AdminEvent, RecordedAdminEvent
from gateway.secret import Secret
from gateway.services import (
    accounts,
    admin_roles,
    allowlist,
    approval_policies,
    claim_mappings,
    environments,
    grants,
    groups,
    targets,
    tokens,
    users,
)
from gateway.services.allowlist import Everybody
from gateway.services.approval_terms import NamedStep
from gateway.services.grants import GroupHolder, UserHolder
from gateway.services.targets import Permitted, Place
from gateway.store.migrate import upgrade
from gateway.store.sql_store import SqlStore
from gateway.store.vault import SealedVault, ensure_key

BY = {"actor": "os:admin", "reason": "ticket 17"}
UPSTREAM_CANARY = "upstream-canary-55d0"
PASSWORD_CANARY = "person-canary-8a41"
PLACE = Place("db.example", 5432, "prod")
RO, RW = AccessMode.READ_ONLY, AccessMode.READ_WRITE
ALICE, ANALYSTS = UserHolder("alice"), GroupHolder("analysts")


@dataclass(frozen=True)
class World:
    folder: Path
    url: str
    store: SqlStore
    vault: SealedVault

    async def events(self) -> list[RecordedAdminEvent]:
        return await self.store.read_events()

    async def read(self) -> Snapshot:
        return await self.store.read()

    def at(self, now: datetime) -> SqlStore:
        """The same store by another clock."""
        return SqlStore(self.url, clock=lambda: now)


def in_days(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days)


def moved(place: Place) -> Place:
    return replace(place, host="elsewhere.example", tls=TlsMode.REQUIRE, allow_md5=True)


def made(folder: Path) -> World:
    """A new store with the small world in it."""
    world = opened(folder)
    asyncio.run(_fill(world))
    return world


def opened(folder: Path) -> World:
    ensure_key(folder / "master.key")
    url = f"sqlite+aiosqlite:///{folder}/store.sqlite3"
    return World(folder, url, SqlStore(url), SealedVault.load(folder / "master.key"))


def made_with_admins(folder: Path, template: Path) -> World:
    """The small world with admins: dora signs in by herself, emil through a provider, robot is a machine; the role dba, which
    the provider's dbas hold, may look into prod, where nothing is, and says who may write in the first environment."""
    shutil.copytree(template, folder)
    world = opened(folder)
    asyncio.run(_add_admins(world))
    return world


async def _add_admins(world: World) -> None:
    store = world.store
    for name in ("dora", "emil"):
        await users.create_user(store, name=name, password=Secret(PASSWORD_CANARY), **BY)
    await users.create_user(store, name="robot", kind=UserKind.MACHINE, password=Secret(PASSWORD_CANARY), **BY)
    await accounts.create_account(store, name="dora", password=Secret(PASSWORD_CANARY), **BY)
    await accounts.link_identity(store, name="emil", identity=Identity("https://login.example", "e-1"), **BY)
    await environments.create_environment(store, name="prod", **BY)
    await admin_roles.create_admin_role(store, name="dba", members=("dora",), **BY)
    some = frozenset({Permission.READ})
    await admin_roles.grant_permissions(store, name="dba", environment="prod", permissions=some, **BY)
    await claim_mappings.create_mapping(store, value="dbas", role="dba", **BY)
    steps = (NamedStep(("role:dba",)),)
    await approval_policies.create_policy(
        store, name="writing", environment="default", modes=frozenset({RW}), steps=steps, **BY
    )
    async with store.begin() as work:
        token = replace(
            work.snapshot.tokens["spare"],
            id="sign-in-of-dora",
            name="sign-in-of-dora",
            token_hash=bytes(32),
            kind=TokenKind.SESSION,
            user_id=work.snapshot.users["dora"].id,
        )
        work.put(token)
        await work.commit(AdminEvent("user:dora", "sign_in.created", token.id, token.name, ""))


async def _fill(world: World) -> None:
    await upgrade(world.url)
    store = world.store
    for name in ("alice", "bob"):
        await users.create_user(store, name=name, password=Secret(PASSWORD_CANARY), **BY)
    await users.disable_user(store, name="bob", **BY)
    await groups.create_group(store, name="analysts", members=("bob",), **BY)
    for name in ("sales", "closed"):
        await targets.create_target(store, name=name, place=PLACE, **BY)
        await targets.set_login(store, world.vault, name=name, mode=RO, login="app_ro", password=Secret(UPSTREAM_CANARY), **BY)
    await targets.disable_target(store, name="closed", **BY)
    await targets.permit(store, name="sales", kind=Permitted.FUNCTION, item="shop.f", **BY)
    await grants.create_grant(store, holder=ALICE, target_name="sales", mode=RO, **BY)
    await grants.create_grant(store, holder=ANALYSTS, target_name="sales", mode=RO, **BY)
    await allowlist.create_entry(store, level=Everybody(), network="10.0.0.0/8", **BY)
    for name in ("ci", "spare"):
        await tokens.create_token(store, name=name, scope=TokenScope.READ, valid_until=in_days(90), **BY)
