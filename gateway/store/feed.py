"""What the directory needs of each kind of store."""

import contextlib
import gc
from collections.abc import Iterator
from typing import Final, Protocol

from gateway.access.model import Snapshot
from gateway.store.keys_wanted import Keys, check_keys

_NEVER: Final = 1_000_000_000


class Feed(Protocol):
    """A link to one store. Used by one task at a time for `look`, by another for `probe`; both fail within a few seconds."""

    async def look(self, known: Snapshot | None) -> Snapshot | None:
        """The newest snapshot; None: it is still `known`. After an error the link is made anew. Raises StoreError."""
        ...

    async def probe(self) -> None:
        """Could somebody change this store now? Raises StoreError when a revocation could not be written down."""
        ...

    def forget(self) -> None:
        """Make the link anew at the next look: what it remembers may be wrong."""
        ...

    async def close(self) -> None: ...


def check_new_link(stored_key_id: str | None, keys: Keys | None) -> None:
    """A new link may lead to another store. Raises VaultError."""
    if keys is not None and stored_key_id is not None:
        check_keys({stored_key_id}, keys)


@contextlib.contextmanager
def no_full_collection() -> Iterator[None]:
    """So many new objects would start searches for cycles through everything, each of which stops the loop; none is garbage yet.

    The young are looked through as ever, a few at a time: put off, it would be all of them at once.
    """
    young, middle, old = gc.get_threshold()
    gc.set_threshold(young, middle, _NEVER)
    try:
        yield
    finally:
        gc.set_threshold(young, middle, old)
