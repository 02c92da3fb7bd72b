"""What a rotation works with, and who makes it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from gateway.custody.rotation import Step
from gateway.custody.upstream_admin import admin_connection
from gateway.ports import GatewayUnavailable, LiveGateway
from gateway.services.rotation_logins import Connect
from gateway.services.rotation_rows import Keys

_PATIENCE_SECONDS: Final = 2.0
_ASK_SECONDS: Final = 0.02


def _unheard(_step: Step) -> None:
    """Nobody watches."""


async def _at_once(_revision: int) -> None:
    """There is no gateway to wait for."""


def workers_of(gateway: LiveGateway) -> Callable[[int], Awaitable[None]]:
    """Returns when all workers of this gateway decide by a revision; one that cannot be asked, or is slow, is not waited for."""

    async def caught_up(revision: int) -> None:
        with contextlib.suppress(TimeoutError, GatewayUnavailable):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while True:
                    if await gateway.revision() >= revision:
                        return
                    await asyncio.sleep(_ASK_SECONDS)

    return caught_up


@dataclass(frozen=True, slots=True)
class Means:
    """What a rotation works with. `caught_up` returns when the gateway's workers decide by this revision, or cannot be asked.

    `entering` hears of each step before it is made. `asks_the_dead`: whether the former password is tried at the end.
    """

    keys: Keys
    caught_up: Callable[[int], Awaitable[None]] = _at_once
    connect: Connect = admin_connection
    entering: Callable[[Step], None] = _unheard
    asks_the_dead: bool = True


@dataclass(frozen=True, slots=True)
class Signature:
    """Who, and why."""

    actor: str
    reason: str
