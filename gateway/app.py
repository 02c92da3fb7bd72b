"""The composition root of one gateway worker: `python -m gateway.app --config FILE (--doors 3,4:5,6 | --port P)`.

The supervisor starts it with the sockets of all places and a lifeline, by which it hears its settings and which worker it is: at
once, or later, when it is to follow one that died. By hand it opens a port of its own and reads the file; without a supervisor
there is no bus, so that it admits nobody.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from socket import gethostname
from typing import Final

import structlog

from gateway.affinity import pin, unpin
from gateway.audit import events
from gateway.bus.lifeline import Duty, Lifeline, LifelineError
from gateway.bus.peer import BusPeer
from gateway.custody.references.fetching import Fetching
from gateway.custody.sources import KeptSecrets
from gateway.custody.successors import SuccessiveSecrets
from gateway.ending import CLOSE_SECONDS, alone_at_the_end, end_within, leave
from gateway.judging.judge import Judge
from gateway.log_setup import set_up_logging
from gateway.proxy import leaving
from gateway.proxy.ahead import Ahead
from gateway.proxy.audit_opening import open_trail
from gateway.proxy.catalogs import Catalogs
from gateway.proxy.collecting import collect_the_young, collect_when_quiet
from gateway.proxy.counters import Counters, Gauges
from gateway.proxy.errands import Errands, learn_throttle
from gateway.proxy.knocking import Knocking
from gateway.proxy.listener import Listener
from gateway.proxy.own_logins import OwnLogins
from gateway.proxy.policies import Policies
from gateway.proxy.reconciler import Reconciler
from gateway.proxy.registry import Registry
from gateway.proxy.seats import Seats
from gateway.proxy.sockets import chosen, open_doors
from gateway.proxy.target_health import TargetHealth
from gateway.proxy.throttle import CancelThrottle, LoginThrottle
from gateway.proxy.tls import ServerTls, TlsError, server_files
from gateway.proxy.upstream import UpstreamDialer
from gateway.proxy.worker import Worker
from gateway.settings import CurrentSettings, Settings, load
from gateway.store import open_directory
from gateway.store.vault import SealedVault
from gateway.undumpable import forbid_dumps

_SWITCH_SECONDS: Final = 0.0005  # so long the event loop waits for a thread that computes
_THROTTLE_SECONDS: Final = 0.2  # how long the other workers may take to say what they know
#: What is imported only when it is used: a spare has it all before it is needed.
_LOADED_EARLY: Final = ("aiosqlite", "sqlalchemy.ext.asyncio", "gateway.store.directory", "gateway.store.sqlite_feed", "uvloop")
_log: Final = structlog.stdlib.get_logger("gateway.worker")


class Gateway:
    """One worker's parts, put together."""

    def __init__(self, settings: Settings, duty: Duty, lifeline: Lifeline | None) -> None:
        self._current = current = CurrentSettings(settings)
        self._duty = duty
        self._lifeline = lifeline
        self._stopping = asyncio.Event()
        self._retiring = asyncio.Event()
        self._abandoned = False
        vault = SealedVault.load(settings.key_file)
        self._directory = open_directory(settings, vault)
        counters = Counters()
        loop = asyncio.get_running_loop()
        self._trail = open_trail(settings.audit_dir, duty.number, settings.audit, loop, counters)
        errands = Errands()
        self._bus = BusPeer(settings.bus_socket, f"worker:{duty.number}", errands.handlers)
        throttle = settings.throttle
        dialer = UpstreamDialer(SuccessiveSecrets(KeptSecrets(vault, Fetching(current)), vault, self._directory))
        policies = Policies(current)
        health = TargetHealth(lambda: datetime.now(UTC))
        registry = Registry(duty.number)
        self._worker = Worker(
            number=duty.number,
            current=current,
            directory=self._directory,
            trail=self._trail,
            judge=Judge(settings.limits.max_statement_bytes, settings.policy.judge_timeout_seconds),
            registry=registry,
            logins=LoginThrottle(throttle.free_failures, throttle.window_seconds, throttle.user_delay_seconds),
            cancels=CancelThrottle(throttle.cancels_per_second),
            knocking=Knocking(current, self._bus),
            seats=Seats(self._bus),
            tls=_server_tls(settings),
            dialer=dialer,
            policies=policies,
            catalogs=Catalogs(current, self._directory, dialer, policies.prepare, registry.suspect, policies.superseded),
            ahead=Ahead(current, self._directory, dialer, self._bus, health),
            own_logins=OwnLogins(self._directory, self._bus),
            peers=self._bus,
            mock_secret=vault.derive("mock-scram"),
            health=health,
            counters=counters,
        )
        counters.gauges = self._gauges
        self._listener = Listener(self._worker)
        errands.attach(self._worker, self._listener)
        self._reconciler = Reconciler(self._worker.registry, self._directory, current)
        current.subscribe(self._retune)
        self._directory.subscribe(dialer.keys.keep_only)

    async def run(self, sockets: Sequence[socket.socket]) -> None:
        """Until told to stop. Raises StoreError, TlsError, OSError when it cannot start."""
        worker, settings = self._worker, self._current.now
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(4, thread_name_prefix="worker", initializer=unpin))
        pin(self._duty.place, settings.listen.workers, settings.listen.pin_workers, f"{gethostname()}:{settings.state_dir}")
        self._listen_for_orders()
        work = (worker.counters.watch_loop_lag(), self._watch_certificate(), collect_when_quiet(worker.counters.moved))
        beside = [asyncio.create_task(each) for each in work]
        started = False
        try:
            started = await self._unless_stopped(self._start())
            if started:
                worker.ahead.start()
                self._listener.start(sockets)
                worker.audit(events.event("gateway_start", {"port": sockets[0].getsockname()[1]}))
                if self._lifeline is not None:
                    self._lifeline.ready()
                await self._until_told()
        finally:
            end_within(CLOSE_SECONDS)
            for task in beside:
                task.cancel()
            if started:
                worker.last_logins.tell()
                await worker.day_counts.close()
                worker.audit(events.event("gateway_stop", {}))
            await self._close()

    async def _start(self) -> None:
        worker = self._worker
        await asyncio.gather(self._directory.start(), worker.judge.start())
        self._reconciler.start(self._stopping.set)
        await self._bus.start()
        learn_throttle(worker, await self._bus.gather("throttle", {}, _THROTTLE_SECONDS))

    async def _unless_stopped(self, work: Coroutine[None, None, None]) -> bool:
        """Whether it was done; False: told to stop meanwhile, so that there is nothing to be finished."""
        starting, stopping = asyncio.create_task(work), asyncio.create_task(self._stopping.wait())
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if starting.done():
            starting.result()
            return True
        end_within(CLOSE_SECONDS)
        starting.cancel()
        await asyncio.wait([starting])
        return False

    async def _close(self) -> None:
        """What one part fails in does not keep the others from closing, the trail least of all."""
        worker = self._worker
        self._reconciler.stop()
        worker.ahead.close()
        worker.catalogs.close()
        for part in (worker.judge, self._bus, self._directory):
            try:
                await part.close()
            except Exception:
                _log.exception("a part of the worker did not close")
        self._trail.close()

    # -- orders --------------------------------------------------------------------------------------------------------

    def _listen_for_orders(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        if self._lifeline is not None:
            self._lifeline.follow(on_settings=self._reload, on_retire=self._retiring.set, on_end=self._end_alone)

    def _end_alone(self) -> None:
        _log.warning("the supervisor is gone: stopping")
        self._abandoned = True  # its successor waits for our place
        self._stopping.set()

    async def _until_told(self) -> None:
        stopping = asyncio.create_task(self._stopping.wait())
        retiring = asyncio.create_task(self._retire_when_told())
        await asyncio.wait([stopping, retiring], return_when=asyncio.FIRST_COMPLETED)
        if not self._stopping.is_set():
            stopping.cancel()
            return
        retiring.cancel()
        patience = 0.0 if self._abandoned else self._current.now.listen.drain_seconds
        await leaving.stop(self._worker, self._listener, patience)

    async def _retire_when_told(self) -> None:
        await self._retiring.wait()
        await leaving.retire(self._worker, self._listener)

    # -- settings ------------------------------------------------------------------------------------------------------

    def _reload(self, settings: Settings) -> None:
        """The supervisor has looked at them: what comes here can be used. The certificate is read anew in any case."""
        try:
            tls = _server_tls(settings)
        except TlsError as error:
            _log.error("the certificate could not be reloaded, the former one stays", error=str(error))
        else:
            self._worker.tls = tls
        self._current.replace(settings)

    def _retune(self, settings: Settings) -> None:
        """For whoever does not ask each time."""
        worker, throttle = self._worker, settings.throttle
        worker.logins.reconfigure(throttle.free_failures, throttle.window_seconds, throttle.user_delay_seconds)
        worker.cancels.reconfigure(throttle.cancels_per_second)
        worker.policies.forget()
        self._reconciler.ask_again()

    async def _watch_certificate(self) -> None:
        """A renewed pair of files is taken up without a word from anybody."""
        while True:
            await asyncio.sleep(2.0)
            if self._worker.tls is not None and self._worker.tls.look():
                self._reconciler.ask_again()  # a client's certificate may be revoked

    def _gauges(self) -> Gauges:
        worker = self._worker
        return Gauges(
            sessions_live=len(worker.registry.sessions),
            sessions_pending=worker.knocking.total,
            judge_waiting=worker.judge.waiting,
            audit_healthy=worker.trail.healthy,
            store_stale_seconds=round(worker.directory.stale_for_seconds, 3),
            catalogs=worker.catalogs.held,
            catalog_age_max_seconds=round(worker.catalogs.oldest_seconds, 3),
            catalog_loads=worker.catalogs.tally.loads,
            catalog_load_failures=worker.catalogs.tally.failures,
            catalog_load_seconds=round(worker.catalogs.tally.seconds, 3),
            ahead_waiting=worker.ahead.waiting,
            ahead=worker.ahead.tally,
        )


def _server_tls(settings: Settings) -> ServerTls | None:
    return None if settings.tls.mode == "disable" else ServerTls(*server_files(settings))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="gateway.app")
    parser.add_argument("--config", type=Path, required=True)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--doors", type=lambda text: [[int(fd) for fd in share.split(",")] for share in text.split(":")])
    where.add_argument("--port", type=int)
    arguments = parser.parse_args(argv)
    os.umask(0o077)
    forbid_dumps()
    for name in _LOADED_EARLY:
        with contextlib.suppress(ImportError):  # uvloop is not everywhere
            import_module(name)
    lifeline = Lifeline.inherited()
    try:
        settings, duty = lifeline.first_duty() if lifeline is not None else (load(arguments.config), None)
    except LifelineError:
        return 0  # a spare that was not needed
    duty = duty or Duty(0, 0)
    set_up_logging(f"worker:{duty.number}")

    @alone_at_the_end()
    async def run() -> None:
        listen = settings.listen
        doors = arguments.doors
        await Gateway(settings, duty, lifeline).run(
            chosen(doors, duty.place) if doors else open_doors(listen.host, arguments.port, listen.backlog, 1).shares[0]
        )

    collect_the_young()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(run())
    except Exception:
        _log.exception("the worker failed")
        return 1
    return 0


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """uvloop where there is one: a query costs less there."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop


if __name__ == "__main__":
    leave(main())
