"""`pgbastion serve`: reads the settings, prepares what is shared, opens the ports, and hands over to the supervisor."""

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from gateway.bus.lines import BusError
from gateway.ending import alone_at_the_end
from gateway.log_setup import set_up_logging
from gateway.open_files import allow_most_files
from gateway.proxy.audit_copies import open_copies
from gateway.proxy.audit_shipping import AdminEventShipper
from gateway.proxy.counters import Counters
from gateway.proxy.sockets import Doors, PortError, open_doors
from gateway.proxy.tls import TlsError
from gateway.secret import Secret
from gateway.settings import CurrentSettings, Settings, SettingsError, find_config, load
from gateway.store import open_store
from gateway.store.errors import StoreError
from gateway.supervision.clerk import clerk_at_work
from gateway.supervision.custodian import custodian_at_work
from gateway.supervision.parts import ApiPart, CourierPart, Part, StartError, WorkerPart
from gateway.supervision.preparation import Prepared, only_one, prepare
from gateway.supervision.request_rounds import requests_by_the_clock
from gateway.supervision.rotations import rotations_on_schedule
from gateway.supervision.service_manager import ServiceManager
from gateway.supervision.supervisor import Supervisor
from gateway.undumpable import forbid_dumps

__all__ = ["Part", "StartError", "run"]

_CANCEL_AGAIN_SECONDS: Final = 0.2
_GIVE_UP_SECONDS: Final = 2.0
_log: Final = structlog.stdlib.get_logger("gateway.serve")


def run(given: Path | None, only: Part | None = None, flags: Sequence[str] = ()) -> int:
    """Until told to stop; returns the exit status. Errors of the operator's making are one line on stderr.

    `only`: just this part, under a unit of its own. `flags`: `SECTION.NAME=VALUE`, over the file and the environment.
    """
    set_up_logging("supervisor")
    os.umask(0o077)
    forbid_dumps()
    files = allow_most_files()
    try:
        config = find_config(given).resolve()
        settings = load(config, flags)
        parts = _parts(settings, only)
        _check_files(settings, parts, files)
        with _told_early(), only_one(settings.state_dir, parts):
            return asyncio.run(_serve(settings, partial(load, config, flags), config, parts))
    except (FileNotFoundError, SettingsError, StartError, PortError, StoreError, TlsError, BusError) as error:
        print(f"pgbastion: {error}", file=sys.stderr)
        return 1


def _check_files(settings: Settings, parts: frozenset[Part], allowed: int) -> None:
    """Too few: who comes when they are used up is turned away, and nobody would know why."""
    wanted = settings.limits.files_of_a_worker(settings.listen.workers)
    if Part.GATEWAY in parts and allowed < wanted:
        _log.warning("fewer files may be open than limits.max_sessions needs", allowed=allowed, wanted=wanted)


@contextmanager
def _told_early() -> Iterator[None]:
    """SIGTERM while all is being prepared. As process 1 of a container, who says nothing about it does not even hear it."""

    def end(_number: int, _frame: object) -> None:
        raise SystemExit(0)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def _parts(settings: Settings, only: Part | None) -> frozenset[Part]:
    if only is Part.API and not settings.admin_api.enabled:
        raise StartError("admin_api.enabled is false: there is nothing to serve")
    if only is not None:
        return frozenset({only})
    return frozenset(Part) if settings.admin_api.enabled else frozenset(Part) - {Part.API}


@alone_at_the_end()
async def _serve(settings: Settings, reread: Callable[[], Settings], config: Path, parts: frozenset[Part]) -> int:
    manager = ServiceManager()
    with _ports(settings, parts) as (gateway, api):
        prepared = await prepare(settings, parts)
        workers = WorkerPart(gateway, partial(_worker_command, config), prepared.ca_file) if gateway is not None else None
        admin = ApiPart(api, partial(_api_command, config), _url(settings, api.port)) if api is not None else None
        _show_first_token(prepared, admin)
        current = CurrentSettings(settings)
        courier = CourierPart(partial(_courier_command, config), _wants_courier) if Part.COURIER in parts else None
        supervisor = Supervisor(current, reread, workers, admin, manager, courier)
        async with _shipping(settings, parts), _clerk(current, parts):
            return await supervisor.run()


