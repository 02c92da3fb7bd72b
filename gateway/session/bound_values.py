"""The values of a Bind that has too many for one turn of the event loop: they are looked at in order, while it is held."""

from gateway.session.holding import VALUES_AT_ONCE
from gateway.wire.errors import BadMessage
from gateway.wire.framing import HEADER_SIZE, unpack_header
from gateway.wire.frontend import BindHead, check_bind_values


class BoundValues:
    """Of one Bind, from its first reading until it is decided."""

    __slots__ = ("_at", "_left")

    def __init__(self, head: BindHead) -> None:
        self._at = head.end
        self._left = head.parameters

    def look_on(self, body: bytes | memoryview) -> bool:
        """At the next of them. True: that were all, and what stands behind them is right. Raises BadMessage, each time anew."""
        values = min(self._left, VALUES_AT_ONCE)
        self._at = check_bind_values(body, self._at, values, more=values < self._left)
        self._left -= values
        return not self._left

    def look_on_in(self, held: bytes | bytearray) -> bool:
        """The same where the Bind stands, with its header, before what is held behind it. True also where it is malformed."""
        _, length = unpack_header(held)
        with memoryview(held) as all_held, all_held[HEADER_SIZE : 1 + length] as body:
            try:
                return self.look_on(body)
            except BadMessage:
                return True  # whoever reads the whole message comes to the same place, and says so
