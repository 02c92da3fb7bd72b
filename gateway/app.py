"""The composition root of one gateway worker: `python -m gateway.app --config FILE --worker N --port P`.

The supervisor starts it, holds its stdin open for as long as it lives itself, and tells it to stop with SIGTERM: then it takes no
new connections, ends idle sessions at once and busy ones when their query is done or the drain is over.
"""

import argparse
import asyncio
import contextlib
import gc
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path
from socket import gethostname
from typing import Final

import structlog

from gateway.access.model import Denial
from gateway.affinity import pin, unpin
from gateway.audit import events
from gateway.bus.lines import Message, Payload
from gateway.bus.peer import BusPeer
from gateway.judging.judge import Judge
from gateway.proxy.audit_opening import open_trail
from gateway.proxy.counters import Counters, Gauges
from gateway.proxy.listener import Listener
from gateway.proxy.log_setup import set_up_logging
from gateway.proxy.reconciler import Reconciler
from gateway.proxy.registry import Registry
from gateway.proxy.throttle import CancelThrottle, LoginThrottle
from gateway.proxy.tls import ServerTls, TlsReloadError, server_files
from gateway.proxy.upstream import UpstreamDialer
from gateway.proxy.worker import Policies, Worker
from gateway.settings import Settings, load
from gateway.store import open_directory
from gateway.store.vault import SealedVault

_DRAIN_POLL_SECONDS: Final = 0.05
_log: Final = structlog.stdlib.get_logger("gateway.worker")

_SHUTDOWN: Final = Denial("shutdown", "57P01", "the gateway is shutting down", "Connect again in a moment.")