@asynccontextmanager
async def _shipping(settings: Settings, parts: frozenset[Part]) -> AsyncIterator[None]:
    """Meanwhile operators' changes go from the store into the audit trail; one process of a gateway does it."""
    if Part.GATEWAY not in parts:
        yield
        return
    copies = open_copies(settings.audit_dir, settings.audit, Counters())
    store = open_store(settings)
    shipper = AdminEventShipper(settings.audit_dir, settings.audit.rotate_bytes, store.events_after, copies, stamp=store.stamp)
    task = asyncio.create_task(shipper.run(), name="ship admin events")
    try:
        yield
    finally:
        await _give_up(task)
        copies.close()


@asynccontextmanager
async def _clerk(current: CurrentSettings, parts: frozenset[Part]) -> AsyncIterator[None]:
    """Meanwhile workers have somebody who writes into the store for them, and somebody who makes database roles."""
    settings = current.now
    if Part.GATEWAY not in parts:
        yield
        return
    async with (
        clerk_at_work(settings),
        custodian_at_work(current),
        rotations_on_schedule(settings),
        requests_by_the_clock(settings),
    ):
        yield


async def _give_up(task: "asyncio.Task[None]") -> None:
    """Said again until it is heard: a driver that gives up a dead connection at that moment takes it for its own time-out."""
    deadline = time.monotonic() + _GIVE_UP_SECONDS
    while not task.done() and time.monotonic() < deadline:
        task.cancel()
        await asyncio.wait([task], timeout=_CANCEL_AGAIN_SECONDS)


@contextmanager
def _ports(settings: Settings, parts: frozenset[Part]) -> Iterator[tuple[Doors | None, Doors | None]]:
    """First of all: a port that another program has is no reason to touch the store."""
    listen, admin = settings.listen, settings.admin_api
    gateway = api = None
    try:
        if Part.GATEWAY in parts:
            gateway = open_doors(listen.host, listen.port, listen.backlog, listen.workers)
        if Part.API in parts:
            api = open_doors(admin.host, admin.port, listen.backlog, 1, setting="admin_api.host")
        yield gateway, api
    finally:
        for doors in (gateway, api):
            if doors is not None:
                doors.close()


def _worker_command(config: Path, shares: Sequence[Sequence[int]]) -> Sequence[str]:
    doors = ":".join(",".join(map(str, fds)) for fds in shares)
    # -P: a module of the same name in the current directory must not be run instead.
    return (sys.executable, "-P", "-m", "gateway.app", "--config", str(config), "--doors", doors)


def _api_command(config: Path, fds: Sequence[int]) -> Sequence[str]:
    return (sys.executable, "-P", "-m", "admin_api", "--config", str(config), "--fds", ",".join(map(str, fds)))


def _courier_command(config: Path) -> Sequence[str]:
    return (sys.executable, "-P", "-m", "gateway.notify", "--config", str(config))


async def _wants_courier(settings: Settings) -> bool:
    """Somebody may be told or asked, or something is to be delivered. Raises StoreError."""
    asked = settings.pagerduty.token_file is not None
    told = settings.slack.bot_token_file is not None or bool(settings.mail.host)
    return asked or told or await open_store(settings).outbox.wants_courier()


def _url(settings: Settings, port: int) -> str:
    host = settings.admin_api.host
    plain = settings.admin_api.tls == "auto" and host in ("127.0.0.1", "::1", "localhost")
    return f"{'http' if plain else 'https'}://{f'[{host}]' if ':' in host else host}:{port}"


def _show_first_token(prepared: Prepared, admin: ApiPart | None) -> None:
    """Once in a gateway's life, and nowhere else: the store keeps its hash."""
    if prepared.first_token is None or admin is None:
        return
    token: Secret = prepared.first_token
    print(
        f"The admin API's first token, shown this once: {token.reveal()}\n"
        "  Keep it in a file that only you can read (chmod 600), say ~/.pgbastion-token; then, from here or elsewhere:\n"
        f"  pgbastion users list --url {admin.url} --token-file ~/.pgbastion-token\n"
        "  On this machine `pgbastion tokens create` makes another at any time.",
        flush=True,
    )
