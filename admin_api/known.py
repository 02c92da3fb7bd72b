"""Whoever reads an answer may log in at once: so it is given when every worker knows what it says."""

import asyncio
from contextlib import suppress
from typing import Final

from gateway.ports import GatewayUnavailable, LiveGateway

_KNOWN_SECONDS: Final = 2.0
_ASK_AGAIN_SECONDS: Final = 0.01


async def until_known(gateway: LiveGateway, revision: int) -> None:
    """For a while. Where the gateway does not answer, that is theirs to find out."""
    with suppress(GatewayUnavailable, TimeoutError):
        async with asyncio.timeout(_KNOWN_SECONDS):
            while await gateway.revision() < revision:  # noqa: ASYNC110 - it is in other processes
                await asyncio.sleep(_ASK_AGAIN_SECONDS)
