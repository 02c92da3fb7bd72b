"""The sessions of this worker, pending and live, and the keys by which their queries can be cancelled."""

import hmac
import secrets
from typing import Final, Protocol

from gateway.access.model import Denial, Lease
from gateway.bus.lines import Payload

_RANDOM_BITS: Final = 24


class Session(Protocol):
    """What the reconciler, the cancel listener and `sessions list` need of a client's connection."""

    session_id: str
    cancel_key: bytes

    def reconcile(self) -> None:
        """Ask again whether this session may live; end it if not."""
        ...

    def terminate(self, denial: Denial) -> None: ...

    def cancel_query(self) -> None: ...

    def describe(self) -> Payload: ...

    @property
    def is_due(self) -> bool:
        """By the clock alone it may have lost its right, or have another one."""
        ...

    def attend(self) -> None:
        """Once a second: end it if it was idle for too long, tell it that its end is near."""
        ...

    def probe(self) -> None:
        """Notice a client that went away while nobody reads from it."""
        ...

    @property
    def busy(self) -> bool:
        """Upstream owes it an answer, or it has a transaction open."""
        ...

    @property
    def bytes_in(self) -> int:
        """How much its client has sent so far."""
        ...

    @property
    def lease(self) -> Lease: ...


class Registry:
    """`worker` stands in the upper bits of every process id that we give out, so that any worker knows whose key it is."""

    def __init__(self, worker: int) -> None:
        self._worker = worker
        self.sessions: dict[str, Session] = {}
        self._keys: dict[int, Session] = {}

    def new_key(self, session: Session, *, long: bool) -> tuple[int, bytes]:
        """BackendKeyData for this session: 4 bytes in protocol 3.0, 32 in 3.2."""
        process_id = 0
        while process_id == 0 or process_id in self._keys:
            process_id = self._worker << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
        session.cancel_key = key = secrets.token_bytes(32 if long else 4)
        self._keys[process_id] = session
        return process_id, key

    def find(self, process_id: int, key: bytes) -> Session | None:
        found = self._keys.get(process_id)
        return found if found is not None and hmac.compare_digest(found.cancel_key, key) else None

    def add(self, session: Session) -> None:
        self.sessions[session.session_id] = session

    def remove(self, session: Session, process_id: int | None) -> None:
        self.sessions.pop(session.session_id, None)
        if process_id is not None:
            self._keys.pop(process_id, None)

    @staticmethod
    def worker_of(process_id: int) -> int:
        return process_id >> _RANDOM_BITS
