"""The local operator: whoever can open the state folder on this machine. Actor `os:<user>`, by the process's real user id.

`open_here` is how commands reach the admin API's application: in this process, over the opened store.
"""

import asyncio
import os
import pwd
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from gateway.cli.errors import CommandError
from gateway.store.errors import StoreError

if TYPE_CHECKING:
    from gateway.access.model import Snapshot
    from gateway.cli.client import Transport
    from gateway.settings import Settings
    from gateway.store.sql_store import SqlStore
    from gateway.store.vault import SealedVault

T = TypeVar("T")

_MAX_BODY_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Opened:
    """A store, made and migrated if need be, with the key that fits it. Each change wakes the running gateway, if there is one."""

    settings: "Settings"
    store: "SqlStore"
    vault: "SealedVault"


@dataclass(frozen=True, slots=True)
class Operator:
    """An opened control plane, for programs that call its verbs themselves."""

    settings: "Settings"
    store: "SqlStore"
    vault: "SealedVault"
    actor: str

    def change(self, verb: Coroutine[None, None, T]) -> T:
        """Run one verb."""
        return asyncio.run(verb)

    def read(self) -> "Snapshot":
        return asyncio.run(self.store.read())


def operator(config: Path | None) -> Operator:
    """Raises CommandError, StoreError."""
    opened = asyncio.run(open_control_plane(our_settings(config)))
    return Operator(opened.settings, opened.store, opened.vault, actor())


async def open_here(config: Path | None) -> "Transport":
    """Raises CommandError, StoreError."""
    from admin_api.app import acting_as, create_app
    from admin_api.context import AdminContext
    from gateway.cli.here import LocalGateway, TellingStore, keep_quiet
    from gateway.cli.in_process import InProcess
    from gateway.settings import CurrentSettings

    opened = await open_control_plane(our_settings(config))
    failures: list[StoreError] = []
    store = TellingStore(opened.store, failures)
    gateway = LocalGateway(opened.settings, store, opened.vault)
    context = AdminContext(
        settings=CurrentSettings(opened.settings), store=store, sealer=opened.vault, read=store.read, gateway=gateway
    )
    keep_quiet()
    app = create_app(context)
    return InProcess(acting_as(app, actor()), failures, app.close)


async def open_control_plane(settings: "Settings") -> Opened:
    """Raises StoreError."""
    from gateway.bus.gateway import BusGateway
    from gateway.store.migrate import bind_key, upgrade
    from gateway.store.sql_store import SqlStore
    from gateway.store.vault import SealedVault, ensure_key

    ensure_key(settings.key_file)
    vault = SealedVault.load(settings.key_file)
    await upgrade(settings)
    await bind_key(settings, vault)
    gateway = BusGateway(settings.bus_socket)
    return Opened(settings, SqlStore(settings, on_commit=lambda _revision: gateway.wake()), vault)


def our_settings(config: Path | None) -> "Settings":
    """Of a gateway that this account may look after. Raises CommandError, also where it belongs to another one."""
    settings = load_settings(config)
    try:
        found = settings.state_dir.stat()
        ours = os.access(settings.state_dir, os.R_OK | os.X_OK, effective_ids=True)
    except FileNotFoundError:
        return settings
    except OSError as error:
        raise CommandError(f"the state directory {settings.state_dir}: {error.strerror}") from error
    if not ours:
        owner = account(found.st_uid)
        raise CommandError(
            f"the state directory {settings.state_dir} belongs to {owner}",
            f"Run this as {owner} (sudo -u {owner} pgbastion ...), or ask the admin API with --url.",
        )
    return settings


def load_settings(config: Path | None) -> "Settings":
    """Raises CommandError with one sentence for each field that is wrong."""
    from gateway.settings import SettingsError, find_config, load

    try:
        return load(find_config(config))
    except FileNotFoundError as error:
        raise CommandError(str(error)) from error
    except SettingsError as error:
        raise CommandError("\n".join(error.problems)) from error


def actor() -> str:
    """Not $USER, which anybody can set."""
    return f"os:{account(os.getuid())}"


def account(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
