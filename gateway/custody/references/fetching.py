"""The secrets that database roles refer to: fetched in threads, once for all who ask, in bounded time, remembered for a moment.

What cannot be fetched now is not had: a secret that was remembered too long is not used any more.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias, TypeVar

from gateway.access.model import DatabaseRole, Target, TlsMode
from gateway.access.secret_reference import SecretProvider, SecretReference
from gateway.custody.references.keepers import open_keeper
from gateway.custody.references.provider import Provider, Wanted, unavailable
from gateway.ports import SecretUnavailable
from gateway.secret import Secret
from gateway.settings import CurrentSettings, Settings

_THREADS: Final = 4  # their own, so that a keeper that hangs is in nobody else's way
_FAILURE_SECONDS: Final = 1.0  # for which one failure stands for all who ask
_AGAIN_SECONDS: Final = 1.0
_REMEMBERED: Final = 1000
_VERIFIED: Final = frozenset({TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL})

_Key: TypeAlias = tuple[str, str, int, str]
V = TypeVar("V")
_Open: TypeAlias = Callable[[SecretProvider, Settings], Provider]


@dataclass(frozen=True, slots=True)
class _Known:
    secret: Secret
    at: float


@dataclass(frozen=True, slots=True)
class _Failed:
    why: str
    at: float


class Fetching:
    """For one event loop."""

    def __init__(
        self, current: CurrentSettings, open_keeper: _Open = open_keeper, *, again_seconds: float = _AGAIN_SECONDS
    ) -> None:
        """`again_seconds`: a secret that was fetched since is not fetched again, whoever refuses it."""
        self._current = current
        self._again_seconds = again_seconds
        self._open_keeper = open_keeper
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="secrets")
        self._made_of = _sections(current.now)
        self._keepers: dict[SecretProvider, Provider] = {}
        self._known: dict[_Key, _Known] = {}
        self._failed: dict[_Key, _Failed] = {}
        self._running: dict[_Key, asyncio.Future[Secret]] = {}

    def at_hand(self, target: Target, role: DatabaseRole, reference: SecretReference) -> Secret | None:
        """One that was fetched not long ago, by what the settings still allow. Raises SecretUnavailable."""
        self._check(target, reference)
        known = self._known.get(_key(target, role, reference))
        if known is None or _now() - known.at >= self._current.now.secrets.cache_seconds:
            return None
        return known.secret

    async def fetch(self, target: Target, role: DatabaseRole, reference: SecretReference) -> Secret:
        """Raises SecretUnavailable."""
        if (found := self.at_hand(target, role, reference)) is not None:
            return found
        key = _key(target, role, reference)
        failed = self._failed.get(key)
        if failed is not None and _now() - failed.at < _FAILURE_SECONDS:
            raise SecretUnavailable(failed.why)
        seconds = self._current.now.secrets.timeout_seconds
        wanted = Wanted(reference, target.host, target.port, role.login, seconds)
        running = self._running.get(key)
        if running is None:
            asking = self._ask(key, wanted, self._current.now, self._keepers)
            running = self._running[key] = asyncio.ensure_future(asking)
            running.add_done_callback(partial(self._done, key))
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(running)
        except TimeoutError:
            raise unavailable(wanted, "it could not be fetched in time") from None

    async def fetch_again(
        self, target: Target, role: DatabaseRole, reference: SecretReference, refused: Secret
    ) -> Secret | None:
        """Another one than this, which the server did not take: the keeper may have a new one. Raises SecretUnavailable."""
        key = _key(target, role, reference)
        known = self._known.get(key)
        if known is not None and known.secret.reveal() != refused.reveal():
            return known.secret
        if known is not None and _now() - known.at < self._again_seconds:
            return None
        self._known.pop(key, None)
        found = await self.fetch(target, role, reference)
        return None if found.reveal() == refused.reveal() else found

    def close(self) -> None:
        self._known.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, key: _Key, wanted: Wanted, settings: Settings, keepers: dict[SecretProvider, Provider]) -> Secret:
        """`keepers`: those that were made of these settings."""
        loop = asyncio.get_running_loop()
        try:
            secret = await loop.run_in_executor(self._pool, self._fetch, wanted, settings, keepers)
        except SecretUnavailable as error:
            _keep(self._failed, key, _Failed(str(error), _now()))
            raise
        except Exception as error:  # a fault of a library, whose text may quote what it was given
            failed = unavailable(wanted, f"it could not be fetched ({type(error).__name__})")
            _keep(self._failed, key, _Failed(str(failed), _now()))
            raise failed from None
        if _sections(settings) == _sections(self._current.now):
            self._failed.pop(key, None)
            _keep(self._known, key, _Known(secret, _now()))
        return secret

    def _fetch(self, wanted: Wanted, settings: Settings, keepers: dict[SecretProvider, Provider]) -> Secret:
        """In a thread."""
        provider = wanted.reference.provider
        keeper = keepers.get(provider)
        if keeper is None:
            keeper = keepers[provider] = self._open_keeper(provider, settings)
        return keeper.fetch(wanted)

    def _check(self, target: Target, reference: SecretReference) -> None:
        settings = self._current.now
        if _sections(settings) != self._made_of:
            self._made_of = _sections(settings)
            self._keepers = {}
            self._known.clear()
            self._failed.clear()
        if not settings.secrets.allows(reference):
            raise SecretUnavailable(f"{reference}: references like this are not in secrets.allowed of the settings")
        if reference.provider is SecretProvider.RDS_IAM and target.tls not in _VERIFIED:
            raise SecretUnavailable(f"{reference}: its token goes to the server as it is, so that tls must be verify-full")

    def _done(self, key: _Key, running: "asyncio.Future[Secret]") -> None:
        self._running.pop(key, None)
        if not running.cancelled():
            running.exception()  # whoever waited has it; perhaps nobody waits any more


def _keep(memory: dict[_Key, V], key: _Key, found: V) -> None:
    memory.pop(key, None)
    if len(memory) >= _REMEMBERED:
        del memory[next(iter(memory))]
    memory[key] = found


def _key(target: Target, role: DatabaseRole, reference: SecretReference) -> _Key:
    """A token is for one login on one server; what else is kept is the same for all who refer to it."""
    if reference.provider is SecretProvider.RDS_IAM:
        return str(reference), target.host, target.port, role.login
    return str(reference), "", 0, ""


def _sections(settings: Settings) -> tuple[object, ...]:
    return settings.secrets, settings.vault, settings.aws, settings.google


def _now() -> float:
    return asyncio.get_running_loop().time()
