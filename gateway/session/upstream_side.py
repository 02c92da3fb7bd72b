"""Upstream to client. Rows are stepped over; what advances the ledger is noted; the error of a replaced message is swapped for
our denial; a setting that must not change ends the session when upstream reports that it did.

`feed` is the hot loop; the usual reply has a short cut (see `usual`). Messages that must be read (CommandComplete, ErrorResponse,
ReadyForQuery, ParameterStatus) are kept until they are whole; of all others only the header is looked at.
"""

from typing import Final

from gateway.session.conversation import Conversation
from gateway.session.effects import End, ReadOn, fatal
from gateway.session.holding import A_REPLY, ROWS_COUNTED, ROWS_STEPPED_OVER, SURELY_ONE_TURN, TURN
from gateway.session.ledger import BESIDE_INSERTED, BIND, QUERY
from gateway.session.replies import Breach, Replies
from gateway.session.usual import take_usual_reply
from gateway.session.watched import Watched
from gateway.wire import sqlstate
from gateway.wire.backend import ErrorFields, build_notice, rows_of_tag
from gateway.wire.errors import ProtocolViolation
from gateway.wire.framing import HEADER_SIZE, LARGE_LIMIT, skip_rows, unpack_header

#: The longest ErrorResponse, CommandComplete and so on that is kept whole.
_READ_LIMIT: Final = 1024 * 1024

#: Bytes of rows that are stepped over in one go, and of those that are counted.
_STRETCH: Final = 32 * 1024
_SHORT_STRETCH: Final = 4 * 1024

_COMMAND_COMPLETE: Final = ord("C")
_READY: Final = ord("Z")
_ERROR: Final = ord("E")
_ROWS: Final = frozenset(b"Dd")
_ROW_DESCRIPTION: Final = ord("T")
_BIND_COMPLETE: Final = ord("2")
_NOTICE: Final = ord("N")
_READ_WHOLE: Final = frozenset(b"CEZS")
#: Of a reply that was cut these may have a body.
_DROPPED: Final = frozenset(b"TH")
_READ_BESIDE_OURS: Final = _READ_WHOLE | {_NOTICE}


