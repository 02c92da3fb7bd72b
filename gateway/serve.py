"""The supervisor behind `pgbastion serve`: prepares what the workers share, starts them, and keeps them running.

It holds the port, the bus and the certificate, and carries no client's byte: whatever a client does, it stays up.
Each worker has a pipe as its stdin: when that ends, the supervisor is gone, and the worker has to go too.
"""

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import structlog

from gateway.bus.hub import BusHub
from gateway.bus.lines import BusError, Message
from gateway.proxy.log_setup import set_up_logging
from gateway.proxy.sockets import PortError, reserved_port
from gateway.proxy.tls import CertificateFiles, ServerTls, TlsError, ensure_certificate, server_files
from gateway.settings import Settings, SettingsError, find_config, load
from gateway.store.errors import StoreError
from gateway.store.migrate import bind_key, upgrade
from gateway.store.vault import SealedVault, ensure_key

WorkerCommand = Callable[[int, int], Sequence[str]]
"""(worker number, port) -> argv."""

_RESTART_SECONDS: Final = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_STEADY_SECONDS: Final = 10.0  # a worker that lived as long is restarted at once
_ATTEMPTS_BEFORE_READY: Final = 6
_RENEWAL_CHECK_SECONDS: Final = 12 * 3600.0
_KILL_AFTER_SECONDS: Final = 1.0  # beyond the drain

_log: Final = structlog.stdlib.get_logger("gateway.serve")


class StartError(Exception):
    """The gateway cannot start; one line for the operator."""


def run(given: Path | None) -> int:
    """`pgbastion serve`; returns the exit status. Errors of the operator's making are one line on stderr."""
    set_up_logging("supervisor")
    os.umask(0o077)
    try:
        config, settings = _read_config(given)
        with _only_one(settings.state_dir):
            return asyncio.run(_serve(config, settings))
    except (StartError, PortError, StoreError, TlsError, BusError) as error:
        print(f"pgbastion: {error}", file=sys.stderr)
        return 1


async def _serve(config: Path, settings: Settings) -> int:
    ca_file = await _prepare(settings)

    def command(worker: int, port: int) -> Sequence[str]:
        # -P: a module of the same name in the current directory must not be run instead.
        return (
            *(sys.executable, "-P", "-m", "gateway.app"),
            *("--config", str(config.resolve()), "--worker", str(worker), "--port", str(port)),
        )

    with reserved_port(settings.listen.host, settings.listen.port) as port:
        return await Supervisor(settings, port, command, ca_file).run()


