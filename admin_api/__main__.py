"""The composition root of the admin API's process: `python -P -m admin_api --config FILE [--fds N,...]`.

The supervisor starts it with its listening sockets, its settings and a lifeline, and ends it with SIGTERM: then no new request is
taken, those at work are finished, and streams end. By hand it listens on `admin_api.host` and `port` itself.
"""

import argparse
import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import structlog

from admin_api.admission import Allowed
from admin_api.app import create_app
from admin_api.connections import guarded
from admin_api.context import AdminContext
from admin_api.oidc.desk import ProviderDesk
from admin_api.oidc.watch import ProviderWatch
from admin_api.outside_watch import OutsideWatch
from admin_api.reading import OwnWrites
from admin_api.server import GRACE_SECONDS, AdminServer, Certificate, ServerError, is_plain, listen, log_through_structlog
from admin_api.token_uses import TokenUses
from gateway.bus.gateway import BusGateway
from gateway.bus.lifeline import Lifeline, LifelineError
from gateway.ending import CLOSE_SECONDS, alone_at_the_end, end_within, leave
from gateway.log_setup import set_up_logging
from gateway.services.audit import AuditLog
from gateway.settings import CurrentSettings, Settings, SettingsError, load
from gateway.store import open_directory, open_store
from gateway.store.errors import StoreError
from gateway.store.vault import SealedVault
from gateway.undumpable import forbid_dumps

_THREADS: Final = 32
_log: Final = structlog.stdlib.get_logger("admin_api")


@alone_at_the_end()
async def serve(settings: Settings, sockets: Sequence[socket.socket] | None, lifeline: Lifeline | None) -> None:
    """Until told to stop. Raises StoreError, ServerError when it cannot start."""
    current = CurrentSettings(settings)
    vault = SealedVault.load(settings.key_file)
    directory = open_directory(settings, vault)
    gateway = BusGateway(settings.bus_socket)
    reading = OwnWrites(directory)

    def committed(revision: int) -> None:
        reading.committed(revision)
        gateway.wake()

    store = open_store(settings, on_commit=committed)

    async def revision() -> int:
        return (await reading.read()).revision

    uses = TokenUses(store)
    context = AdminContext(
        settings=current,
        store=store,
        sealer=vault,
        read=reading.read,
        gateway=gateway,
        fresh=lambda: directory.fresh,
        audit=AuditLog(settings.audit_dir, store, revision),
        token_used=uses.note,
    )
    certificate = None if is_plain(settings) else Certificate(settings)
    app = create_app(context)
    app.load_all()
    warming = asyncio.create_task(app.state.slack.warm())
    await directory.start()
    try:
        listening = listen(settings) if sockets is None else list(sockets)

        def ready() -> None:
            if lifeline is not None:
                lifeline.ready()
            else:
                print(f"pgbastion's admin API is ready on port {listening[0].getsockname()[1]}", flush=True)

        tls = None if certificate is None else certificate.context
        server = AdminServer(app, guarded(Allowed(current)), tls, ready)

        def stop() -> None:
            if not context.stopping.is_set():
                end_within(GRACE_SECONDS + CLOSE_SECONDS)
            context.stopping.set()
            server.should_exit = True

        _heed(stop, lifeline, current)
        watching = None if certificate is None else asyncio.create_task(certificate.watch())
        writing = asyncio.create_task(uses.keep_writing())
        app.state.desk = desk = ProviderDesk(context)
        vouching = asyncio.create_task(ProviderWatch(store, vault, desk.provider, context.clock).run())
        observing = asyncio.create_task(OutsideWatch(store, vault, gateway, reading.read, context.clock).run())
        await server.serve(listening)
        warming.cancel()
        observing.cancel()
        vouching.cancel()
        writing.cancel()
        await uses.write()
        if watching is not None:
            watching.cancel()
    finally:
        await app.close()
        await directory.close()


def _heed(stop: Callable[[], None], lifeline: Lifeline | None, current: CurrentSettings) -> None:
    loop = asyncio.get_running_loop()
    # Searches of the audit take threads for seconds; watching the store must never wait for one.
    loop.set_default_executor(ThreadPoolExecutor(_THREADS, thread_name_prefix="api"))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    if lifeline is None:
        return

    def gone() -> None:
        _log.warning("the supervisor is gone: stopping")
        stop()

    def changed(settings: Settings) -> None:
        current.replace(settings)

    lifeline.follow(on_settings=changed, on_retire=stop, on_end=gone)


def main(argv: list[str] | None = None) -> int:
    """The exit status. What the operator can mend is one line on stderr."""
    parser = argparse.ArgumentParser(prog="admin_api")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--fds", type=lambda text: [int(fd) for fd in text.split(",")])
    arguments = parser.parse_args(argv)
    os.umask(0o077)
    forbid_dumps()
    set_up_logging("api")
    log_through_structlog()
    try:
        lifeline = Lifeline.inherited()
        settings = lifeline.first_settings() if lifeline is not None else load(arguments.config)
        sockets = None if arguments.fds is None else [_inherited(fd) for fd in arguments.fds]
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(serve(settings, sockets, lifeline))
    except (SettingsError, LifelineError, StoreError, ServerError, OSError) as error:
        print(f"pgbastion: admin API: {error}", file=sys.stderr)
        return 1
    return 0


def _inherited(fd: int) -> socket.socket:
    sock = socket.socket(fileno=fd)
    sock.set_inheritable(False)
    sock.setblocking(False)
    return sock


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop


if __name__ == "__main__":
    leave(main())
