"""One upstream session that was opened ahead: it waits, is looked after, and goes to one client or to nobody.

While it waits, it is read: whatever PostgreSQL says then (a FATAL, a notice, a changed setting), and its end, means that it is not
what a client would get who came now.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from gateway.proxy.upstream import Place, UpstreamConnection
from gateway.session.hand_over import HandOver, name_query
from gateway.session.upstream_login import UpstreamRefused, Welcome
from gateway.wire.errors import WireError
from gateway.wire.frontend import TERMINATE

#: A server that is gone without a word (a cut line, a firewall's forgotten connection) costs a login no more than this.
_ANSWER_SECONDS: Final = 1.0


class WaitingSession(asyncio.Protocol):
    """`session_id` is the client's whose it will be. `lost` is called once, when it ends or speaks while it waits."""

    def __init__(
        self,
        session_id: str,
        connection: UpstreamConnection,
        welcome: Welcome,
        place: Place,
        lost: Callable[["WaitingSession"], None],
    ) -> None:
        self.session_id: Final = session_id
        self.connection: Final = connection
        self.welcome: Final = welcome
        self.place: Final = place
        self.opened_at: Final = asyncio.get_running_loop().time()
        self._lost: Callable[[WaitingSession], None] | None = lost
        self._hand_over: HandOver | None = None
        self._named: asyncio.Future[Welcome] | None = None
        connection.transport.set_protocol(self)
        connection.transport.resume_reading()

    @property
    def closing(self) -> bool:
        return self.connection.transport.is_closing()

    # -- to a client ---------------------------------------------------------------------------------------------------

    def begin(self, application_name: str, pinned: dict[str, str]) -> None:
        """From here on it is that client's; `finish` says whether it can have it."""
        self._lost = None
        self._hand_over = HandOver(self.welcome, application_name, pinned)
        self._named = asyncio.get_running_loop().create_future()
        self.connection.transport.write(name_query(application_name))

    async def finish(self) -> Welcome:
        """Reading is paused then, until the client's session is attached. Raises UpstreamRefused; then it is closed."""
        if self._named is None:
            raise RuntimeError("a hand-over is finished that was not begun")
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                welcome = await self._named
        except TimeoutError:
            self.connection.transport.abort()
            raise UpstreamRefused("unreachable", "a session that was opened ahead does not answer") from None
        except BaseException:
            self.connection.transport.abort()
            raise
        self.connection.transport.set_protocol(self.connection)
        return welcome

    def drop(self) -> None:
        """Nobody gets it. May be said twice."""
        self._lost = None
        if self._named is not None and not self._named.cancel() and not self._named.cancelled():
            self._named.exception()  # nobody asks any more
        if not self.closing:
            self.connection.transport.write(TERMINATE)
            self.connection.transport.close()

    # -- what the server says ------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._named is None or self._hand_over is None:
            self._speak_of_loss()
        elif not self._named.done():
            try:
                welcome = self._hand_over.feed(data)
            except WireError as error:
                self._named.set_exception(UpstreamRefused("protocol", error.message))
            except UpstreamRefused as refused:
                self._named.set_exception(refused)
            else:
                if welcome is not None:
                    self.connection.transport.pause_reading()
                    self._named.set_result(welcome)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._named is None:
            self._speak_of_loss()
        elif not self._named.done():
            self._named.set_exception(UpstreamRefused("closed", "the server closed a session that was opened ahead"))
        else:
            self.connection.connection_lost(exc)  # for whoever is attached next

    def _speak_of_loss(self) -> None:
        lost, self._lost = self._lost, None
        if lost is not None:
            lost(self)
