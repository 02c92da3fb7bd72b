"""Catalogs of a worker: read from a real server by the login of sessions, once for all of them, and only while they are needed."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.access.model import DatabaseRole, ListMode, Target, TlsMode
from gateway.access_mode import AccessMode
from gateway.custody.sources import KeptSecrets
from gateway.proxy.catalog_reading import Answers, read_answers
from gateway.proxy.catalogs import Catalogs, CatalogUnavailable, Hold
from gateway.proxy.registry import Session
from gateway.proxy.upstream import UpstreamDialer
from gateway.secret import Secret
from gateway.session.upstream_login import UpstreamRefused
from gateway.settings import CurrentSettings, Settings
from gateway.settings.model import Policy as PolicySettings
from gateway.statements.catalog import Catalog
from tests.policy.catalogs import load_catalog
from tests.support.one_secret import dialer_with
from tests.support.snapshots import world
from tests.support.upstream import Database

READ = AccessMode.READ_ONLY


def target_of(database: Database, **changes: Any) -> Target:
    upstream = database.upstream
    made = Target(
        id="t",
        name="shop",
        host=upstream.host,
        port=upstream.port,
        dbname=database.name,
        tls=TlsMode.VERIFY_FULL if upstream.has_tls else TlsMode.DISABLE,
        ca_pem=upstream.ca_file.read_text() if upstream.has_tls else None,
        allow_md5=False,
        enabled=True,
        allowlist=ListMode.INHERIT,
        roles={READ: DatabaseRole("r", database.app_ro.name, b"sealed")},
    )
    return replace(made, **changes)


class Place:
    """What `Catalogs` asks of a worker: a directory with one target, and a vault with one secret."""

    def __init__(self, target: Target, secret: Secret, **policy: float) -> None:
        self.snapshot = world(target=target)
        self.secret = secret
        self.prepared: list[Catalog] = []
        self.superseded: list[Catalog] = []
        self.judged_anew: list[str] = []
        settings = Settings(state_dir=Path("/nowhere"), policy=PolicySettings(**policy))  # type: ignore[arg-type]
        self.catalogs = Catalogs(
            CurrentSettings(settings),
            self,  # type: ignore[arg-type]
            UpstreamDialer(KeptSecrets(self)),
            lambda _target, _mode, catalog: self.prepared.append(catalog),
            self._judge_anew,
            self.superseded.append,
        )

    def _judge_anew(self, followers: Mapping[str, Session]) -> None:
        self.judged_anew.extend(followers)

    def open(self, role: DatabaseRole) -> Secret:
        return self.secret

    @property
    def target(self) -> Target:
        return next(iter(self.snapshot.targets.values()))

    async def hold(self) -> Hold:
        return await self.catalogs.hold(self.target, READ, self.target.roles[READ])

    @property
    def loads(self) -> int:
        return self.catalogs.tally.loads


Make = Callable[..., Place]


def session(name: str) -> Session:
    """Who follows a catalog: nothing is asked of it here but its name."""
    return cast("Session", SimpleNamespace(session_id=name))


@pytest.fixture
async def place(database: Database) -> AsyncIterator[Make]:
    made: list[Place] = []

    def make(**policy: float) -> Place:
        made.append(Place(target_of(database), database.app_ro.password, **policy))
        return made[-1]

    yield make
    for each in made:
        each.catalogs.close()


async def until(done: Callable[[], bool], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not done():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def read(database: Database, target: Target, seconds: float = 15.0) -> Answers:
    role = target.roles[READ]
    return await read_answers(
        dialer_with(database.app_ro.password), target, role, mode=READ, timeout_seconds=seconds, iterations_max=100_000
    )


async def test_what_is_read_is_what_is_there(database: Database) -> None:
    """Whatever it is called: the answers are those that a driver gets."""
    with database.superuser() as superuser:
        superuser.execute(r"""
            CREATE FUNCTION public."tab	new
