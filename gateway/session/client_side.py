"""Client to upstream. What may pass goes on as the very bytes that came; Query, Parse, Bind and the like are read and judged
before their first byte leaves; a refused message is replaced (see `denial`); a verdict that is late holds the stream.

`feed` is the hot loop. What clients usually send has a short cut (see `usual`): one look-up, one ledger entry and one record.
"""

from typing import Final

from gateway.session.addressed import Answer
from gateway.session.client_messages import Messages
from gateway.session.conversation import Conversation
from gateway.session.effects import AnswerAddressed, ChangeOwnPassword, ClientQuit, End, GoOn, JudgeElsewhere, SeekWayOut, fatal
from gateway.session.holding import A_COPY_DATA, A_MESSAGE, COPIED_AT_ONCE, MOST_OWED, TURN, HoldStream
from gateway.session.usual import LONGEST_TAIL, UsualRequests, lengths
from gateway.statements.verdict import Verdict
from gateway.wire.errors import SilentClose, WireError
from gateway.wire.framing import HEADER_SIZE, KNOWN_FRONTEND, SMALL_LIMIT, check_frontend_length, unpack_header
from gateway.wire.frontend import FLUSH

_COPY_DATA: Final = ord("d")
_BIND: Final = ord("B")
_TERMINATE: Final = ord("X")


