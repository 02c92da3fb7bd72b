"""One message of upstream's at a time: whose reply it is, what that settles, and what the client gets instead of it, if anything.

The rules that `upstream_side` feeds. (Documentation: "Message Flow" and "Message Formats".)
"""

from typing import Final

from gateway.session import ledger
from gateway.session.conversation import Conversation
from gateway.session.effects import End, NameAgain, fatal
from gateway.session.ledger import BIND, CLOSE, CLOSE_PORTAL, COPY_END, EXECUTE, INSERTED, NAMING, PARSE, QUERY, SYNC, Entry
from gateway.session.names import names_changed
from gateway.session.watched import LIFT_REPLIES, LIFT_TAG, Watched, reported
from gateway.wire import sqlstate
from gateway.wire.backend import error_code, parameter_status, read_parameter_status
from gateway.wire.errors import ProtocolViolation
from gateway.wire.frontend import message

_COMMAND_COMPLETE: Final = ord("C")
_STATUSES: Final = frozenset((b"I", b"T", b"E"))
_RUNS: Final = frozenset((QUERY, EXECUTE))
_ANY_TIME: Final = frozenset(b"NA")
_NAME_STAYS_LOST: Final = "the session's application_name could not be put right after a RESET"


class Breach(Exception):
    """Upstream reported what must never be."""

    def __init__(self, end: End) -> None:
        super().__init__(end.reason)
        self.end = end


