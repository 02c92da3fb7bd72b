"""The master key is replaced: a new one into the file beside the old, everything sealed with it, each value opened again, the old
one out of the file.

Whatever happens meanwhile, everything can be opened: the old key leaves the file last, and only when nothing is sealed with it. So
a rotation that was killed at any point is finished by the next one, and running processes, which look at the file when they meet a
key that they do not know, need not be told.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.audit.admin_event import AdminEvent, DetailValue
from gateway.store.access import Access
from gateway.store.engine import connected, open_engine, store_errors
from gateway.store.errors import StoreUnavailableError, VaultError
from gateway.store.key_ring import KeyRing, changing, read_ring, replace_ring
from gateway.store.keys_wanted import count_by_key
from gateway.store.places import Place, locate
from gateway.store.queries import read_key_id
from gateway.store.resealing import Checked, Progress, Unreadable, check_all, reseal_all
from gateway.store.sql_store import SqlStore
from gateway.store.traces import wipe_traces
from gateway.store.vault import SealedVault

if TYPE_CHECKING:
    from gateway.settings import Settings

_PATIENCE_SECONDS: Final = 20.0
_SETTLE_SECONDS: Final = 2.0  # until a change that was sealed before the new key was in the file is committed
_PASSES: Final = 5

Detail = Mapping[str, DetailValue]
Watch = Callable[[str], Progress]
"""Told of each step by its name, gives what its progress is told to."""


@dataclass(frozen=True, slots=True)
class KeyRotation:
    """What became of it. `former`: ids of the keys that sealed before; `kept` is True when they stay in the file.

    `unreadable`: what could not be sealed anew, so that the rotation is not finished. `notes`: what is left to be done by hand.
    """

    key_id: str
    former: tuple[str, ...]
    kept: bool
    resumed: bool
    opened: dict[str, int] = field(default_factory=dict)
    unreadable: list[Unreadable] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        return not self.unreadable


@dataclass(frozen=True, slots=True)
class Signature:
    """Who does this, for the audit."""

    actor: str
    reason: str


def stage_key(path: Path) -> str:
    """Put the next key into the file without using it, so that the file can go to other nodes first. Its id. Raises VaultError."""
    with changing(path):
        ring = read_ring(path)
        if ring.retiring:
            raise VaultError("a rotation was begun and not finished: finish it first, with pgbastion secrets rotate-key")
        staged = ring.staged()
        if staged is not ring:
            replace_ring(path, staged)
    return staged.next.name if staged.next is not None else ""


async def rotate_key(
    settings: "Settings",
    signature: Signature,
    *,
    keep_old: bool,
    watch: Watch,
    waits_for_others: bool = True,
    on_commit: Callable[[int], None] | None = None,
) -> KeyRotation:
    """From wherever the last one was left. The gateway may run. Raises StoreError, VaultError; then it can be run again.

    `waits_for_others`: somebody may be about to commit what they sealed with the former key.
    """
    path = settings.key_file
    with changing(path):
        ring = read_ring(path)
        store = SqlStore(settings, on_commit=on_commit)
        place = locate(settings)
        resumed = bool(ring.retiring) or await _is_unfinished(place, ring)
        if not resumed:
            ring = ring.advanced()
            replace_ring(path, ring)
        vault = SealedVault.load(path)
        former = tuple(key.name for key in (*ring.retiring, *ring.kept))
        await _record(store, signature, "secrets.rotation_begun", vault.key_id, {"former": former, "resumed": resumed})
        result = await _seal_everything(place, vault, watch, _SETTLE_SECONDS if waits_for_others else 0.0)
        rotation = KeyRotation(vault.key_id, former, keep_old, resumed, result.opened, result.unreadable)
        if not rotation.finished:
            return rotation
        detail: dict[str, DetailValue] = {"former": former, "kept": keep_old, **result.opened}
        await _record(store, signature, "secrets.key_rotated", vault.key_id, detail, use=vault.key_id)
        replace_ring(path, ring.settled(keep=keep_old))
    rotation.notes.extend(await wipe_traces(place))
    return rotation


async def _is_unfinished(place: Place, ring: KeyRing) -> bool:
    """Something is sealed with another key than the first: an old backup was restored, or a copy of the file put back."""
    async with connected(open_engine(place, Access.READ), place) as connection:
        with store_errors(place):
            in_use = {key for _, key in await count_by_key(connection)}
            return bool(in_use - {ring.current.name}) or await read_key_id(connection) not in (None, ring.current.name)


async def _seal_everything(place: Place, vault: SealedVault, watch: Watch, settle_seconds: float) -> Checked:
    """What is found at the end; a change that another process sealed with the former key meanwhile is sealed anew, too."""
    engine = open_engine(place, Access.WRITE, _PATIENCE_SECONDS)
    began_at = time.monotonic()
    await reseal_all(engine, place, vault, watch("Sealing with the new key"))
    await asyncio.sleep(max(began_at + settle_seconds - time.monotonic(), 0.0))
    for _ in range(_PASSES):
        hopeless = {(each.kind, each.row) for each in await reseal_all(engine, place, vault, watch("Sealing with the new key"))}
        found = await check_all(engine, place, vault, watch("Opening each again"))
        if {(each.kind, each.row) for each in found.unreadable} <= hopeless:
            break
    return found


async def _record(
    store: SqlStore, signature: Signature, action: str, key_id: str, detail: Detail, use: str | None = None
) -> None:
    """Audited; with `use`, together with the note in the store of which key fits it. Tried again while others change the store."""
    event = AdminEvent(signature.actor, action, key_id, key_id, signature.reason, detail)
    for attempt in range(1, _PASSES + 1):
        try:
            async with store.begin() as work:
                if use is not None:
                    work.use_key(use)
                await work.commit(event)
        except StoreUnavailableError:
            if attempt == _PASSES:
                raise
            await asyncio.sleep(0.2)
        else:
            return