line \ back \N ""q"" é"(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
            CREATE FUNCTION public."\N"(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
            CREATE DOMAIN public.d AS text CHECK (VALUE <> E'a\tb\\c\n');
            CREATE VIEW public.v AS SELECT E'x\\\n\r\b\f\v' AS "c\d"
        """)
    answers = await read(database, target_of(database))
    assert answers.as_catalog() == load_catalog(database.connect(database.app_ro))
    assert (await read(database, target_of(database))).digest == answers.digest


async def test_everybody_shares_one_reading(place: Make) -> None:
    here = place()
    holds = await asyncio.gather(*(here.hold() for _ in range(20)))
    assert here.loads == 1
    assert len({id(hold.now) for hold in holds}) == 1
    assert here.prepared == [holds[0].now]
    assert here.catalogs.held == 1
    for hold in holds:
        hold.leave()
        hold.leave()
    assert here.catalogs.held == 0
    (await here.hold()).leave()
    assert here.loads == 1  # not long ago
    assert not here.superseded


async def test_it_is_kept_fresh_while_somebody_holds_it(place: Make, database: Database) -> None:
    here = place(catalog_seconds=0.1)
    hold = await here.hold()
    first = hold.now
    hold.follow(session("s-1"))
    await until(lambda: here.loads > 3)
    assert not here.judged_anew
    assert len(here.prepared) == 1  # the same answers are not worked out again
    database.superuser().execute("CREATE FUNCTION public.fresh(int) RETURNS int LANGUAGE sql AS 'SELECT 1'")
    await until(lambda: bool(here.judged_anew))
    assert "fresh" in hold.now.functions
    assert here.superseded == [first]
    hold.leave()
    await asyncio.sleep(0.3)
    loads = here.loads
    await asyncio.sleep(0.3)
    assert here.loads == loads
    database.superuser().execute("DROP FUNCTION public.fresh(int)")
    assert "fresh" not in (await here.hold()).now.functions  # older than it may be without a keeper
    assert here.judged_anew == ["s-1"]


async def test_nobody_keeps_what_nobody_needs(place: Make) -> None:
    here = place(catalog_stale_seconds=0.3)
    (await here.hold()).leave()
    assert here.catalogs._entries
    await until(lambda: not here.catalogs._entries)


async def test_what_ddl_touched_is_read_again_soon_and_not_without_a_break(place: Make) -> None:
    here = place(catalog_seconds=3600.0)
    hold = await here.hold()
    loop = asyncio.get_running_loop()
    started = loop.time()
    for _ in range(50):
        here.catalogs.suspect("t")
        here.catalogs.suspect("another")
        await asyncio.sleep(0.01)
    await until(lambda: here.loads >= 2)
    assert here.loads <= 2 + (loop.time() - started) / 0.05
    await asyncio.sleep(1)
    settled = here.loads
    await asyncio.sleep(0.5)
    assert here.loads == settled
    hold.leave()
    here.catalogs.suspect("t")
    await asyncio.sleep(0.2)
    assert here.loads == settled  # nobody needs it
    await here.hold()
    assert here.loads == settled + 1


async def test_a_refresh_sees_what_was_there_when_it_was_asked_for(place: Make, database: Database) -> None:
    here = place(catalog_seconds=3600.0)
    assert await here.catalogs.refresh("t") == []
    hold = await here.hold()
    with database.superuser() as superuser:
        for number in range(5):
            slow = asyncio.create_task(here.catalogs.refresh("t"))  # it may look before the function is there
            await asyncio.sleep(0.005 * number)
            superuser.execute(f"CREATE FUNCTION public.r{number}(int) RETURNS int LANGUAGE sql AS 'SELECT 1'")  # type: ignore[call-overload]
            ((found,), _) = await asyncio.gather(here.catalogs.refresh("t"), slow)
            assert not found.failure
            assert f"r{number}" in hold.now.functions
            assert found.revision == hold.now.revision


async def test_when_it_cannot_be_read_the_last_one_serves_until_it_is_stale(place: Make) -> None:
    here = place(catalog_seconds=0.1, catalog_stale_seconds=1.0)
    hold = await here.hold()
    fresh = hold.now
    hold.follow(session("s-1"))
    target, right, here.secret = here.target, here.secret, Secret("no longer")
    role = replace(target.roles[READ], sealed_secret=b"changed")
    here.snapshot = world(target=replace(target, roles={READ: role}))
    await until(lambda: here.catalogs.tally.failures > 1)
    assert hold.now is fresh
    (await here.hold()).leave()
    await until(lambda: bool(here.judged_anew))
    assert hold.now.stale
    assert here.catalogs.oldest_seconds >= 1.0
    with pytest.raises(CatalogUnavailable):
        await here.hold()
    (refreshed,) = await here.catalogs.refresh("t")
    assert refreshed.failure == "refused"
    here.secret, here.snapshot = right, world(target=target)
    await until(lambda: not hold.now.stale)
    assert hold.now == fresh
    assert here.judged_anew == ["s-1", "s-1"]


async def test_a_target_that_moved_has_no_catalog(place: Make) -> None:
    here = place()
    before = here.target
    here.snapshot = replace(here.snapshot, targets={"shop": replace(before, dbname="elsewhere")})
    with pytest.raises(CatalogUnavailable) as caught:
        await here.catalogs.hold(before, READ, before.roles[READ])
    assert caught.value.kind == "gone"
    assert not here.catalogs._entries


async def test_who_gives_up_waiting_leaves_the_others_alone(place: Make) -> None:
    here = place()
    impatient = asyncio.create_task(here.hold())
    patient = asyncio.create_task(here.hold())
    await asyncio.sleep(0)
    impatient.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await impatient
    assert (await patient).now is not None
    assert here.loads == 1


async def test_a_mute_server_is_not_waited_for(database: Database) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        mute.listen()
        target = target_of(database, port=mute.getsockname()[1], tls=TlsMode.DISABLE, ca_pem=None)
        loop = asyncio.get_running_loop()
        started = loop.time()
        with pytest.raises(UpstreamRefused):
            await read(database, target, 0.3)
        assert loop.time() - started < 2


async def test_a_locked_catalog_is_not_waited_for(database: Database) -> None:
    with database.superuser() as superuser, superuser.transaction():
        superuser.execute("LOCK TABLE pg_catalog.pg_policy IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(UpstreamRefused):
            await read(database, target_of(database), 1.0)
