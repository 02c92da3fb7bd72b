"""The sequence that requests are there for, acted out: a whole gateway, Slack and PagerDuty on loopback, and real psql.

ana asks in Slack and ben decides there; dora is on call, and nobody has to. What it leads to is seen by psql and by the database,
never taken from what the gateway says of itself. A psql that is open when a right ends reads why.
"""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from psycopg import sql

from gateway.access.approvals import AutomaticRule, RuleKind
from gateway.access.managed import ManagedMode
from gateway.access_mode import AccessMode
from gateway.notify.slack import names
from gateway.secret import Secret
from gateway.services import approval_policies, groups, users
from gateway.services.approval_terms import NamedStep
from gateway.services.managed_logins import set_managed
from gateway.services.target_admins import keep_admin
from tests.support.doors import missing
from tests.support.fakes.pagerduty import TOKEN, Account, pagerduty
from tests.support.fakes.slack import kit
from tests.support.fakes.slack.acting import Acting
from tests.support.fakes.slack.server import FakeSlack, running_slack
from tests.support.fakes.slack.state import Posting
from tests.support.gateway import WHY, Person, RunningGateway, running_gateway
from tests.support.upstream import Database, Login

SCHEDULE: Final = "PONCALL"
WAIT_SECONDS: Final = 20.0
READ: Final = "SELECT count(*) FROM accounts"
ENDLESS: Final = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b"
WRITE: Final = "DELETE FROM accounts"


@dataclass
class Psql:
    """One that has ended."""

    status: int
    out: str
    err: str


