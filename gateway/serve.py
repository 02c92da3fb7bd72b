"""`pgbastion serve`: reads the settings, prepares what is shared, opens the ports, and hands over to the supervisor."""

import asyncio
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from gateway.bus.lines import BusError
from gateway.proxy.log_setup import set_up_logging
from gateway.proxy.sockets import Doors, PortError, open_doors
from gateway.proxy.tls import TlsError
from gateway.secret import Secret
from gateway.settings import CurrentSettings, Settings, SettingsError, find_config, load
from gateway.store.errors import StoreError
from gateway.supervision.parts import Part, StartError
from gateway.supervision.preparation import Prepared, only_one, prepare
from gateway.supervision.service_manager import ServiceManager
from gateway.supervision.supervisor import ApiPart, Supervisor, WorkerPart

__all__ = ["Part", "StartError", "run"]


def run(given: Path | None, only: Part | None = None, flags: Sequence[str] = ()) -> int:
    """Until told to stop; returns the exit status. Errors of the operator's making are one line on stderr.

    `only`: just this part, under a unit of its own. `flags`: `SECTION.NAME=VALUE`, over the file and the environment.
    """
    set_up_logging("supervisor")
    os.umask(0o077)
    try:
        config = find_config(given).resolve()
        settings = load(config, flags)
        parts = _parts(settings, only)
        with only_one(settings.state_dir, parts):
            return asyncio.run(_serve(settings, partial(load, config, flags), config, parts))
    except (FileNotFoundError, SettingsError, StartError, PortError, StoreError, TlsError, BusError) as error:
        print(f"pgbastion: {error}", file=sys.stderr)
        return 1


def _parts(settings: Settings, only: Part | None) -> frozenset[Part]:
    if only is Part.API and not settings.admin_api.enabled:
        raise StartError("admin_api.enabled is false: there is nothing to serve")
    if only is not None:
        return frozenset({only})
    if importlib.util.find_spec("admin_api.__main__") is None:
        return frozenset({Part.GATEWAY})
    return frozenset(Part) if settings.admin_api.enabled else frozenset({Part.GATEWAY})


async def _serve(settings: Settings, reread: Callable[[], Settings], config: Path, parts: frozenset[Part]) -> int:
    manager = ServiceManager()
    with _ports(settings, parts) as (gateway, api):
        prepared = await prepare(settings, parts)
        workers = WorkerPart(gateway, partial(_worker_command, config), prepared.ca_file) if gateway is not None else None
        admin = ApiPart(api, partial(_api_command, config), _url(settings, api.port)) if api is not None else None
        _show_first_token(prepared, admin)
        return await Supervisor(CurrentSettings(settings), reread, workers, admin, manager).run()


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


def _worker_command(config: Path, number: int, place: int, fds: Sequence[int]) -> Sequence[str]:
    # -P: a module of the same name in the current directory must not be run instead.
    return (
        *(sys.executable, "-P", "-m", "gateway.app", "--config", str(config)),
        *("--worker", str(number), "--place", str(place), "--fds", ",".join(map(str, fds))),
    )


def _api_command(config: Path, fds: Sequence[int]) -> Sequence[str]:
    return (sys.executable, "-P", "-m", "admin_api", "--config", str(config), "--fds", ",".join(map(str, fds)))


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
        f"  pgbastion --help; pgbastion users list --url {admin.url} --token-file ~/.pgbastion-token\n"
        "  On this machine `pgbastion tokens create` makes another at any time.",
        flush=True,
    )
