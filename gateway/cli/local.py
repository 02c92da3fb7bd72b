"""The local operator: whoever can open the state folder on this machine. Actor `os:<user>`, by the process's real user id."""

import asyncio
import os
import pwd
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from gateway.cli.errors import CommandError

if TYPE_CHECKING:
    from gateway.access.model import Snapshot
    from gateway.settings import Settings
    from gateway.store.unit_of_work import SqlStore
    from gateway.store.vault import SealedVault

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Operator:
    """An opened control plane."""

    settings: "Settings"
    store: "SqlStore"
    vault: "SealedVault"
    actor: str

    def change(self, verb: Coroutine[None, None, T]) -> T:
        """Run one verb, then tell a running gateway to look at once. Without one, its poll or next start will see it."""
        from gateway.bus.peer import notify

        result = asyncio.run(verb)
        notify(self.settings.bus_socket, "wake", {})
        return result

    def read(self) -> "Snapshot":
        return asyncio.run(self.store.read())


def operator(config: Path | None) -> Operator:
    """Open the store of this configuration, made and migrated if need be. Raises CommandError, StoreError."""
    from gateway.store.migrate import bind_key, upgrade
    from gateway.store.unit_of_work import SqlStore
    from gateway.store.vault import SealedVault, ensure_key

    settings = load_settings(config)
    ensure_key(settings.key_file)
    vault = SealedVault.load(settings.key_file)

    async def prepare() -> None:
        await upgrade(settings.store_url)
        await bind_key(settings.store_url, vault.key_id)

    asyncio.run(prepare())
    return Operator(settings, SqlStore(settings.store_url), vault, actor())


def load_settings(config: Path | None) -> "Settings":
    """Raises CommandError with one sentence for each field that is wrong."""
    from gateway.settings import SettingsError, find_config, load

    try:
        return load(find_config(config))
    except (FileNotFoundError, SettingsError) as error:
        raise CommandError(str(error)) from error


def actor() -> str:
    """Not $USER, which anybody can set."""
    uid = os.getuid()
    try:
        return f"os:{pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"os:{uid}"