@dataclass
class Stage:
    gateway: RunningGateway
    slack: FakeSlack
    duty: Account
    database: Database
    channel: str
    members: dict[str, str]
    people: dict[str, Person]
    target: str
    role: str
    still_running: list[asyncio.subprocess.Process] = field(default_factory=list)

    def acting(self, name: str) -> Acting:
        return Acting(self.slack, self.members[name])

    async def psql(self, name: str, *statements: str) -> Psql:
        """Somebody's psql, to its end."""
        process = await self.psql_begins(name, *statements)
        out, err = await process.communicate()
        return Psql(process.returncode or 0, out.decode().strip(), err.decode())

    async def psql_begins(self, name: str, *statements: str) -> asyncio.subprocess.Process:
        """Not yet ended."""
        person, gateway = self.people[name], self.gateway
        place = f"host={gateway.host} port={gateway.port} dbname={self.target} user={person.name}"
        command = ["psql", "-X", "-A", "-t", *(part for each in statements for part in ("-c", each))]
        process = await asyncio.create_subprocess_exec(
            *command,
            f"{place} sslmode=verify-full sslrootcert={gateway.ca_file}",
            env={**os.environ, "PGPASSWORD": person.password, "PGCONNECT_TIMEOUT": "10"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        self.still_running.append(process)
        return process

    async def asks(self, name: str, **filled: Any) -> Posting:
        """By the slash command and its form; the message that the approvers see."""
        who, before, forms = self.acting(name), len(self.in_channel()), len(self.slack.state.modals)
        await who.slash(f"request {self.target}")
        await until(lambda: len(self.slack.state.modals) > forms and kit.inputs(who.modal().view))
        if "access" in filled:
            await who.choose(names.ACCESS, filled.pop("access"))
            await until(lambda: any(block["block_id"].startswith(names.ROLE) for block in who.modal().view["blocks"]))
        modal = await who.submit(**filled)
        assert not modal.errors, modal.errors
        found = await until(lambda: self.in_channel()[before:])
        assert isinstance(found[0], Posting)
        return found[0]

    def in_channel(self) -> list[Posting]:
        every = self.slack.state.postings
        return [each for each in every if each.channel == self.channel and each.ephemeral_to is None and not each.thread_ts]

    async def hears(self, name: str, said: str) -> Posting:
        """The newest message of that person's own in which this stands, once it does."""
        try:
            found = await until(lambda: [each for each in self.acting(name).told() if said in each.words])
        except TimeoutError:
            heard = "\n".join(each.words for each in self.acting(name).told())
            raise AssertionError(f"{name} does not read {said!r}, but:\n{heard}") from None
        assert isinstance(found[-1], Posting)
        return found[-1]

    def upstream(self, query: str, *values: object) -> Any:
        """What the database itself says."""
        with self.database.upstream.connect(self.database.name) as connection:
            row = connection.execute(query, values or None).fetchone()
            assert row is not None
            return row[0]

    def running(self) -> int:
        """How many run ENDLESS upstream."""
        found = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND datname = %s AND query = %s"
        return int(self.upstream(found, self.database.name, ENDLESS))


async def until(holds: Callable[[], Any]) -> Any:
    async with asyncio.timeout(WAIT_SECONDS):
        while not (found := holds()):  # noqa: ASYNC110 - of what others do
            await asyncio.sleep(0.05)
    return found


@pytest.fixture
async def stage(database: Database, tmp_path: Path) -> AsyncIterator[Stage]:
    if shutil.which("psql") is None:
        missing("psql", "postgresql-client")
    async with contextlib.AsyncExitStack() as stack:
        duty = stack.enter_context(pagerduty())
        slack = await stack.enter_async_context(running_slack())
        ring = stack.enter_context(contextlib.ExitStack())
        gateway = await asyncio.to_thread(ring.enter_context, running_gateway(**sections(tmp_path, slack, duty)))
        stage = await asyncio.to_thread(set_up, gateway, slack, duty, database)
        await slack.until_connected()
        try:
            yield stage
        finally:
            for process in stage.still_running:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            await clean_up(stage)
            await asyncio.to_thread(ring.close)


def sections(folder: Path, slack: FakeSlack, duty: Account) -> dict[str, dict[str, Any]]:
    files = {"bot_token": slack.bot_token, "app_token": slack.app_token, "pagerduty_token": TOKEN}
    for name, value in files.items():
        (folder / name).write_text(value)
    (folder / "pagerduty.pem").write_bytes(duty.authority)
    tokens = {f"{name}_file": str(folder / name) for name in ("bot_token", "app_token")}
    return {
        "slack": {"api_url": slack.api_url, **tokens},
        "pagerduty": {
            "base_url": duty.url,
            "token_file": str(folder / "pagerduty_token"),
            "ca_file": str(folder / "pagerduty.pem"),
        },
    }


def set_up(gateway: RunningGateway, slack: FakeSlack, duty: Account, database: Database) -> Stage:
    """Nobody holds a grant. A policy opens reading, and an existing database role, to whoever asks and is approved."""
    people, members, admin = {}, {}, gateway.admin
    for name in ("ana", "ben", "dora"):
        people[name] = gateway.person(f"{name}_{database.name[-6:]}")
        admin.change(users.update_user(admin.store, name=people[name].name, email=f"{name}@example.com", **WHY))
        members[name] = slack.state.member(name)
    channel = slack.state.channel(*members.values())
    duty.shifts = {SCHEDULE: ["dora@example.com"]}
    target, role = gateway.target(database), f"payroll_{database.name}"
    manage(gateway, database, target, role)
    admin.change(groups.create_group(admin.store, name="dba", members=[people["ben"].name], **WHY))
    policy = approval_policies.create_policy(
        admin.store,
        name="reading",
        environment="default",
        modes=frozenset({AccessMode.READ_ONLY}),
        steps=(NamedStep(("group:dba",)),),
        rules=(AutomaticRule(RuleKind.ON_CALL, 3600),),
        on_call=SCHEDULE,
        database_roles=frozenset({role}),
        announce=(f"slack:{channel}",),
        **WHY,
    )
    admin.change(policy)
    return Stage(gateway, slack, duty, database, channel, members, people, target, role)


def manage(gateway: RunningGateway, database: Database, target: str, role: str) -> None:
    """A role that reads what nobody else may, and an admin's login that makes people's own database roles."""
    login = Login(f"adm_{database.name}", Secret("the admin's own password"))
    name, admin = sql.Identifier(login.name), gateway.admin
    with database.upstream.connect(database.name) as root:
        root.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
        root.execute("CREATE TABLE public.payroll AS SELECT 4711 AS salary")
        root.execute(sql.SQL("GRANT SELECT ON public.payroll TO {}").format(sql.Identifier(role)))
        root.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD {}").format(name, login.password.reveal()))
        root.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(database.name), name))
        option = "WITH ADMIN OPTION" if database.upstream.major >= 16 else ""
        given = sql.SQL("GRANT app_ro, app_rw, {} TO {} {}").format(sql.Identifier(role), name, sql.SQL(option))
        if option:
            root.execute(given)
    admin.change(keep_admin(admin.store, admin.vault, name=target, login=login.name, password=login.password, **WHY))
    admin.change(set_managed(admin.store, admin.vault, name=target, mode=ManagedMode.PER_USER, **WHY))


async def clean_up(stage: Stage) -> None:
    """Other tests use the same server: no role stays."""
    admin = stage.gateway.admin
    await set_managed(admin.store, admin.vault, name=stage.target, mode=ManagedMode.OFF, **WHY)
    roles = "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'pgb\\_%%' AND rolname LIKE %s"
    await until(lambda: stage.upstream(roles, f"%{stage.database.name[-6:]}%") == 0)
    with stage.database.upstream.connect(stage.database.name) as root:
        for name in (f"adm_{stage.database.name}", stage.role):
            root.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(name)))


async def test_asked_decided_ended(stage: Stage) -> None:
    await nothing_stands_open(stage)
    posting = await asked_and_approved(stage)
    await reads_and_does_not_write(stage)
    await given_back_ends_what_is_open(stage, posting)
    await denied(stage)
    await on_call_needs_nobody(stage)
    await a_database_role_for_a_time(stage)
    await its_time_is_over(stage)


