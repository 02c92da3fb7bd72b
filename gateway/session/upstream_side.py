"""Upstream to client. Rows are stepped over; what advances the ledger is noted; the error of a replaced message is swapped for
our denial; a setting that must not change ends the session when upstream reports that it did.

`feed` is the hot loop; the usual reply has a short cut (see `usual`). Messages that must be read (CommandComplete, ErrorResponse,
ReadyForQuery, ParameterStatus) are kept until they are whole; of all others only the header is looked at.
"""

from typing import Final

from gateway.session import ledger
from gateway.session.conversation import Conversation
from gateway.session.effects import End, fatal
from gateway.session.ledger import BIND, CLOSE, CLOSE_PORTAL, COPY_END, EXECUTE, INSERTED, PARSE, QUERY, SYNC, Entry
from gateway.session.names import names_changed
from gateway.session.usual import take_usual_reply
from gateway.session.watched import LIFT_TAG, reported
from gateway.wire import sqlstate
from gateway.wire.backend import ErrorFields, build_notice, error_code, parameter_status, read_parameter_status, rows_of_tag
from gateway.wire.errors import ProtocolViolation
from gateway.wire.framing import HEADER_SIZE, LARGE_LIMIT, skip_rows, unpack_header

#: The longest ErrorResponse, CommandComplete and so on that is kept whole.
_READ_LIMIT: Final = 1024 * 1024

_COMMAND_COMPLETE: Final = ord("C")
_READY: Final = ord("Z")
_ERROR: Final = ord("E")
_ROWS: Final = frozenset(b"Dd")
_ROW_DESCRIPTION: Final = ord("T")
_BIND_COMPLETE: Final = ord("2")
_NOTICE: Final = ord("N")
_READ_WHOLE: Final = frozenset(b"CEZS")
_READ_BESIDE_OURS: Final = _READ_WHOLE | {_NOTICE}
_STATUSES: Final = frozenset((b"I", b"T", b"E"))
_RUNS: Final = frozenset((QUERY, EXECUTE))
_ANY_TIME: Final = frozenset(b"NA")


class _Breach(Exception):
    """Upstream reported what must never be."""

    def __init__(self, end: End) -> None:
        super().__init__(end.reason)
        self.end = end


