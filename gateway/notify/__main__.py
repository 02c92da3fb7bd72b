"""The composition root of the courier's process: `python -P -m gateway.notify --config FILE`.

The supervisor starts it with its settings and a lifeline, replaces it when those sections of the settings change that it was made
of, and ends it with SIGTERM: then nothing more is taken out of the outbox, and what is on its way may arrive.
"""

import argparse
import asyncio
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from gateway.bus.gateway import BusGateway
from gateway.bus.lifeline import Lifeline, LifelineError
from gateway.ending import CLOSE_SECONDS, alone_at_the_end, end_within, leave
from gateway.log_setup import set_up_logging
from gateway.notify.channels import Channels
from gateway.notify.courier import Courier
from gateway.notify.delivering import Means
from gateway.settings import Settings, SettingsError, load
from gateway.store import open_directory, open_store
from gateway.store.errors import StoreError
from gateway.store.vault import SealedVault
from gateway.undumpable import forbid_dumps

_GRACE_SECONDS: Final = 5.0
_log: Final = structlog.stdlib.get_logger("gateway.courier")


@alone_at_the_end()
async def serve(settings: Settings, lifeline: Lifeline | None) -> None:
    """Until told to stop. Raises StoreError when it cannot start."""
    vault = SealedVault.load(settings.key_file)
    gateway = BusGateway(settings.bus_socket)
    store = open_store(settings, on_commit=lambda _revision: gateway.wake())
    directory = open_directory(settings, vault)
    await directory.start()
    channels = Channels(Means(settings, store, vault, lambda: directory.snapshot, _now))
    courier = Courier(store.outbox, channels.of, settings.notify, _now)
    directory.subscribe(lambda _snapshot: courier.wake())
    stopping = asyncio.Event()
    _heed(stopping, lifeline)
    await channels.start()
    running = asyncio.create_task(courier.run(), name="courier")
    running.add_done_callback(lambda _: stopping.set())  # it does not end by itself but by a fault
    if lifeline is not None:
        lifeline.ready()
    try:
        await stopping.wait()
        end_within(_GRACE_SECONDS + 2 * CLOSE_SECONDS)
        await courier.stop(_GRACE_SECONDS)
        await running
    finally:
        await channels.close()
        await directory.close()


def _heed(stopping: asyncio.Event, lifeline: Lifeline | None) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    if lifeline is None:
        return

    def gone() -> None:
        _log.warning("the supervisor is gone: stopping")
        stopping.set()

    def changed(_settings: Settings) -> None:
        """Whoever needs others than those of the start is replaced."""

    lifeline.follow(on_settings=changed, on_retire=stopping.set, on_end=gone)


def _now() -> datetime:
    return datetime.now(UTC)


def main(argv: list[str] | None = None) -> int:
    """The exit status. What the operator can mend is one line on stderr."""
    parser = argparse.ArgumentParser(prog="gateway.notify")
    parser.add_argument("--config", type=Path, required=True)
    arguments = parser.parse_args(argv)
    os.umask(0o077)
    forbid_dumps()
    set_up_logging("courier")
    try:
        lifeline = Lifeline.inherited()
        settings = lifeline.first_settings() if lifeline is not None else load(arguments.config)
        asyncio.run(serve(settings, lifeline))
    except (SettingsError, LifelineError, StoreError, OSError) as error:
        print(f"pgbastion: courier: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    leave(main())
