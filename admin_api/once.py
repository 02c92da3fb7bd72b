"""Idempotency keys: a POST that carries one takes effect once, however often it is sent.

The key is claimed in the transaction of the change itself, so there is no moment in which one is there without the other.
"""

import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from admin_api.problems import ApiError
from gateway.access.model import Snapshot
from gateway.access.request_record import AccessRequest
from gateway.ports import IdempotencyClaim, RequestFilter, UnitOfWork
from gateway.services.request_people import RequestStore


class ClaimingStore:
    """Implements RequestStore: its first unit of work commits the claim, too."""

    def __init__(self, store: RequestStore, claim: IdempotencyClaim) -> None:
        self._store = store
        self._claim = claim

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[UnitOfWork]:
        async with self._store.begin() as work:
            work.claim(self._claim)
            yield work

    async def read(self) -> Snapshot:
        return await self._store.read()

    async def access_request(self, key: str | int) -> AccessRequest | None:
        return await self._store.access_request(key)

    async def access_requests(self, wanted: RequestFilter) -> list[AccessRequest]:
        return await self._store.access_requests(wanted)


class InFlight:
    """Keys of requests that this process is working on."""

    def __init__(self) -> None:
        self._keys: set[str] = set()

    @asynccontextmanager
    async def hold(self, key_hash: str) -> AsyncIterator[None]:
        if key_hash in self._keys:
            text = "a request with this Idempotency-Key is being worked on"
            raise ApiError(409, "idempotency-key-in-flight", text, "Ask again in a moment.")
        self._keys.add(key_hash)
        try:
            yield
        finally:
            self._keys.discard(key_hash)


def claim_of(secret: bytes, actor: str, key: str, method: str, target: str, body: bytes) -> IdempotencyClaim:
    """A key is its actor's own; the content is all that the request says: method, path, query and body.

    A body may hold a password. Whoever reads the store could try guesses against a plain hash of it, by the billion, so it is made
    with a `secret` that is not there.
    """
    key_hash = hashlib.sha256(_framed(actor.encode(), key.encode())).hexdigest()
    return IdempotencyClaim(key_hash, hmac.new(secret, _framed(method.encode(), target.encode(), body), "sha256").hexdigest())


def check_same_request(request_hash: str, claim: IdempotencyClaim) -> None:
    if request_hash != claim.request_hash:
        raise ApiError(
            422,
            "idempotency-key-reused",
            "this Idempotency-Key came with another request before",
            "Use a new key for a new request.",
        )


def _framed(*parts: bytes) -> bytes:
    """In such a way that no other parts look the same."""
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)
