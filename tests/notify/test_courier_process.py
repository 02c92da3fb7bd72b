"""The courier's process: there when there is something to deliver, back when it dies, and no message is lost by that."""

import asyncio
import contextlib
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from gateway.ports import OutboxMessage, OutboxState
from gateway.ports.outbox import MessageFilter
from gateway.services import deliveries, webhooks
from gateway.services.webhooks import WebhookChange
from gateway.settings import load
from gateway.store import open_store
from gateway.store.sql_store import SqlStore
from gateway.store.vault import SealedVault
from tests.notify.world import BY
from tests.support.fakes.receiver import Receiver, receiver

SERVE = (
    "import sys; from pathlib import Path; from gateway.serve import Part, run; sys.exit(run(Path(sys.argv[1]), Part.COURIER))"
)


def settings_file(file: Path, *, timeout_seconds: int) -> Path:
    file.write_text(f'state_dir = "state"\n[notify]\ntimeout_seconds = {timeout_seconds}\n')
    return file


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return settings_file(tmp_path / "pgbastion.toml", timeout_seconds=5)


@pytest.fixture
def serving(config: Path, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", SERVE, config]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdout is not None
        assert "as soon as there is something to deliver" in process.stdout.readline()
        try:
            yield process
        finally:
            process.terminate()
            assert process.wait(30) == 0


@pytest.fixture
def store(serving: "subprocess.Popen[str]", config: Path) -> SqlStore:
    return open_store(load(config))


def couriers(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    found = []
    for each in psutil.Process(process.pid).children():
        with contextlib.suppress(psutil.Error):  # it is gone
            found += [each] if "gateway.notify" in each.cmdline() else []
    return found


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(40):
        while True:
            if condition():
                return
            await asyncio.sleep(0.05)


async def settled(store: SqlStore, message_id: str) -> OutboxMessage:
    async with asyncio.timeout(40):
        while True:
            found = await store.outbox.message(message_id)
            if found is not None and found.state is not OutboxState.PENDING:
                return found
            await asyncio.sleep(0.05)


async def create(store: SqlStore, config: Path, here: Receiver) -> None:
    vault = SealedVault.load(load(config).key_file)
    await webhooks.create_webhook(store, vault, name="siem", url=f"{here.url}/hook", **BY)


async def test_it_begins_with_the_first_webhook_and_comes_back_when_it_dies(
    serving: "subprocess.Popen[str]", store: SqlStore, config: Path, tmp_path: Path
) -> None:
    assert couriers(serving) == []
    with receiver() as here:
        await create(store, config, here)
        tested = await deliveries.try_webhook(store, store.outbox, name="siem", seconds=40, **BY)
        assert (tested.ok, tested.detail) == (True, "delivered")
        assert [each.headers["webhook-id"] for each in here.received] == [tested.message_id]
        here.answers.append((500, {}))
        tested = await deliveries.try_webhook(store, store.outbox, name="siem", seconds=40, **BY)
        assert (tested.ok, tested.detail) == (False, "the receiver answers with status 500")
        (first,) = couriers(serving)
        here.delay_seconds = 3.0
        first_count = len(here.received)
        trial = asyncio.create_task(deliveries.try_webhook(store, store.outbox, name="siem", seconds=0.1, **BY))
        await until(lambda: len(here.received) > first_count)
        first.send_signal(signal.SIGKILL)  # the receiver has it, and nobody wrote that down
        message_id = (await trial).message_id
        await until(lambda: len(couriers(serving)) == 1 and couriers(serving)[0].pid != first.pid)
        here.delay_seconds = 0.0
        (waiting,) = await store.outbox.messages(MessageFilter(state=OutboxState.PENDING))
        assert waiting.id == message_id
        # Its lease lasts longer than a test should: as if that time had passed.
        lapse(tmp_path / "state" / "store.sqlite3", message_id)
        repeated = await settled(store, message_id)
        ids = [each.headers["webhook-id"] for each in here.received[first_count:]]
    assert ids == [message_id, message_id]
    assert repeated.state is OutboxState.DELIVERED
    dead = await store.outbox.messages(MessageFilter(state=OutboxState.DEAD))
    assert [each.last_error for each in dead] == ["the receiver answers with status 500"]


async def test_what_was_given_up_is_sent_again_under_its_id_and_other_settings_are_taken_up(
    serving: "subprocess.Popen[str]", store: SqlStore, config: Path
) -> None:
    vault = SealedVault.load(load(config).key_file)
    with receiver() as here:
        await create(store, config, here)
        here.answers.append((410, {}))
        tested = await deliveries.try_webhook(store, store.outbox, name="siem", seconds=40, **BY)
        assert not tested.ok
        (before,) = couriers(serving)
        settings_file(config, timeout_seconds=6)
        serving.send_signal(signal.SIGHUP)
        await until(lambda: [each.pid for each in couriers(serving)] not in ([before.pid], []) and len(couriers(serving)) == 1)
        again = await deliveries.redeliver(store, store.outbox, message_id=tested.message_id, webhook="siem", **BY)
        assert again.id == tested.message_id
        assert (await settled(store, again.id)).state is OutboxState.DELIVERED
        assert [each.headers["webhook-id"] for each in here.received] == [again.id, again.id]
        await webhooks.update_webhook(store, vault, name="siem", wanted=WebhookChange(enabled=False), **BY)
        tested = await deliveries.try_webhook(store, store.outbox, name="siem", seconds=40, **BY)
        assert tested.detail == "the webhook is disabled"
    assert serving.poll() is None


def lapse(file: Path, message_id: str) -> None:
    """Whoever has taken it took it long ago."""
    with contextlib.closing(sqlite3.connect(file, timeout=10, isolation_level=None)) as connection:
        change = "UPDATE outbox SET next_at = '2026-01-01T00:00:00.000000+00:00', attempts = 0 WHERE id = ?"
        connection.execute(change, (message_id,))