class ClientSide(UsualRequests):
    """Feed it what the client sent; it returns what upstream shall read, in order."""

    __slots__ = (
        "_body_left",
        "_crowded",
        "_going_on",
        "_held",
        "_messages",
        "_partial",
        "_plain_lengths",
        "_quit",
        "_wanted",
        "waiting_for_replies",
    )

    def __init__(self, shared: Conversation) -> None:
        super().__init__(shared)
        self._messages: Messages | None = None  # until one comes that has no short cut
        self._plain_lengths = lengths(4, min(SMALL_LIMIT, shared.facts.max_message_bytes))  # allowed of every message
        self._body_left = 0  # of a CopyData that is passing through
        self._partial: bytes | bytearray = b""  # the beginning of a message that must be whole
        self._wanted = 0
        self._held: bytes | bytearray | None = None  # while on hold: the held message and all behind it
        self.waiting_for_replies = False
        self._crowded = False  # it waits for them because so many are owed
        self._going_on = False  # what is held waits for nothing but its turn
        self._quit = False

    @property
    def held_bytes(self) -> int:
        return len(self._held) if self._held is not None else 0

    @property
    def at_rest(self) -> bool:
        """Between two messages, with nothing on hold."""
        return not (self._quit or self._wanted or self._body_left) and self._held is None

    @property
    def on_hold(self) -> bool:
        return self._held is not None

    @property
    def has_more(self) -> bool:
        """What is on hold waits for `go_on` alone."""
        return self._going_on

    @property
    def mid_message(self) -> bool:
        """Part of a message is already upstream: nothing can be put between."""
        return self._body_left > 0

    def feed(self, data: bytes, now: float) -> bytes:
        """Raises nothing: broken input becomes an `End` effect."""
        if self._held is not None:
            if isinstance(self._held, bytes):
                self._held = bytearray(self._held)
            self._held += data
            return b""
        if self._quit:
            return b""
        if not self._wanted and not self._body_left and self._take(data, now):
            return data
        if self._wanted:
            self._partial += data
            if len(self._partial) < self._wanted:
                return b""
            data = bytes(self._partial)
            self._partial = b""
            self._wanted = 0
            if len(data) > COPIED_AT_ONCE:
                self._hold(HoldStream(None, effect=GoOn()), data)
                return b""
        try:
            return self._relay(data, now)
        except SilentClose as broken:
            self._shared.ask(End(f"protocol violation: {broken.message}"))
        except WireError as broken:
            farewell = fatal(broken.sqlstate, broken.message)
            self._shared.ask(End(f"protocol violation: {broken.message}", farewell))
        self._quit = True
        return b""

    def _relay(self, data: bytes, now: float) -> bytes:
        size = len(data)
        position = start = 0
        if self._body_left:
            position = min(self._body_left, size)
            self._body_left -= position
        shared = self._shared
        limit, plain_lengths = shared.facts.max_message_bytes, self._plain_lengths
        queue, messages, work = shared.ledger.queue, self._messages, 0.0
        if messages is not None:
            messages.work = 0
        out: list[bytes] = []
        while size - position >= HEADER_SIZE:
            kind, length = unpack_header(data, position)
            if length not in plain_lengths or kind not in KNOWN_FRONTEND:
                check_frontend_length(kind, length, limit)
            end = position + 1 + length
            if work >= TURN:
                self._hold(HoldStream(None, effect=GoOn()), data[position:])
                break
            if kind == _COPY_DATA:
                work += A_COPY_DATA
                if end > size:
                    self._body_left = end - size
                    end = size
                position = end
                continue
            if end > size:
                self._wanted = 1 + length
                break
            if kind == _TERMINATE:  # whatever its body; nothing answers it
                position = end
                self._quit = True
                shared.ask(ClientQuit())
                break
            may_be_usual = kind == _BIND and size - end <= LONGEST_TAIL and length in self._lengths
            if may_be_usual and self._take_bound(data[position + HEADER_SIZE : end], data[end:], now):
                position = size
                break
            if len(queue) >= MOST_OWED:
                self._crowded = True
                out += data[start:position], FLUSH  # without a Sync upstream might keep its replies to itself
                start = position
                self._hold(HoldStream(None), data[position:])
                break
            messages = self._messages or self._begin()
            work += A_MESSAGE
            try:
                instead = messages.read(kind, data[position + HEADER_SIZE : end], now)
                work += messages.work
                messages.work = 0
            except HoldStream as hold:
                if hold.first:
                    out.append(data[start:position])
                    out.append(hold.first)
                    start = position
                if hold.passed:
                    start = position = end
                self._hold(hold, data[position:])
                break
            if instead is not None:
                out.append(data[start:position])
                out.append(instead)
                start = end
            position = end
        else:
            if position < size:
                self._wanted = HEADER_SIZE  # and then as much as that header says
        if self._wanted:
            self._partial = bytearray(data[position:])
        if start == 0 and position == size and not out:
            return data
        out.append(data[start:position])
        return b"".join(out)

    def _begin(self) -> Messages:
        self._messages = messages = Messages(self._shared)
        return messages

    def _hold(self, hold: HoldStream, rest: bytes) -> None:
        self._held = rest  # as it is: what is held may be large, and mostly nothing comes before it goes on
        self._going_on = isinstance(hold.effect, GoOn)
        if hold.effect is not None:
            self._shared.ask(hold.effect)
        elif hold.sql is None:
            self.waiting_for_replies = True
        else:
            self._shared.ask(JudgeElsewhere(hold.sql, self._shared.in_force.policy))

    def judged(self, effect: JudgeElsewhere, verdict: Verdict, now: float) -> bytes:
        """The late verdict for the held message has come. Returns what may leave now."""
        if self._held is None or self._quit:
            return b""
        in_force = self._shared.in_force
        if effect.policy is in_force.policy:
            (self._messages or self._begin()).in_hand = in_force.remember(effect.sql, verdict)
        return self.resume(now)

    def password_changed(self, effect: ChangeOwnPassword, verdict: Verdict, now: float) -> bytes:
        """The person's own password was changed (`own_password.CHANGED`), or was not. Returns what may leave now."""
        if self._held is None or self._quit:
            return b""
        (self._messages or self._begin()).own_password.conclude(effect, verdict)
        return self.resume(now)

    def answered(self, effect: AnswerAddressed, answer: Answer, now: float) -> bytes:
        """What the person asked the gateway is known. Returns what may leave now."""
        if self._held is None or self._quit:
            return b""
        addressed = (self._messages or self._begin()).addressed
        addressed.conclude(effect, answer)
        out = self.resume(now)
        addressed.forget()
        return out

    def way_out_found(self, effect: SeekWayOut, text: str, now: float) -> bytes:
        """What the hint of a refusal tells besides ("": nothing) is known. Returns what may leave now."""
        if self._held is None or self._quit:
            return b""
        (self._messages or self._begin()).way_out_found(effect.judged, text)
        return self.resume(now)

    def go_on(self, now: float) -> bytes:
        """Others had their turn (see `GoOn`). Returns what may leave now."""
        if not self._going_on or self._held is None:
            return b""
        if self._messages is not None and not self._messages.look_on(self._held):
            self._shared.ask(GoOn())
            return b""
        return self.resume(now)

    def resume(self, now: float) -> bytes:
        """Go on with what was held (and hold again, if the policy changed meanwhile)."""
        if self._held is None or (self._crowded and len(self._shared.ledger.queue) > MOST_OWED // 2):
            return b""
        first = b""
        watched = self._shared.watched
        if watched is not None:
            first = watched.take()
            if not watched.done:
                return first
            self._shared.watched = None
        self.waiting_for_replies = self._crowded = self._going_on = False
        held, self._held = self._held, None
        return first + self.feed(bytes(held), now)

    def drop(self) -> None:
        """The session ends: nothing that was held or half read will leave."""
        self._quit = True
        self._held = None
        self._going_on = False
        self._partial = b""
