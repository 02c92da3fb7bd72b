"""What `doctor` looks at on the machine: the running gateway, its ports, the open-files limit, the clock."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from gateway.cli.findings import Finding, ok, problem, warning
from gateway.open_files import UNLIMITED, allow_most_files, files_allowed_of

if TYPE_CHECKING:
    from gateway.settings import Settings

_PROGRAM_IS_FROM: Final = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
_CLOCK_MARGIN: Final = timedelta(seconds=5)
_CONNECT_SECONDS: Final = 2.0


async def look_at_system(settings: "Settings", now: datetime, last_change_at: datetime | None) -> AsyncIterator[Finding]:
    running = await _bus(settings)
    yield running
    yield await _port("port", settings.listen.host, settings.listen.port, running)
    if settings.admin_api.enabled:
        yield await _port("api port", settings.admin_api.host, settings.admin_api.port, running)
    yield _files(settings, await _files_allowed(settings))
    yield _clock(now, last_change_at)


async def _bus(settings: "Settings") -> Finding:
    from gateway.bus.gateway import BusGateway
    from gateway.ports import GatewayUnavailable

    check = "gateway"
    try:
        workers = len(await BusGateway(settings.bus_socket).counters())
    except GatewayUnavailable as error:
        if settings.bus_socket.exists():
            return problem(check, f"{error}, though {settings.bus_socket} is there", "Look into its log; then restart it.")
        return warning(check, "it does not run here", "Start it: pgbastion serve")
    if workers < settings.listen.workers:
        return problem(check, f"{workers} of {settings.listen.workers} workers answer", "Look into its log.")
    return ok(check, f"runs, {workers} worker{'s' if workers > 1 else ''} answer{'' if workers > 1 else 's'} on the bus")


async def _port(check: str, host: str, port: int, running: Finding) -> Finding:
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if port == 0:
        return warning(check, "0: another one at each start", "Set a port that clients can be told.")
    if running.state == "ok":
        if await _answers(host, port):
            return ok(check, f"{where} takes connections")
        return problem(check, f"{where} takes no connections, though the gateway runs", "Was it started with other settings?")
    reason = _cannot_bind(host, port)
    if reason is None:
        return ok(check, f"{where} is free")
    if reason == errno.EADDRINUSE:
        return problem(check, f"{where} is taken by another program", f"Find it: ss -ltnp 'sport = :{port}'")
    if reason == errno.EACCES:
        return problem(check, f"{where} needs a privilege", "Use a port from 1024 on.")
    return problem(check, f"{where} cannot be used: {errno.errorcode.get(reason, reason)}", "Name an address of this machine.")


async def _answers(host: str, port: int) -> bool:
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - only compared
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(address, port)
    except OSError:
        return False
    writer.close()
    return True


def _cannot_bind(host: str, port: int) -> int | None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error.errno or errno.EINVAL
    return None


async def _files_allowed(settings: "Settings") -> int:
    """Of each worker, the fewest; where none runs here, what one would have that was started from here."""
    from gateway.bus.gateway import BusGateway
    from gateway.ports import GatewayUnavailable

    try:
        workers = await BusGateway(settings.bus_socket).worker_processes()
    except GatewayUnavailable:
        workers = []
    found = [allowed for pid in workers if (allowed := files_allowed_of(pid)) is not None]
    return min(found) if found else allow_most_files()


def _files(settings: "Settings", found: int) -> Finding:
    wanted = settings.limits.files_of_a_worker(settings.listen.workers)
    if found >= wanted:
        return ok("open files", "no limit" if found == UNLIMITED else f"{found} for each worker")
    how = f"LimitNOFILE={wanted} in the unit, or ulimit -Hn {wanted}, and a restart"
    text = f"{found} for each worker; limits.max_sessions needs {wanted}"
    return warning("open files", text, f"{how}; or lower limits.max_sessions.")


def _clock(now: datetime, last_change_at: datetime | None) -> Finding:
    """Grants expire by it, and the audit is ordered by it."""
    remedy = "Set the clock, and keep it set (chrony, systemd-timesyncd)."
    if now < _PROGRAM_IS_FROM:
        return problem("clock", f"it says {now:%Y-%m-%d %H:%M} UTC: before this program was written", remedy)
    if last_change_at is not None and last_change_at > now + _CLOCK_MARGIN:
        return problem("clock", f"it says {now:%Y-%m-%d %H:%M:%S} UTC; a change was made later than that", remedy)
    return ok("clock", f"{now:%Y-%m-%d %H:%M:%S} UTC")
