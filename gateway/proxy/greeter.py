"""The first bytes of a connection, read from the bare socket: TLS or not, cancel or session. Then a transport is made for it.

Reading the socket itself, not through a transport, leaves no buffer in which clear bytes could wait and later pass for encrypted.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import structlog

from gateway.proxy.client_hello import HelloWatch
from gateway.proxy.handshake import shake_hands
from gateway.proxy.pending import Arrival, PendingSession
from gateway.proxy.sockets import handed_to
from gateway.proxy.tls import ServerIdentity
from gateway.proxy.tls_transport import TlsTransport
from gateway.proxy.worker import Worker
from gateway.session.effects import fatal
from gateway.session.greeting import Answer, Begin, Cancel, Greeting, Refuse, StartTls
from gateway.wire.backend import build_error
from gateway.wire.errors import ProtocolViolation, SilentClose
from gateway.wire.startup import CancelRequest

_TLS_HANDSHAKE: Final = 0x16
_CHUNK: Final = 10_004
_log: Final = structlog.stdlib.get_logger("gateway.greeter")


class Greeter:
    """Owns the socket until a PendingSession does. `leave` is called exactly once when neither of them is pending any more."""

    def __init__(
        self,
        worker: Worker,
        sock: socket.socket,
        address: IPv4Address | IPv6Address,
        leave: Callable[[], None],
        cancel: Callable[[IPv4Address | IPv6Address, CancelRequest], None],
    ) -> None:
        self._worker = worker
        self._sock = sock
        self._address = address
        self._leave = leave
        self._cancel = cancel
        self._loop = asyncio.get_running_loop()
        self._identity = worker.tls.identity if worker.tls is not None else None
        self._greeting = Greeting(tls_offered=self._identity is not None, encrypted=False)
        self._first = True
        self._hello: HelloWatch | None = None
        self._connecting: asyncio.Task[None] | None = None  # from when the socket is no longer ours
        self._gone = False
        self._pending: PendingSession | None = None
        self._deadline = self._loop.call_later(worker.settings.limits.pre_auth_timeout_seconds, self._expire)
        self._watched = False  # by the loop, because nothing was there yet
        self._readable()  # most have spoken by the time they are accepted

    def _watch(self) -> None:
        if not self._watched:
            self._watched = True
            self._loop.add_reader(self._sock.fileno(), self._readable)

    def _unwatch(self) -> None:
        if self._watched:
            self._watched = False
            self._loop.remove_reader(self._sock.fileno())

    def _readable(self) -> None:
        try:
            if self._first and self._identity is not None:
                beginning = self._sock.recv(1, socket.MSG_PEEK)
                self._first = False
                if beginning == bytes((_TLS_HANDSHAKE,)):
                    self._hand_over(self._identity, direct_tls=True)
                    return
            data = self._sock.recv(_CHUNK)
            if not data:
                self._close()
                return
            self._greeted(data)
        except BlockingIOError:
            self._watch()
        except SilentClose:
            self._close()
        except ProtocolViolation as broken:
            self._say(build_error(fatal(broken.sqlstate, broken.message)))
            self._close()
        except OSError:
            self._close()

    def _greeted(self, data: bytes) -> None:
        step = self._greeting.feed(data)
        while step is not None:
            match step:
                case StartTls(injected):
                    self._say(Answer.YES.value)
                    if injected:  # which it is told inside TLS
                        self._hand_over(self._identity, injected=True)
                    else:
                        self._unwatch()
                        self._hello = HelloWatch(self._loop, self._sock, self._shake_hands, self._close)
                    return
                case Refuse():
                    self._say(Answer.NO.value)
                case Begin():
                    self._hand_over(None, begin=step)
                    return
                case Cancel(request):
                    self.cancel(request)
                    self._close()
                    return
            step = self._greeting.feed(b"")
        self._watch()

    def _shake_hands(self) -> None:
        self._hello = None
        self._hand_over(self._identity)

    def _say(self, data: bytes) -> None:
        """A few bytes into an empty socket buffer: they go at once or the peer is not worth waiting for."""
        self._sock.send(data)

    def _hand_over(
        self, identity: ServerIdentity | None, *, direct_tls: bool = False, injected: bool = False, begin: Begin | None = None
    ) -> None:
        self._unwatch()
        arrival = Arrival(self._address, identity, direct_tls, injected, begin)
        self._connecting = self._loop.create_task(self._connect(arrival), name="handshake")
        self._worker.keep(self._connecting)

    async def _connect(self, arrival: Arrival) -> None:
        try:
            if arrival.identity is None:
                await self._loop.connect_accepted_socket(lambda: self._protocol(arrival), handed_to(self._loop, self._sock))
            else:
                left_seconds = self._deadline.when() - self._loop.time()
                tls = await shake_hands(
                    self._sock, arrival.identity.context, self._handshake_seconds(left_seconds), server_side=True
                )
                TlsTransport(self._loop, tls, self._protocol(arrival)).start()
        except (OSError, asyncio.CancelledError) as error:  # TimeoutError among them: the handshake did not succeed
            if isinstance(error, ssl.SSLCertVerificationError):  # the client only sees that the connection is closed
                self._worker.counters.refused("client-certificate")
                reason = error.verify_message or "it cannot be verified"
                _log.warning("a client's certificate was refused", address=str(self._address), reason=reason)
            self._sock.close()
            self.left()

    def _handshake_seconds(self, left_seconds: float) -> float:
        return max(0.1, min(self._worker.settings.tls.handshake_timeout_seconds, left_seconds))

    def _protocol(self, arrival: Arrival) -> PendingSession:
        self._pending = PendingSession(self._worker, arrival, self)
        return self._pending

    def _expire(self) -> None:
        """A TLS handshake that is under way has a timeout of its own, set to end by now."""
        if self._pending is not None and self._pending.connected:
            self._pending.expire()
        elif self._connecting is None:
            self._close()

    def _close(self) -> None:
        if self._hello is not None:
            self._hello.stop()
            self._hello = None  # it knows us, too
        self._unwatch()
        self._sock.close()
        self.left()

    # -- what the pending session says (pending.Door) ------------------------------------------------------------------

    def left(self) -> None:
        if not self._gone:
            self._gone = True
            self._deadline.cancel()
            self._pending = None  # it knows us, too: without this both would wait for the collector of cycles
            self._leave()

    def proved(self) -> None:
        self._deadline.cancel()

    def cancel(self, request: CancelRequest) -> None:
        self._cancel(self._address, request)
