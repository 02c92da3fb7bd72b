"""The live sessions of this worker, which of them are to be looked at, and the keys by which their queries can be cancelled."""

import hmac
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Final, Protocol

import structlog

from gateway.access.model import NO_LIMITS, Denial, Lease
from gateway.bus.lines import Payload
from gateway.proxy.instants import Instants

_RANDOM_BITS: Final = 24
#: Of a grant that ends by the clock, in one turn of the event loop: a microsecond each.
DUE_AT_ONCE: Final = 500
_UNDECIDED: Final = Denial("undecided", "57P01", "the gateway could not decide whether you may stay", "Connect again.")
_log: Final = structlog.stdlib.get_logger("gateway.reconciler")


class Session(Protocol):
    """What the reconciler, the cancel listener and `sessions list` need of a client's connection."""

    cancel_key: bytes

    @property
    def session_id(self) -> str: ...

    def reconcile(self) -> None:
        """Ask again whether this session may live; end it if not."""
        ...

    def terminate(self, denial: Denial) -> None: ...

    def cancel_query(self) -> None: ...

    def describe(self) -> Payload: ...

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


def is_attended(lease: Lease) -> bool:
    """Whether there is anything for `Session.attend` to look after."""
    return lease.valid_until is not None or lease.limits != NO_LIMITS


class Registry:
    """`worker` stands in the upper bits of every process id that we give out, so that any worker knows whose key it is.

    `unasked`: whose rights may be others by now, and who were not asked again yet. It is the same object for good. Nothing of a
    session that stands in it passes, either way: what comes from its client or its server asks first.
    `attended`: those that `attend` has something to do for. `gated`: from whose clients somebody stopped to read, some time.
    """

    def __init__(self, worker: int) -> None:
        self._worker = worker
        self.sessions: dict[str, Session] = {}
        self.unasked: Final[dict[str, Session]] = {}
        self.attended: dict[str, Session] = {}
        self.gated: dict[str, Session] = {}
        self._instants = Instants()
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
        self._note(session)

    def remove(self, session: Session, process_id: int | None) -> None:
        name = session.session_id
        for found in (self.sessions, self.unasked, self.attended, self.gated):
            found.pop(name, None)
        self._instants.put(name, None)
        if process_id is not None:
            self._keys.pop(process_id, None)

    # -- rights --------------------------------------------------------------------------------------------------------

    def suspect_all(self) -> None:
        """Something changed that rights hang on: nobody has any until asked again."""
        self.unasked.update(self.sessions)

    def suspect(self, sessions: Mapping[str, Session]) -> None:
        """The same of some that are registered, by their ids. The reconciler looks a few times a second."""
        self.unasked.update(sessions)

    def suspect_due(self, now: datetime) -> bool:
        """The same of those whose rights may be others by the clock alone; True: there may be more. `now`: by that clock."""
        due = self._instants.take(now, DUE_AT_ONCE)
        for name in due:
            self.unasked[name] = self.sessions[name]
        return len(due) == DUE_AT_ONCE

    def ask(self, session: Session) -> None:
        """What cannot be decided is no: a fault in asking about one session ends that one."""
        self.unasked.pop(session.session_id, None)
        try:
            session.reconcile()
            if session.session_id in self.sessions:
                self._note(session)
        except Exception:
            _log.exception("a session's rights could not be decided", session=session.session_id)
            session.terminate(_UNDECIDED)

    def attend(self, session: Session) -> None:
        try:
            session.attend()
        except Exception:
            _log.exception("a session's limits could not be looked after", session=session.session_id)
            session.terminate(_UNDECIDED)

    def _note(self, session: Session) -> None:
        """What its lease says now."""
        lease, name = session.lease, session.session_id
        self._instants.put(name, lease.changes_at)
        if is_attended(lease):
            self.attended[name] = session
        else:
            self.attended.pop(name, None)

    @staticmethod
    def worker_of(process_id: int) -> int:
        return process_id >> _RANDOM_BITS