class UpstreamSide(Replies):
    """Feed it what upstream sent; it returns what the client shall read."""

    __slots__ = ("_body_left", "_broken", "_dropping", "_rest", "_tail")

    def __init__(self, shared: Conversation) -> None:
        super().__init__(shared)
        self._body_left = 0  # of a message that is passing through, or (`_dropping`) is not for the client
        self._dropping = False
        self._tail = b""  # the beginning of a message that must be read
        self._rest: bytearray | None = None  # whole messages and more, for which there was too much to do at once
        self._broken = False

    @property
    def at_rest(self) -> bool:
        """Between two messages."""
        return not (self._broken or self._tail or self._body_left or self._rest is not None)

    @property
    def has_more(self) -> bool:
        """Something that came waits for `go_on`."""
        return self._rest is not None

    @property
    def mid_message(self) -> bool:
        """The client has part of a message: nothing may be put between."""
        return self._body_left > 0 and not self._dropping

    @property
    def body_left(self) -> int:
        """So many bytes are to come of the message of which the client has a part."""
        return 0 if self._dropping else self._body_left

    def feed(self, data: bytes, now: float) -> bytes:
        """Raises nothing: what upstream may not send becomes an `End` effect, and nothing from there on is relayed."""
        if self._broken:
            return b""
        if self._rest is not None:
            self._rest += data
            return b""
        if self._tail:
            data = self._tail + data
            self._tail = b""
        elif not self._body_left and len(data) <= _STRETCH and take_usual_reply(self._shared, data, now):
            return data
        size = len(data)
        position = start = 0
        if self._body_left:
            position = min(self._body_left, size)
            self._body_left -= position
            if self._dropping:
                start = position
                self._dropping = self._body_left > 0
        out: list[bytes] = []
        queue = self._shared.ledger.queue
        whole = _READ_BESIDE_OURS if queue and queue[0].kind in BESIDE_INSERTED else _READ_WHOLE
        replies_left = TURN // A_REPLY
        try:
            while position + HEADER_SIZE <= size:
                if replies_left <= 0 and size - position > SURELY_ONE_TURN:
                    self._rest = bytearray(data[position:])
                    self._shared.ask(ReadOn())
                    size = position
                    break
                replies_left -= 1
                kind, length = unpack_header(data, position)
                if kind in _ROWS:
                    begun = position
                    if (watched := self._shared.watched) is None or watched.meter is None:
                        position = skip_rows(data, position, min(size, position + _STRETCH))
                        rows_for_one = ROWS_STEPPED_OVER
                    else:
                        end = min(size, position + _SHORT_STRETCH)
                        position, start = _count_rows(watched, data, position, end, start, out)
                        rows_for_one = ROWS_COUNTED
                    # Nobody counted the rows of this stretch: they are taken to be as long as its first.
                    replies_left -= (position - begun) // (length + 1) // rows_for_one
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
                        if self.complete(rows_of_tag(tag), now, tag):
                            out.append(data[start:position])
                            start = end
                    elif kind == _READY:
                        kept = self.ready(data[position + HEADER_SIZE : end], now)
                        if kept is None:
                            out.append(data[start:position])
                            start = end
                        elif kept:
                            out.append(data[start:position])
                            out.append(kept)
                            start = position
                    else:
                        body = data[position + HEADER_SIZE : end]
                        match kind:
                            case 0x45:  # ErrorResponse
                                instead = self.error(body, now)
                            case 0x53:  # ParameterStatus
                                instead = self.status(body)
                            case _:
                                instead = self.notice(body)
                        if instead is not None:
                            out.append(data[start:position])
                            out.append(instead)
                            start = end
                elif kind == _ROW_DESCRIPTION and queue and queue[0].kind == QUERY and queue[0].refusal is None:
                    pass  # the most common messages have short cuts here, `replies` has the rules
                elif kind == _BIND_COMPLETE and queue and queue[0].kind == BIND:
                    self._shared.portals.confirm(queue[0].name, queue[0])
                    self.pop()
                elif self.note(kind, now):
                    if length != 4 and kind not in _DROPPED:
                        raise ProtocolViolation(f"invalid length {length} of message {chr(kind)!r}")
                    out.append(data[start:position])
                    start = end
                position = end
        except (ProtocolViolation, Breach) as breach:
            self._break(breach)
            size = position
        if position > size:
            self._body_left = position - size
            self._dropping = start == position
            position = size
        elif position < size:
            self._tail = data[position:]
        if not out and not start and position == len(data):
            return data
        out.append(data[start:position])
        return b"".join(out)

    def go_on(self, now: float) -> bytes:
        """Others had their turn (see `ReadOn`)."""
        rest, self._rest = self._rest, None
        return self.feed(bytes(rest), now) if rest is not None else b""

    def _break(self, breach: ProtocolViolation | Breach) -> None:
        """What stood before the breach still goes, so that the farewell stands between two whole messages."""
        self._broken = True
        if isinstance(breach, Breach):
            self._shared.ask(breach.end)
        else:
            text = "the connection to the database broke the protocol and was closed"
            self._shared.ask(End(f"upstream: {breach.message}", fatal(sqlstate.CONNECTION_FAILURE, text), distrust=True))


def _count_rows(watched: Watched, data: bytes, position: int, end: int, start: int, out: list[bytes]) -> tuple[int, int]:
    """The same as `skip_rows` for a statement under limits: behind the last row that may go nothing of it does."""
    while position + HEADER_SIZE <= end:
        kind, length = unpack_header(data, position)
        if kind not in _ROWS:
            break
        instead = watched.take_row(1 + length)
        if instead is not None:
            out.append(data[start:position])
            out.append(instead)
            start = position + 1 + length
        position += 1 + length
    return position, start


def _notice(text: str) -> bytes:
    return build_notice(ErrorFields("NOTICE", sqlstate.SUCCESS, text))
