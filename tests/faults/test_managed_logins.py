"""A gateway that is killed leaves nothing behind: who comes after it finishes what it began, and drops what it lost sight of."""

import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.access.managed import ManagedKey, ManagedLogin, ManagedMode, ManagedState
from gateway.access_mode import AccessMode
from gateway.cli.local import operator
from gateway.services import allowlist
from gateway.services.managed_logins import set_managed
from gateway.services.managed_rows import ManagedRows
from gateway.services.target_admins import keep_admin
from tests.support.gateway import WHY, Person, RunningGateway, start_serve, wait_until_ready, write_config
from tests.support.upstream import Database

ORPHAN = "pgb_lost_0a1b2c"


def until(true: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.05)


def started(directory: Path, config: Path) -> RunningGateway:
    process, log = start_serve(config)
    return RunningGateway(directory, config, "127.0.0.1", operator(config), process, wait_until_ready(process, log), log)


def killed(gateway: RunningGateway) -> None:
    pids = [gateway.process.pid, *gateway.worker_pids()]
    gateway.close_clients()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    gateway.process.wait(10)


def who(gateway: RunningGateway, person: Person, target: str) -> str:
    row = gateway.client(person, target).execute("SELECT current_user").fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_who_comes_after_a_killed_gateway_cleans_up(database: Database) -> None:
    upstream = database.upstream

    def ask(query: str, *values: object) -> list[tuple[object, ...]]:
        with upstream.connect() as root:
            cursor = root.execute(query, values or None)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    with tempfile.TemporaryDirectory(prefix="pgbastion-") as made:
        directory = Path(made)
        config = write_config(directory)
        admin = operator(config)
        admin.change(allowlist.create_entry(admin.store, level=allowlist.Everybody(), network="127.0.0.0/8", **WHY))
        gateway = started(directory, config)
        target = gateway.target(database)
        secret = upstream.superuser_password
        admin.change(keep_admin(admin.store, admin.vault, name=target, login=upstream.superuser, password=secret, **WHY))
        admin.change(set_managed(admin.store, admin.vault, name=target, mode=ManagedMode.PER_USER, **WHY))
        gone, stays, half = (gateway.person() for _ in range(3))
        for person in (gone, stays, half):
            gateway.grant(person, target)
        for person in (gone, stays):
            gateway.settle(person, target)
        names = [who(gateway, person, target) for person in (gone, stays)]
        password = ask("SELECT rolpassword FROM pg_authid WHERE rolname = %s", names[1])
        killed(gateway)

        gateway.revoke(gone, target)  # nobody hears of it
        begun = admin.change(_begin(gateway, half, target))  # and somebody stopped right after he had written it down
        gateway_id = admin.change(admin.store.gateway_id())
        ask(f"CREATE ROLE {ORPHAN}")
        ask(f"COMMENT ON ROLE {ORPHAN} IS 'pgbastion:{gateway_id}:22222222-2222-4222-8222-222222222222 of a test'")

        gateway = started(directory, config)
        try:
            until(lambda: not ask("SELECT FROM pg_roles WHERE rolname IN (%s, %s)", names[0], ORPHAN))
            assert who(gateway, stays, target) == names[1]
            assert ask("SELECT rolpassword FROM pg_authid WHERE rolname = %s", names[1]) == password
            assert who(gateway, half, target) == begun.login
            until(lambda: {login.login for login in admin.read().managed_logins} == {names[1], begun.login})
            assert {login.state for login in admin.read().managed_logins} == {ManagedState.ACTIVE}
            gateway.close_clients()
            admin.change(set_managed(admin.store, admin.vault, name=target, mode=ManagedMode.OFF, **WHY))
            until(lambda: not admin.read().managed_logins)
            assert ask("SELECT rolname FROM pg_roles WHERE rolname LIKE 'pgb\\_%'") == []
        finally:
            gateway.close_clients()
            gateway.process.send_signal(signal.SIGTERM)
            gateway.process.wait(15)


async def _begin(gateway: RunningGateway, person: Person, target: str) -> ManagedLogin:
    store, vault = gateway.admin.store, gateway.admin.vault
    snapshot = await store.read()
    key = ManagedKey(snapshot.targets[target].id, AccessMode.READ_ONLY, snapshot.users[person.name].id)
    row, _ = await ManagedRows(store, vault, await store.gateway_id()).begin(key, None, "session s1")
    return row