async def nothing_stands_open(stage: Stage) -> None:
    found = await stage.psql("ana", READ)
    assert found.status == 2
    assert "does not exist, or you have no grant for it" in found.err
    assert "pgbastion request" in found.err, "it says what to do next"


async def asked_and_approved(stage: Stage) -> Posting:
    posting = await stage.asks("ana", reason="orders are stuck", duration="2 hours")
    assert {names.APPROVE, names.DENY} == set(posting.buttons)
    await stage.hears("ana", "Your request 1")
    await stage.acting("ana").press(posting, names.APPROVE)
    await stage.hears("ana", "Nobody decides about their own request")
    assert (await stage.psql("ana", READ)).status == 2
    await stage.acting("ben").press(posting, names.APPROVE)
    await until(lambda: not posting.buttons)
    given = await stage.hears("ana", "is approved")
    assert "It expires <!date^" in given.words
    assert names.RELINQUISH in given.buttons
    return given


async def reads_and_does_not_write(stage: Stage) -> None:
    found = await stage.psql("ana", READ)
    assert (found.status, found.out) == (0, "50"), found.err
    found = await stage.psql("ana", WRITE)
    assert found.status == 1
    assert "42501" in found.err or "read_only" in found.err or "read-only" in found.err, found.err
    assert stage.upstream(READ) == 50


async def given_back_ends_what_is_open(stage: Stage, given: Posting) -> None:
    session = await stage.psql_begins("ana", ENDLESS)
    await until(lambda: stage.running() == 1)
    pressed = asyncio.get_running_loop().time()
    await stage.acting("ana").press(given, names.RELINQUISH)
    _, err = await session.communicate()
    assert asyncio.get_running_loop().time() - pressed < 5  # promised: a second from the commit; see tests.bench.request_ends
    assert session.returncode == 2
    assert "FATAL" in err.decode()
    assert "request 1 was given back" in err.decode()
    await until(lambda: stage.running() == 0)
    assert (await stage.psql("ana", READ)).status == 2
    await stage.hears("ana", "is given back")


async def denied(stage: Stage) -> None:
    posting = await stage.asks("ana", reason="once more", duration="1h")
    ben = stage.acting("ben")
    await ben.press(posting, names.DENY)
    await until(lambda: any(each.is_open and each.member == ben.member for each in stage.slack.state.modals.values()))
    await ben.submit(comment="use the replica")
    denied = await stage.hears("ana", "was denied by")
    assert "use the replica" in denied.words
    assert (await stage.psql("ana", READ)).status == 2


async def on_call_needs_nobody(stage: Stage) -> None:
    posting = await stage.asks("dora", reason="paged", duration="1h")
    given = await stage.hears("dora", "is approved")
    assert names.RELINQUISH in given.buttons
    await until(lambda: not posting.buttons)
    assert stage.duty.asked >= 1
    assert (await stage.psql("dora", READ)).out == "50"
    await until(lambda: [each for each in stage.gateway.events(action="access_request.approved") if "on-call" in str(each)])


async def a_database_role_for_a_time(stage: Stage) -> None:
    assert stage.upstream("SELECT count(*) FROM payroll") == 1
    posting = await stage.asks("ana", access="role:read_only", role=stage.role, reason="salaries", duration="1h")
    await stage.acting("ben").press(posting, names.APPROVE)
    await until(lambda: not posting.buttons)
    found = await stage.psql("ana", "SELECT salary FROM payroll", "SELECT current_user")
    assert found.status == 0, found.err
    salary, role = found.out.splitlines()
    assert salary == "4711"
    member = "SELECT pg_has_role(%s, %s, 'MEMBER')"
    assert stage.upstream(member, role, stage.role) is True
    (given,) = await until(lambda: [each for each in stage.acting("ana").told() if names.RELINQUISH in each.buttons])
    await stage.acting("ana").press(given, names.RELINQUISH)
    await until(lambda: stage.upstream("SELECT count(*) FROM pg_roles WHERE rolname = %s", role) == 0)
    assert (await stage.psql("ana", READ)).status == 2


async def its_time_is_over(stage: Stage) -> None:
    posting = await stage.asks("ana", reason="a minute will do", duration="1m")
    await stage.acting("ben").press(posting, names.APPROVE)
    await until(lambda: not posting.buttons)
    session = await stage.psql_begins("ana", READ, ENDLESS)
    out, err = await asyncio.wait_for(session.communicate(), 75)
    assert out.decode().split() == ["50"]
    assert session.returncode == 2
    assert "FATAL" in err.decode()
    assert "expired" in err.decode()
    await stage.hears("ana", "expired")
    await until(lambda: "xpired" in posting.words)
    assert (await stage.psql("ana", READ)).status == 2
    assert stage.upstream(READ) == 50
