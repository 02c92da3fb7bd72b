"""Accepts connections. The cheap checks come first: the global allowlist and the caps, before a byte is read or answered."""

import asyncio
import socket
import time
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import structlog

from gateway.access.authorize import admits_globally
from gateway.access.networks import canonical_address
from gateway.audit import events
from gateway.bus.lines import Payload
from gateway.proxy import rights_clock
from gateway.proxy.greeter import Greeter
from gateway.proxy.registry import Registry
from gateway.proxy.sockets import ACCEPTED_INHERIT, accept, keep_alive
from gateway.proxy.worker import Worker
from gateway.wire.startup import CancelRequest

_ACCEPTS_PER_TURN: Final = 64
_LAST_CALL_SECONDS: Final = 0.05
_RESERVE_PAUSE_SECONDS: Final = 0.5
_REFUSALS_PER_SECOND: Final = 20  # of refused addresses in the audit; the rest are counted
_log: Final = structlog.stdlib.get_logger("gateway.listener")


class Listener:
    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._sockets: list[socket.socket] = []
        self._refused_second = 0
        self._refused = 0

    def start(self, sockets: Sequence[socket.socket]) -> None:
        """Accept on these. Others may accept on them too: this worker's successor, during a rolling restart."""
        self._sockets = list(sockets)
        self._listen()

    def _listen(self) -> None:
        for sock in self._sockets:
            asyncio.get_running_loop().add_reader(sock.fileno(), self._accept, sock)

    def _pause(self) -> None:
        for sock in self._sockets:
            asyncio.get_running_loop().remove_reader(sock.fileno())

    def stop(self) -> None:
        """At once; whoever waits in the queue is left to the successor."""
        self._pause()
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()

    async def finish(self) -> None:
        """There is no successor: whoever waits in the queue is let in as far as to be told so."""
        await asyncio.sleep(_LAST_CALL_SECONDS)
        for sock in self._sockets:
            self._accept(sock)
        self.stop()

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_ACCEPTS_PER_TURN):
            try:
                sock, peer = accept(listening)
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # out of file descriptors: let live sessions give some back
                _log.error("cannot accept connections", error=str(error))
                self._pause()
                asyncio.get_running_loop().call_later(_RESERVE_PAUSE_SECONDS, self._listen)
                return
            self._accepted(sock, peer)

    def _accepted(self, sock: socket.socket, peer: str) -> None:
        worker = self._worker
        try:
            address = canonical_address(peer)
        except ValueError:
            sock.close()
            return
        if not admits_globally(worker.directory.snapshot, address, rights_clock.now()):
            self._refuse(sock, address, "address-not-admitted")
            return
        if reason := worker.knocking.enter(address):
            self._refuse(sock, address, reason)
            return
        sock.setblocking(False)
        if not ACCEPTED_INHERIT:
            keep_alive(sock)
        Greeter(worker, sock, address, lambda: worker.knocking.leave(address), self.cancel)

    def _refuse(self, sock: socket.socket, address: IPv4Address | IPv6Address, rule: str) -> None:
        sock.close()
        self._worker.counters.refused(rule)
        second = int(time.monotonic())
        if second != self._refused_second:
            if self._refused > _REFUSALS_PER_SECOND:
                more = self._refused - _REFUSALS_PER_SECOND
                self._worker.audit(events.event("connections_refused", {"more": more}))
            self._refused_second, self._refused = second, 0
        self._refused += 1
        if self._refused <= _REFUSALS_PER_SECOND:
            self._worker.audit(events.event("connection_refused", {"rule": rule, "address": str(address)}))

    # -- cancel requests -----------------------------------------------------------------------------------------------

    def cancel(self, address: IPv4Address | IPv6Address, request: CancelRequest) -> None:
        """Never answered. A key of another worker's session goes there over the bus."""
        worker = self._worker
        if not worker.admit_cancel(address, time.monotonic()):
            return
        owner = Registry.worker_of(request.process_id)
        if owner == worker.number:
            self.cancel_here(address, request.process_id, request.key)
        else:
            payload: Payload = {"address": str(address), "process_id": request.process_id, "key": request.key.hex()}
            worker.peers.send(f"worker:{owner}", "cancel", payload)

    def cancel_here(self, address: IPv4Address | IPv6Address, process_id: int, key: bytes) -> None:
        session = self._worker.registry.find(process_id, key)
        if session is not None:
            session.cancel_query()
        else:
            facts: dict[str, events.FieldValue] = {"address": str(address), "outcome": "no such key"}
            self._worker.audit(events.event("cancel", facts))