class Replies:
    """Its methods raise ProtocolViolation, and Breach."""

    __slots__ = ("_shared",)

    def __init__(self, shared: Conversation) -> None:
        self._shared = shared

    def _head(self) -> Entry | None:
        queue = self._shared.ledger.queue
        return queue[0] if queue else None

    def pop(self) -> None:
        queue = self._shared.ledger.queue
        del queue[0]
        self._shared.status = b""  # until ReadyForQuery says it
        if queue and queue[0].kind == COPY_END:
            self._shared.ledger.popped()

    def note(self, kind: int, now: float) -> bool:
        """A message whose header says enough. True: it answers one of ours, and is not for the client."""
        head = self._head()
        if kind in _ANY_TIME:
            return False
        if (watched := self._cut_off(head)) is not None:
            watched.cut_rest(kind)
            return True
        if head is None or head.refusal is not None:
            raise ProtocolViolation(f"unexpected message {chr(kind)!r}")
        match head.kind:
            case ledger.PARSE if kind == 0x31:  # ParseComplete
                self._shared.prepared.confirm(head.name, head.judged)
            case ledger.BIND if kind == 0x32:  # BindComplete
                self._shared.portals.confirm(head.name, head)
            case ledger.DESCRIBE if (
                kind in b"Tn"
            ):  # RowDescription, NoData: of a statement's Describe, after its ParameterDescription
                pass
            case ledger.DESCRIBE if kind == 0x74:
                return False
            case ledger.INSERTED:
                return self._ours(head, kind)
            case ledger.NAMING if kind in b"123":
                return True
            case ledger.QUERY if kind in b"12n3" and (watched := self._shared.watched) is not None and watched.entry is head:
                watched.reply_to_part(kind)
                return True
            case ledger.EXECUTE if kind == 0x73 and self._watches(head) and self._suspended():  # PortalSuspended
                return True
            case ledger.CLOSE if kind == 0x33:  # CloseComplete
                self._shared.prepared.confirm(head.name, None)
            case ledger.CLOSE_PORTAL if kind == 0x33:
                self._shared.portals.confirm(head.name, None)
            case ledger.EXECUTE if kind in b"Is":  # EmptyQueryResponse, PortalSuspended
                self.complete(None, now)
                return False
            case ledger.QUERY | ledger.EXECUTE if kind == 0x47 and not self._watches(head):  # CopyInResponse
                self._shared.ledger.copy_in_started()
                return False
            case ledger.QUERY | ledger.EXECUTE if kind in b"Hc":  # CopyOutResponse, CopyDone
                return False
            case ledger.QUERY if kind == 0x54:  # RowDescription
                return False
            case ledger.QUERY if kind == 0x49:  # EmptyQueryResponse
                self._shared.ledger.settled()
                return bool(head.name)  # then it stands for a command that we ran
            case _:
                raise ProtocolViolation(f"unexpected message {chr(kind)!r}")
        self.pop()
        return False

    def _watches(self, entry: Entry) -> bool:
        watched = self._shared.watched
        return watched is not None and watched.entry is entry

    def _suspended(self) -> bool:
        watched = self._shared.watched
        return watched is not None and watched.suspended()

    def _cut_off(self, head: Entry | None) -> Watched | None:
        """The statement whose reply this belongs to, when the client has read our error in place of its rest."""
        watched = self._shared.watched
        return watched if watched is not None and watched.cut is not None and watched.entry is head else None

    def _ours(self, head: Entry, kind: int) -> bool:
        """A reply to what we put before the client's message."""
        if head.name[head.parameters] != kind:
            raise ProtocolViolation(f"unexpected message {chr(kind)!r}")
        head.parameters += 1
        if head.parameters == len(head.name):
            self.pop()
        return True

    def notice(self, body: bytes) -> bytes | None:
        """One that came beside replies of ours: PostgreSQL warns of a SET LOCAL that stands in no transaction block."""
        head = self._head()
        return b"" if head is not None and head.kind == INSERTED and error_code(body) == "25P01" else None

    def complete(self, rows: int | None, now: float, tag: bytes = b"") -> bool:
        """CommandComplete and its kin: of an Execute the end, of a Query one statement's. True: the client does not get it."""
        head = self._head()
        if head is not None and head.kind == INSERTED and tag == LIFT_TAG:
            return self._ours(head, _COMMAND_COMPLETE)
        if head is not None and head.kind == NAMING:
            return True
        if self._cut_off(head) is not None:
            return True
        if head is None or head.refusal is not None or head.kind not in (QUERY, EXECUTE):
            raise ProtocolViolation("unexpected CommandComplete")
        if rows is not None:
            head.rows = rows if head.rows is None else head.rows + rows
        owed = self._shared.ledger
        owed.copy_in = False
        if owed.swallowed_syncs:
            owed.settled()
        watched = self._shared.watched
        if watched is not None and watched.entry is head:
            if watched.completed(tag):
                return True
        elif tag and head.judged is not None and head.judged.verdict.row_ceiling:
            reported(self._shared, head, tag)
        if head.kind == EXECUTE:
            self.pop()
            self._finished(head, now)
        return False

    def _finished(self, entry: Entry, now: float) -> None:
        outcome = "ok" if not entry.sqlstate else "cancelled" if entry.sqlstate == "57014" else "error"
        self._shared.ended(entry, now, outcome)
        if entry.judged is not None and entry.kind in _RUNS:
            if names := entry.judged.verdict.facts.names:
                names_changed(self._shared.prepared, names, entry.judged, certain=outcome == "ok")
            if entry.judged.changes_catalog:
                self._shared.catalog_touched = True
            if outcome == "ok" and entry.judged.verdict.temporary_made:
                self._shared.temporary = self._shared.temporary.union(entry.judged.verdict.temporary_made)

    def ready(self, body: bytes, now: float) -> bytes | None:
        """Returns what the client gets before it; None: it is not for the client."""
        if body not in _STATUSES:
            raise ProtocolViolation("malformed ReadyForQuery")
        shared, head = self._shared, self._head()
        kept = None
        if head is not None and head.kind == NAMING:
            self._named(head, body)
        else:
            kept = self._ready(head, body, now)
        if shared.name_lost and body != b"E" and not (shared.ledger.busy or shared.ledger.swallowed_syncs):
            # Nothing was sent since what this is the answer to: a group of ours would stand between two of the client's.
            tries = head.parameters if head is not None and head.kind == NAMING else 0
            shared.ledger.queue.append(Entry(NAMING, parameters=tries + 1))
            shared.ask(NameAgain())
        return kept

    def _named(self, head: Entry, status: bytes) -> None:
        """The end of our own group. Did it fail in a transaction of the client's, that is lost, and the client does not know."""
        shared = self._shared
        self.pop()
        shared.status = status
        if status == b"E" or (shared.name_lost and (not head.sqlstate or head.parameters > 1)):
            shared.event("tripwire", {"setting": "application_name", "value": "", "pinned": shared.label})
            raise Breach(End("tripwire: application_name", fatal(sqlstate.ADMIN_SHUTDOWN, _NAME_STAYS_LOST), distrust=True))

    def _ready(self, head: Entry | None, body: bytes, now: float) -> bytes | None:
        shared = self._shared
        if (off := self._cut_off(head)) is not None and off.fails_block(body):
            return None
        unanswered = head is not None and head.kind == QUERY and not head.sqlstate and shared.ledger.swallowed_syncs
        if head is None or head.kind not in (QUERY, SYNC) or unanswered:
            if shared.ledger.absorb_surplus_ready():
                return b""
            raise ProtocolViolation("unexpected ReadyForQuery")
        if head.refusal is not None and not head.sqlstate:
            raise ProtocolViolation("a success where a replaced statement had to fail")
        shared.ledger.copy_in = False
        self.pop()
        shared.status = body
        watched, kept = shared.watched, b""
        if watched is not None and watched.entry is head:
            kept = watched.ready()
            shared.prepared.dropped(b"")  # whatever became of it: the unnamed statement is the watched one now
        if head.kind == QUERY:
            if head.name and not head.sqlstate:
                kept = message(b"C", head.name + b"\0")
            if head.sqlstate != sqlstate.PROTOCOL_VIOLATION:  # else upstream could not even read it
                shared.prepared.dropped(b"")
            self._finished(head, now)
        if body == b"I":
            shared.transaction_over()
        return kept

    def error(self, body: bytes, now: float) -> bytes | None:
        shared = self._shared
        code = error_code(body)
        if len(code) != 5 or not body.endswith(b"\0\0"):
            raise ProtocolViolation("malformed ErrorResponse")
        if b"\0VFATAL\0" in body or b"\0VPANIC\0" in body:
            shared.upstream_fatal = code
            return None  # the connection closes next; nothing owed will come
        head = self._head()
        instead = None
        if head is not None and head.refusal is not None and head.refusal.matches(code, body):
            instead = head.refusal.message()
            code = head.refusal.fields.sqlstate
        if self._cut_off(head) is not None and head is not None and head.refusal is not None:
            instead, code = b"", head.refusal.fields.sqlstate  # the client has read it
        if head is None:
            return instead
        if head.kind == NAMING:
            head.sqlstate = code
            return b""
        head_is_failing = head.kind != SYNC
        if head_is_failing and head.kind == QUERY:
            head.sqlstate = code
            shared.ledger.copy_in = False
            if shared.watched is not None and shared.watched.entry is head:
                shared.watched.failed()
            return instead
        for place, entry in enumerate(shared.ledger.fail()):
            self._lost(entry, code if place == 0 else "", now)
        return instead

    def _lost(self, entry: Entry, code: str, now: float) -> None:
        """An error took this entry with it; `code` only where it is the failed one, the others were never looked at."""
        shared = self._shared
        kind = entry.kind
        if (kind == PARSE and entry.refusal is None) or kind == CLOSE:
            shared.prepared.abandon(entry.name)
        elif kind in (BIND, CLOSE_PORTAL):
            shared.portals.abandon(entry.name)
        elif kind == INSERTED and entry.name.startswith(LIFT_REPLIES):
            shared.prepared.dropped(b"")
        if shared.watched is not None and shared.watched.entry is entry:
            shared.watched.lost()
        if code and kind == PARSE and not entry.name:
            shared.prepared.dropped(b"")  # an error in a Parse drops the unnamed statement
        entry.sqlstate = code
        if code:
            self._finished(entry, now)
        else:
            shared.ended(entry, now, "skipped")
            if entry.judged is not None and entry.kind in _RUNS and (names := entry.judged.verdict.facts.names):
                names_changed(shared.prepared, names, entry.judged, certain=False)

    def status(self, body: bytes) -> bytes | None:
        shared = self._shared
        name, value = read_parameter_status(body)
        pinned = shared.facts.pinned.get(name)
        if name == "client_encoding" and value == "UNICODE":
            value = "UTF8"  # PostgreSQL repeats this old spelling when it was used
        if pinned is not None and value != pinned:
            shared.event("tripwire", {"setting": name, "value": value[:100], "pinned": pinned})
            text = f'the database changed the setting "{name}", which this gateway relies on'
            farewell = fatal(sqlstate.ADMIN_SHUTDOWN, text, "Connect again; tell your administrator if this repeats.")
            raise Breach(End(f"tripwire: {name}", farewell, distrust=True))
        if name == "application_name":
            shared.name_lost = shared.naming is not None and value == shared.naming.reset_name
            if shared.name_lost:
                return b""
        if name == "application_name" and not value.startswith(shared.label):
            raise Breach(End(f"tripwire: {name}", fatal(sqlstate.ADMIN_SHUTDOWN, "application_name is pinned"), distrust=True))
        if name == "session_authorization":
            return parameter_status(name, shared.facts.user)
        return None