class Supervisor:
    """Runs the hub and `settings.listen.workers` workers until it is told to stop."""

    def __init__(self, settings: Settings, port: int, command: WorkerCommand, ca_file: Path | None) -> None:
        self._settings = settings
        self._port = port
        self._command = command
        self._ca_file = ca_file
        self._hub = BusHub(settings.bus_socket, {"ready": self._ready})
        self._workers = [_Worker(number) for number in range(settings.listen.workers)]
        self._announced = False
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._failure: StartError | None = None

    async def run(self) -> int:
        """Until SIGTERM or SIGINT; then 0. Raises StartError when the workers do not come up, BusError, OSError."""
        await self._hub.start()
        with self._signals():
            tasks = [asyncio.create_task(self._keep(worker)) for worker in self._workers]
            for task in tasks:
                task.add_done_callback(lambda _: self._stopping.set())
            renewal = asyncio.create_task(self._renew())
            await self._stopping.wait()
            renewal.cancel()
            await self._stop(tasks)
        await self._hub.close()
        if self._failure is not None:
            raise self._failure
        return 0

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        handlers = {signal.SIGTERM: self._end, signal.SIGINT: self._end, signal.SIGHUP: self._reload}
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)

    def _end(self) -> None:
        if self._stopping.is_set():
            self._hurry.set()  # asked twice: do not wait for sessions
        self._stopping.set()

    def _reload(self) -> None:
        _log.info("reload")
        self._ensure_certificate()
        self._hub.send("all", "reload", {})

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEWAL_CHECK_SECONDS)
            self._ensure_certificate()  # workers see the files change

    def _ensure_certificate(self) -> None:
        try:
            _certificate(self._settings)
        except (TlsError, OSError) as error:
            _log.error("certificate not renewed", reason=str(error))

    def _ready(self, message: Message) -> None:
        for worker in self._workers:
            if message.sender == f"worker:{worker.number}":
                worker.ready = True
        if not self._announced and all(worker.ready for worker in self._workers):
            self._announced = True
            self._announce()

    def _announce(self) -> None:
        host = self._settings.listen.host
        where = f"[{host}]:{self._port}" if ":" in host else f"{host}:{self._port}"
        count = len(self._workers)
        ca = f"; CA file {self._ca_file}" if self._ca_file else ""
        print(f"pgbastion is ready on {where} ({count} worker{'s' if count > 1 else ''}){ca}", flush=True)

    async def _keep(self, worker: "_Worker") -> None:
        """One worker, over and over."""
        quick_deaths = 0
        while not self._stopping.is_set():
            started_at = time.monotonic()
            try:
                status = await worker.live(self._command(worker.number, self._port))
            except OSError as error:  # no memory or no process left: later
                _log.error("worker not started", worker=worker.number, reason=error.strerror)
                status = -1
            if self._stopping.is_set():
                return
            _log.error("worker ended", worker=worker.number, status=status)
            quick_deaths = 0 if time.monotonic() - started_at > _STEADY_SECONDS else quick_deaths + 1
            if not self._announced and quick_deaths >= _ATTEMPTS_BEFORE_READY:
                self._failure = StartError(f"worker {worker.number} does not start (exit status {status}); the log says why")
                self._stopping.set()
                return
            pause = _RESTART_SECONDS[min(quick_deaths, len(_RESTART_SECONDS) - 1)]
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _stop(self, tasks: list[asyncio.Task[None]]) -> None:
        """Workers end their sessions when told; who does not manage within the drain is killed."""
        for worker in self._workers:
            worker.signal(signal.SIGTERM)
        hurry = asyncio.create_task(self._hurry.wait())
        gone = asyncio.create_task(asyncio.wait(tasks))
        patience = self._settings.listen.drain_seconds + _KILL_AFTER_SECONDS
        await asyncio.wait([hurry, gone], timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if not gone.done():
            _log.warning("workers killed: they did not end in time")
            for worker in self._workers:
                worker.signal(signal.SIGKILL)
        await gone
        for task in tasks:
            task.result()


class _Worker:
    """One worker's process, if it has one."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.ready = False
        self._process: asyncio.subprocess.Process | None = None
        self._told: signal.Signals | None = None

    async def live(self, command: Sequence[str]) -> int:
        """Start it and wait for its end. Its own process group: Ctrl-C on a terminal is for the supervisor alone."""
        self._process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE, process_group=0)
        try:
            if self._told is not None:  # while it was being started
                self._process.send_signal(self._told)
            return await self._process.wait()
        finally:
            self._process, self.ready = None, False

    def signal(self, number: signal.Signals) -> None:
        self._told = number
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)


def _read_config(given: Path | None) -> tuple[Path, Settings]:
    try:
        config = find_config(given)
        return config, load(config)
    except (FileNotFoundError, SettingsError) as error:
        raise StartError(str(error)) from error


@contextlib.contextmanager
def _only_one(state_dir: Path) -> Iterator[None]:
    """Two gateways with one state directory would share keys, bus and audit files."""
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(state_dir / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(f"cannot use the state directory {state_dir}: {error.strerror}") from error
    try:
        if state_dir.stat().st_mode & 0o077:
            _log.warning("the state directory is open to others: chmod 700 it", directory=str(state_dir))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StartError(f"another gateway is running with the state directory {state_dir}") from error
        yield
    finally:
        os.close(lock)


async def _prepare(settings: Settings) -> Path | None:
    """Key, store and certificate; returns the CA file that clients need, None when it is not ours to name."""
    ensure_key(settings.key_file)
    await upgrade(settings.store_url)
    await bind_key(settings.store_url, SealedVault.load(settings.key_file).key_id)
    try:
        made = _certificate(settings)
    except OSError as error:
        raise StartError(f"cannot write to {settings.tls_dir}: {error.strerror}") from error
    if settings.tls.mode == "disable":
        return None
    if (settings.tls.cert_file is None) != (settings.tls.key_file is None):
        raise StartError("tls.cert_file and tls.key_file go together: set both or neither")
    ServerTls(*server_files(settings))  # a pair that cannot be used is said here, once
    return made.ca_file if made else None


def _certificate(settings: Settings) -> CertificateFiles | None:
    if settings.tls.mode == "disable" or settings.tls.cert_file is not None:
        return None
    return ensure_certificate(settings.tls_dir, settings.tls.names)
