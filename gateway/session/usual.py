"""Short cuts for the usual request and its usual reply, when each is one whole chunk.

Both do in one go what `client_messages` and `upstream_side` do message by message, or nothing at all: then they answer False, and
the message goes the long way, which has the rules. Everything is looked at before anything is changed.
"""

from functools import lru_cache
from typing import Final

from gateway.audit.events import statement_ended
from gateway.session.conversation import Conversation
from gateway.session.holding import COPIED_AT_ONCE, MOST_OWED, VALUES_AT_ONCE
from gateway.session.ledger import BIND, DESCRIBE_ENTRY, EXECUTE, QUERY, SYNC_ENTRY, Entry
from gateway.session.verdicts import Judged
from gateway.wire.backend import rows_of_tag
from gateway.wire.errors import BadMessage
from gateway.wire.framing import HEADER_SIZE, skip_rows, unpack_header
from gateway.wire.frontend import SYNC, check_bind_values, message, read_bind_head

_QUERY: Final = ord("Q")
_BIND: Final = ord("B")
_ROW_DESCRIPTION: Final = ord("T")
_COMMAND_COMPLETE: Final = ord("C")
_EXECUTE_SYNC: Final = message(b"E", bytes(5)) + SYNC
#: Execute of the unnamed portal and Sync, with or without its Describe before.
_TAILS: Final = frozenset((_EXECUTE_SYNC, message(b"D", b"P\0") + _EXECUTE_SYNC))
LONGEST_TAIL: Final = max(map(len, _TAILS))
_BIND_COMPLETE: Final = message(b"2", b"")
_READY: Final = (message(b"Z", b"I"), message(b"Z", b"T"))
_READY_SIZE: Final = 6


_PLAINEST: Final = bytes(6)  # a Bind without any names, formats and values
_PLAINEST_HEAD: Final = read_bind_head(_PLAINEST)
_NOT_BOUND: Final = Entry(BIND)


@lru_cache(64)
def lengths(shortest: int, longest: int) -> range:
    """Of messages: the same object for all sessions."""
    return range(shortest, longest + 1)


class UsualRequests:
    """One Query whose verdict is known; or a Bind of the unnamed portal to a known statement, with its Execute and Sync.

    A part of the client's side, not an object of its own: each session has one.
    """

    __slots__ = ("_last_beginning", "_last_bound", "_last_head", "_lengths", "_shared")

    def __init__(self, shared: Conversation) -> None:
        self._shared = shared
        self._lengths = lengths(5, min(COPIED_AT_ONCE, shared.facts.max_message_bytes))
        # Binds of one statement begin alike, up to their values; and nothing changes in their entry.
        self._last_beginning = _PLAINEST
        self._last_head = _PLAINEST_HEAD
        self._last_bound = _NOT_BOUND

    def _take(self, data: bytes, now: float) -> bool:
        """True: it may pass as it is, and is in the ledger and in the records."""
        shared = self._shared
        size = len(data)
        if size <= HEADER_SIZE or shared.ledger.unusual or shared.audit_sqlstate or len(shared.ledger.queue) >= MOST_OWED:
            return False
        kind, length = unpack_header(data)
        if kind == _BIND:
            return length in self._lengths and self._take_bound(data[HEADER_SIZE : length + 1], data[length + 1 :], now)
        if kind != _QUERY or size != length + 1 or length not in self._lengths or data[-1]:
            return False
        in_force, sql = shared.in_force, data[HEADER_SIZE:-1]
        judged = in_force.remembered.get(sql)
        if judged is None:
            like = in_force.by_shape(sql)
            if like is None:
                return False
            fragment, statements = like[1], 1
        elif judged.passes:
            fragment, statements = judged.fragment, judged.statements
        else:
            return False
        number = shared.started(fragment, "query", 0)
        shared.ledger.queue.append(Entry(QUERY, number, now, None, b"", None, statements))
        shared.prepared.will_drop(b"")
        return True

    def _take_bound(self, body: bytes, tail: bytes, now: float) -> bool:
        """A Bind, and what stands behind it up to the end of the chunk: what drivers send for each query."""
        shared = self._shared
        ledger = shared.ledger
        if tail not in _TAILS or ledger.unusual or ledger.copy_in or shared.audit_sqlstate:
            return False
        try:
            if not body.startswith(self._last_beginning):
                self._last_head = head = read_bind_head(body)
                self._last_beginning = body[: head.end]
            head = self._last_head
            if head.parameters > VALUES_AT_ONCE:
                return False
            check_bind_values(body, head.end, head.parameters)
        except BadMessage:
            return False
        judged = shared.prepared.lookup(head.statement)
        if head.portal or not isinstance(judged, Judged) or not judged.passes or judged.policy is not shared.in_force.policy:
            return False
        parameters = head.parameters
        bound = self._last_bound
        if bound.judged is not judged or bound.parameters != parameters:
            self._last_bound = bound = Entry(BIND, 0, 0.0, None, b"", judged, parameters)
        shared.portals.send_with_sync(b"")
        execute = Entry(EXECUTE, shared.started(judged.fragment, "execute", parameters), now, None, b"", judged)
        if len(tail) > len(_EXECUTE_SYNC):
            ledger.queue.extend((bound, DESCRIBE_ENTRY, execute, SYNC_ENTRY))
        else:
            ledger.queue.extend((bound, execute, SYNC_ENTRY))
        shared.prepared.group_sent()
        return True


def take_usual_reply(shared: Conversation, data: bytes, now: float) -> bool:
    """The whole success of the one request that is owed, up to its ReadyForQuery. True: pass it on."""
    ledger = shared.ledger
    queue = ledger.queue
    owed = len(queue)
    if not data.endswith(_READY) or ledger.copy_in or ledger.swallowed_syncs or shared.name_lost:
        return False
    position = 0
    if owed == 1:
        entry = queue[0]
        if entry.kind != QUERY or entry.refusal is not None or entry.sqlstate:
            return False
        described = True  # a Query describes its rows where it has any
    elif 3 <= owed <= 4 and queue[0].kind == BIND and queue[-1] is SYNC_ENTRY and data.startswith(_BIND_COMPLETE):
        entry = queue[-2]
        described = owed == 4
        if entry.kind != EXECUTE or (described and queue[1] is not DESCRIBE_ENTRY):
            return False
        position = HEADER_SIZE
    else:
        return False
    judged = entry.judged
    if entry.rows is not None or (judged is not None and not judged.passes):
        return False
    end = len(data) - _READY_SIZE
    if described:
        kind, length = unpack_header(data, position)
        if kind == _ROW_DESCRIPTION and length >= 4:
            position += 1 + length
        elif owed > 1:
            return False
    position = skip_rows(data, position, end)
    if position + HEADER_SIZE > end:
        return False
    kind, length = unpack_header(data, position)
    if kind != _COMMAND_COMPLETE or position + 1 + length != end:
        return False
    shared.status = data[-1:]
    if owed == 1:
        shared.prepared.dropped(b"")
    else:
        shared.portals.confirm(queue[0].name, queue[0])
    if shared.status == b"I":
        shared.portals.all_dropped()
        if shared.catalog_touched:
            shared.transaction_over()
    queue.clear()
    rows = rows_of_tag(data[position + HEADER_SIZE : end])
    if entry.statement_id:
        elapsed = int((now - entry.started) * 1_000_000)
        shared.records.append(statement_ended(shared.short, entry.statement_id, elapsed, rows, "", "ok"))
    return True