class Gateway:
    """One worker's parts, put together."""

    def __init__(self, settings: Settings, number: int) -> None:
        self._settings = settings
        self._stopping = asyncio.Event()
        self._patience_seconds = settings.listen.drain_seconds
        vault = SealedVault.load(settings.key_file)
        self._directory = open_directory(settings, vault.key_id)
        loop = asyncio.get_running_loop()
        counters = Counters()
        self._trail = open_trail(settings.audit_dir, number, settings.audit, loop, counters)
        self._tls = None if settings.tls.mode == "disable" else ServerTls(*server_files(settings))
        self._bus = BusPeer(
            settings.bus_socket,
            f"worker:{number}",
            {
                "wake": lambda _: self._directory.wake(),
                "sessions": self._sessions,
                "cancel-session": self._cancel_session,
                "counters": self._counters,
                "cancel": self._cancel,
                "login-failed": self._login_failed,
                "reload": self._reload,
            },
        )
        throttle = settings.throttle
        self._worker = Worker(
            number=number,
            settings=settings,
            directory=self._directory,
            vault=vault,
            trail=self._trail,
            judge=Judge(settings.limits.max_statement_bytes, settings.policy.judge_timeout_seconds),
            registry=Registry(number),
            logins=LoginThrottle(throttle.free_failures, throttle.window_seconds, throttle.user_delay_seconds),
            cancels=CancelThrottle(throttle.cancels_per_second),
            tls=self._tls,
            dialer=UpstreamDialer(),
            policies=Policies(settings),
            peers=self._bus,
            mock_secret=vault.derive("mock-scram"),
            counters=counters,
        )
        self._worker.counters.gauges = self._gauges
        self._listener = Listener(self._worker)
        self._reconciler = Reconciler(self._worker.registry, self._directory, settings.store.stale_after_seconds)

    async def run(self, port: int) -> None:
        """Until told to stop. Raises StoreError, TlsError, OSError when it cannot start."""
        worker, listen = self._worker, self._settings.listen
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(4, thread_name_prefix="worker", initializer=unpin))
        pin(worker.number, listen.workers, listen.pin_workers, f"{gethostname()}:{self._settings.state_dir}")
        self._watch_for_the_end()
        await self._directory.start()
        await worker.judge.start()
        self._reconciler.start(self._stopping.set)
        lag = asyncio.create_task(worker.counters.watch_loop_lag())
        watching = asyncio.create_task(self._tls.watch()) if self._tls is not None else None
        await self._bus.start()
        self._listener.start(listen.host, port, listen.backlog)
        worker.audit(events.event("gateway_start", {"port": port}))
        self._bus.send("hub", "ready", {"worker": worker.number})
        try:
            await self._stopping.wait()
            await self._drain()
        finally:
            lag.cancel()
            if watching is not None:
                watching.cancel()
            self._reconciler.stop()
            await worker.judge.close()
            await self._bus.close()
            await self._directory.close()
            worker.audit(events.event("gateway_stop", {}))
            self._trail.close()

    def _watch_for_the_end(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        with contextlib.suppress(OSError, PermissionError):  # stdin may be a file or /dev/null when run by hand
            loop.add_reader(sys.stdin.fileno(), self._supervisor_speaks)

    def _supervisor_speaks(self) -> None:
        if not os.read(sys.stdin.fileno(), 1024):
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            _log.warning("the supervisor is gone: stopping")
            self._patience_seconds = 0.0  # its successor waits for our place
            self._stopping.set()

    async def _drain(self) -> None:
        self._worker.draining = True
        self._listener.stop()
        sessions = self._worker.registry.sessions
        patience = asyncio.get_running_loop().time() + self._patience_seconds
        while sessions:
            hurry = asyncio.get_running_loop().time() > patience
            for session in list(sessions.values()):
                if hurry or not session.busy:
                    session.terminate(_SHUTDOWN)
            await asyncio.sleep(_DRAIN_POLL_SECONDS)
        await asyncio.sleep(_DRAIN_POLL_SECONDS)  # farewells leave

    # -- what the bus brings -------------------------------------------------------------------------------------------

    def _sessions(self, _message: Message) -> list[Payload]:
        return [session.describe() for session in self._worker.registry.sessions.values()]

    def _cancel_session(self, message: Message) -> list[Payload]:
        """No answer: it is not ours. Whether anything ran is in the audit."""
        session = self._worker.registry.sessions.get(str(message.payload.get("session")))
        if session is None:
            return []
        session.cancel_query()
        return [{"worker": self._worker.number}]

    def _counters(self, _message: Message) -> Payload:
        return dict(self._worker.counters.as_mapping())

    def _gauges(self) -> Gauges:
        worker = self._worker
        return Gauges(
            sessions_live=len(worker.registry.sessions),
            sessions_pending=worker.pending_total,
            judge_waiting=worker.judge.waiting,
            audit_healthy=worker.trail.healthy,
            store_stale_seconds=round(worker.directory.stale_for_seconds, 3),
        )

    def _cancel(self, message: Message) -> None:
        match message.payload:
            case {"address": str(address), "process_id": int(process_id), "key": str(key)}:
                self._listener.cancel_here(ip_address(address), process_id, bytes.fromhex(key))

    def _login_failed(self, message: Message) -> None:
        match message.payload:
            case {"address": str(address), "user": str(user)}:
                self._worker.logins.failed(ip_address(address), user, asyncio.get_running_loop().time())

    def _reload(self, _message: Message) -> None:
        if self._tls is not None:
            try:
                self._tls.reload()
            except TlsReloadError as error:
                _log.error("the certificate could not be reloaded; the old one stays", error=str(error))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="gateway.app")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--worker", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args(argv)
    os.umask(0o077)
    set_up_logging(f"worker:{arguments.worker}")
    settings = load(arguments.config)

    async def run() -> None:
        await Gateway(settings, arguments.worker).run(arguments.port)

    # What is loaded by now stays; what a statement makes is freed by its reference counts, so that cycles are looked for rarely.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(run())
    except Exception:
        _log.exception("the worker failed")
        return 1
    return 0


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """uvloop where there is one: TLS there costs a tenth of the memory and a third of the time."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop


if __name__ == "__main__":
    sys.exit(main())