class UpstreamSide:
    """Feed it what upstream sent; it returns what the client shall read."""

    __slots__ = ("_body_left", "_broken", "_shared", "_tail")

    def __init__(self, shared: Conversation) -> None:
        self._shared = shared
        self._body_left = 0  # of a message that is passing through
        self._tail = b""  # the beginning of a message that must be read
        self._broken = False

    @property
    def at_rest(self) -> bool:
        """Between two messages."""
        return not (self._broken or self._tail or self._body_left)

    @property
    def mid_message(self) -> bool:
        """The client has part of a message: nothing may be put between."""
        return self._body_left > 0

    def feed(self, data: bytes, now: float) -> bytes:
        """Raises nothing: what upstream may not send becomes an `End` effect, and nothing from there on is relayed."""
        if self._broken:
            return b""
        if self._tail:
            data = self._tail + data
            self._tail = b""
        elif not self._body_left and take_usual_reply(self._shared, data, now):
            return data
        size = len(data)
        position = start = 0
        if self._body_left:
            position = min(self._body_left, size)
            self._body_left -= position
        out: list[bytes] = []
        queue = self._shared.ledger.queue
        whole = _READ_BESIDE_OURS if queue and queue[0].kind == INSERTED else _READ_WHOLE
        try:
            while position + HEADER_SIZE <= size:
                kind, length = unpack_header(data, position)
                if kind in _ROWS:
                    position = skip_rows(data, position, size)
                    continue
                if not 4 <= length <= LARGE_LIMIT:
                    raise ProtocolViolation(f"invalid length {length} of message {chr(kind)!r}")
                end = position + 1 + length
                if kind in whole:
                    if end > size:
                        if length > _READ_LIMIT:
                            raise ProtocolViolation(f"a message {chr(kind)!r} of {length} bytes")
                        break
                    if kind == _COMMAND_COMPLETE:
                        if queue and queue[0].judged is not None and queue[0].judged.verdict.notice:
                            out.append(data[start:position])
                            out.append(_notice(queue[0].judged.verdict.notice))
                            start = position
                        tag = data[position + HEADER_SIZE : end]
                        if self._complete(rows_of_tag(tag), now, tag):
                            out.append(data[start:position])
                            start = end
                    elif kind == _READY:
                        if kept := self._ready(data[position + HEADER_SIZE : end], now):
                            out.append(data[start:position])
                            out.append(kept)
                            start = position
                    else:
                        body = data[position + HEADER_SIZE : end]
                        match kind:
                            case 0x45:  # ErrorResponse
                                instead = self._error(body, now)
                            case 0x53:  # ParameterStatus
                                instead = self._status(body)
                            case _:
                                instead = self._notice(body)
                        if instead is not None:
                            out.append(data[start:position])
                            out.append(instead)
                            start = end
                elif kind == _ROW_DESCRIPTION and queue and queue[0].kind == QUERY and queue[0].refusal is None:
                    pass  # the most common messages have short cuts here, `_note` has the rules
                elif kind == _BIND_COMPLETE and queue and queue[0].kind == BIND:
                    self._shared.portals.confirm(queue[0].name, queue[0])
                    self._pop()
                elif self._note(kind, now):
                    if length != 4:
                        raise ProtocolViolation(f"invalid length {length} of message {chr(kind)!r}")
                    out.append(data[start:position])
                    start = end
                position = end
        except (ProtocolViolation, _Breach) as breach:
            self._break(breach)
            size = position
        if position > size:
            self._body_left = position - size
            position = size
        elif position < size:
            self._tail = data[position:]
        if not out and position == len(data):
            return data
        out.append(data[start:position])
        return b"".join(out)

    def _break(self, breach: "ProtocolViolation | _Breach") -> None:
        """What stood before the breach still goes, so that the farewell stands between two whole messages."""
        self._broken = True
        if isinstance(breach, _Breach):
            self._shared.effects.append(breach.end)
        else:
            text = "the connection to the database broke the protocol and was closed"
            self._shared.effects.append(
                End(f"upstream: {breach.message}", fatal(sqlstate.CONNECTION_FAILURE, text), distrust=True)
            )

    def _head(self) -> Entry | None:
        queue = self._shared.ledger.queue
        return queue[0] if queue else None

    def _pop(self) -> None:
        queue = self._shared.ledger.queue
        queue.popleft()
        self._shared.status = b""  # until ReadyForQuery says it
        if queue and queue[0].kind == COPY_END:
            self._shared.ledger.popped()

    def _note(self, kind: int, now: float) -> bool:
        """A message whose header says enough. True: it answers one of ours, and is not for the client."""
        head = self._head()
        if kind in _ANY_TIME:
            return False
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
            case ledger.QUERY if kind in b"12n3" and (watched := self._shared.watched) is not None and watched.entry is head:
                watched.answered(kind)
                return True
            case ledger.EXECUTE if kind == 0x73 and self._watches(head):  # PortalSuspended
                self._suspended()
                return True
            case ledger.CLOSE if kind == 0x33:  # CloseComplete
                self._shared.prepared.confirm(head.name, None)
            case ledger.CLOSE_PORTAL if kind == 0x33:
                self._shared.portals.confirm(head.name, None)
            case ledger.EXECUTE if kind in b"Is":  # EmptyQueryResponse, PortalSuspended
                self._complete(None, now)
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
                return False
            case _:
                raise ProtocolViolation(f"unexpected message {chr(kind)!r}")
        self._pop()
        return False

    def _watches(self, entry: Entry) -> bool:
        watched = self._shared.watched
        return watched is not None and watched.entry is entry

    def _suspended(self) -> None:
        if (watched := self._shared.watched) is not None:
            watched.suspended()

    def _ours(self, head: Entry, kind: int) -> bool:
        """A reply to what we put before the client's message."""
        if head.name[head.parameters] != kind:
            raise ProtocolViolation(f"unexpected message {chr(kind)!r}")
        head.parameters += 1
        if head.parameters == len(head.name):
            self._pop()
        return True

    def _notice(self, body: bytes) -> bytes | None:
        """PostgreSQL warns of a SET LOCAL that stands in no transaction block."""
        head = self._head()
        return b"" if head is not None and head.kind == INSERTED and error_code(body) == "25P01" else None

    def _complete(self, rows: int | None, now: float, tag: bytes = b"") -> bool:
        """CommandComplete and its kin: of an Execute the end, of a Query one statement's. True: the client does not get it."""
        head = self._head()
        if head is not None and head.kind == INSERTED and tag == LIFT_TAG:
            return self._ours(head, _COMMAND_COMPLETE)
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
            self._pop()
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
                self._shared.temporary.update(entry.judged.verdict.temporary_made)

    def _ready(self, body: bytes, now: float) -> bytes:
        """Returns what the client gets before it."""
        shared = self._shared
        if body not in _STATUSES:
            raise ProtocolViolation("malformed ReadyForQuery")
        head = self._head()
        unanswered = head is not None and head.kind == QUERY and not head.sqlstate and shared.ledger.swallowed_syncs
        if head is None or head.kind not in (QUERY, SYNC) or unanswered:
            if shared.ledger.absorb_surplus_ready():
                return b""
            raise ProtocolViolation("unexpected ReadyForQuery")
        if head.refusal is not None and not head.sqlstate:
            raise ProtocolViolation("a success where a replaced statement had to fail")
        shared.ledger.copy_in = False
        self._pop()
        shared.status = body
        kept = shared.watched.ready() if shared.watched is not None and shared.watched.entry is head else b""
        if head.kind == QUERY:
            if head.sqlstate != sqlstate.PROTOCOL_VIOLATION:  # else upstream could not even read it
                shared.prepared.dropped(b"")
            self._finished(head, now)
        if body == b"I":
            shared.transaction_over()
        return kept

    def _error(self, body: bytes, now: float) -> bytes | None:
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
        if head is None:
            return instead
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
        elif kind == INSERTED:
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

    def _status(self, body: bytes) -> bytes | None:
        shared = self._shared
        name, value = read_parameter_status(body)
        pinned = shared.facts.pinned.get(name)
        if name == "client_encoding" and value == "UNICODE":
            value = "UTF8"  # PostgreSQL repeats this old spelling when it was used
        if pinned is not None and value != pinned:
            shared.event("tripwire", {"setting": name, "value": value[:100], "pinned": pinned})
            text = f'the database changed the setting "{name}", which this gateway relies on'
            farewell = fatal(sqlstate.ADMIN_SHUTDOWN, text, "Connect again; tell your administrator if this repeats.")
            raise _Breach(End(f"tripwire: {name}", farewell, distrust=True))
        if name == "application_name" and not value.startswith(shared.facts.label):
            raise _Breach(End(f"tripwire: {name}", fatal(sqlstate.ADMIN_SHUTDOWN, "application_name is pinned"), distrust=True))
        if name == "session_authorization":
            return parameter_status(name, shared.facts.user)
        return None


def _notice(text: str) -> bytes:
    return build_notice(ErrorFields("NOTICE", sqlstate.SUCCESS, text))
