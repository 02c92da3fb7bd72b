"""Passwords of upstream logins are changed when their schedule says so, and rotations that were broken off are finished.

Every gateway on a store looks; a lease in the store lets one rotate at a time, which looks once more before it does.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from gateway.access.password_age import PasswordAge
from gateway.bus.gateway import BusGateway
from gateway.services.errors import ServiceError
from gateway.settings import Settings
from gateway.store import open_store
from gateway.store.errors import StoreError

if TYPE_CHECKING:
    from gateway.services.rotation import Means, RotationStore

_LOOK_SECONDS: Final = 20.0
_SPREAD_SECONDS: Final = 20.0  # beyond that, at random: several gateways do not look at once
_RETRY_SECONDS: Final = 60.0  # then twice as long, and so on
_LONGEST_SECONDS: Final = 6 * 3600.0
_END_SECONDS: Final = 1.0
_log: Final = structlog.stdlib.get_logger("gateway.rotations")


class AgeStore(Protocol):
    """A store that knows which passwords have a schedule, or a rotation that has not ended."""

    async def password_ages(self) -> Sequence[PasswordAge]: ...


class Rotations:
    """`look` once; `run` for as long as the gateway does. `means` is made when something is to be done."""

    def __init__(self, store: "RotationStore", ages: AgeStore, means: "Means") -> None:
        self._store = store
        self._ages = ages
        self._means = means
        self._seen_half_done: set[str] = set()
        self._not_before: dict[str, tuple[float, float]] = {}  # by row: the moment, and the pause that led to it

    async def run(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS + random.random() * _SPREAD_SECONDS)  # noqa: S311 - no secret
            try:
                await self.look()
            except StoreError as error:
                _log.warning("which passwords are to be changed is not known", reason=str(error))
            except Exception:
                _log.exception("a look at the passwords failed")

    async def look(self) -> None:
        """Raises StoreError."""
        now = datetime.now(UTC)
        wanted = [each for each in await self._ages.password_ages() if each.wants_rotation(now)]
        half_done = {each.row_id for each in wanted if each.half_done}
        for age in wanted:
            if age.half_done and age.row_id not in self._seen_half_done:
                continue  # somebody may be at it right now: the next look will tell
            if asyncio.get_running_loop().time() >= self._not_before.get(age.row_id, (0.0, 0.0))[0]:
                await self._rotate(age)
        self._seen_half_done = half_done
        self._not_before = {key: value for key, value in self._not_before.items() if key in {each.row_id for each in wanted}}

    async def _rotate(self, age: PasswordAge) -> None:
        from gateway.services.rotation import Choice, Step, rotate_credentials

        facts = {"target": age.target, "role": age.role, "login": age.login}
        reason = "finishing what was left half done" if age.half_done else f"every {age.every_days} days"
        try:
            found = await rotate_credentials(
                self._store,
                self._means,
                name=age.target,
                choice=Choice(age.role),
                still_wanted=self._still_wanted,
                actor="system",
                reason=reason,
            )
        except (ServiceError, StoreError) as error:
            self._later(age)
            _log.warning("a password could not be changed", **facts, reason=str(error))
            return
        for each in found:
            if each.end is Step.DONE:
                _log.info("a password was changed", **facts, because=reason)
            else:
                self._later(age)
                trouble = each.trouble
                _log.warning("a password could not be changed", **facts, end=each.end.value, reason=trouble and trouble.problem)

    async def _still_wanted(self, row_id: str) -> bool:
        """Asked when it is our turn: another gateway may have done it."""
        now = datetime.now(UTC)
        return any(each.row_id == row_id and each.wants_rotation(now) for each in await self._ages.password_ages())

    def _later(self, age: PasswordAge) -> None:
        _, before = self._not_before.get(age.row_id, (0.0, _RETRY_SECONDS / 2))
        pause = min(before * 2, _LONGEST_SECONDS)
        self._not_before[age.row_id] = asyncio.get_running_loop().time() + pause, pause


@asynccontextmanager
async def rotations_on_schedule(settings: Settings) -> AsyncIterator[None]:
    """Meanwhile. Raises VaultError when the master key does not fit."""
    from gateway.services.rotation import Means, workers_of
    from gateway.store.vault import SealedVault

    gateway = BusGateway(settings.bus_socket)
    store = open_store(settings, on_commit=lambda _revision: gateway.wake())
    means = Means(keys=SealedVault.load(settings.key_file), caught_up=workers_of(gateway), asks_the_dead=False)
    task = asyncio.create_task(Rotations(store, store, means).run(), name="rotations")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=_END_SECONDS)  # what it leaves half done, the next one finishes
