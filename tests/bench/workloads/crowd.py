"""Thousands of clients that log in with SCRAM, ask once and rest: sockets of this process, without a driver."""

import gc
import hashlib
import hmac
import selectors
import socket
import ssl
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from tests.bench.proxies.contestant import Door
from tests.bench.proxies.stand_in import ASKED
from tests.support.wire import (
    SSL_REQUEST,
    TERMINATE,
    Place,
    RawClient,
    Refused,
    packet,
    query,
    read_or_refused,
    sasl_initial,
    startup,
    welcome,
)

_AT_A_TIME: Final = 4
_NONCE: Final = "fyko+d2lbbFgONRv9qkxdawL"  # one for all: nobody listens
_NOT_NOW: Final = "57P03"
_TRIES, _PAUSE_SECONDS = 20, 0.5
FAREWELL: Final = b"C57P01\0"


class Crowd:
    """Clients of one door. `close` ends them all."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._place = Place(door.host, door.port, door.ca_file)
        self._context = self._place.context() if door.ca_file is not None else None
        self._clients: list[RawClient] = []

    def __len__(self) -> int:
        return len(self._clients)

    def grow(self, number: int) -> None:
        """So many more. Raises Refused, OSError, with those that came in before still there."""
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            for client in pool.map(lambda _: self._come_in(), range(number)):
                self._clients.append(client)

    def close(self) -> None:
        for client in self._clients:
            try:
                client.sock.setblocking(False)
                client.send(TERMINATE)
            except OSError:
                """It was ended from the other side."""
            client.close()
        self._clients.clear()

    def latencies(self, seconds: float) -> list[float]:
        """Of one more client that asks and asks, in seconds, sorted; the others rest."""
        with self._come_in() as client, _without_collector():
            asked, taken = query(ASKED), list[float]()
            client.sock.settimeout(10)
            until = time.perf_counter() + seconds
            while (began := time.perf_counter()) < until:
                client.sock.sendall(asked)
                answer = client.sock.recv(65536)
                while not answer.endswith(b"Z\0\0\0\5I"):
                    answer += client.sock.recv(65536)
                taken.append(time.perf_counter() - began)
            client.send(TERMINATE)
        return sorted(taken[len(taken) // 20 :])  # the first ones are warm-up

    def watch(self) -> "Watch":
        return Watch(self._clients)

    def _come_in(self) -> RawClient:
        """On a machine that is busy with others a gateway may lose sight of its store for a moment, and lets nobody in."""
        for _ in range(_TRIES):
            try:
                return self._log_in()
            except Refused as error:
                if error.sqlstate != _NOT_NOW:
                    raise
                time.sleep(_PAUSE_SECONDS)
        return self._log_in()

    def _log_in(self) -> RawClient:
        door = self._door
        client = self._place.tcp()
        if self._context is not None:
            client.send(SSL_REQUEST)
            client.read_raw(1)
            client = RawClient(self._context.wrap_socket(client.sock, server_hostname=door.host))
        client.send(startup(door.user, door.dbname))
        _prove(client, door.password)
        welcome(client)
        answer = client.ask(query(ASKED))
        if all(each.kind != "D" for each in answer):
            raise Refused(answer)
        client.transcript.clear()
        return client


def _prove(client: RawClient, password: str) -> None:
    """PBKDF2 is done once for each salt, not for each client."""
    read_or_refused(client, "R")
    bare = f"n=,r={_NONCE}"
    client.send(sasl_initial("SCRAM-SHA-256", f"n,,{bare}".encode()))
    challenge = read_or_refused(client, "R").body[4:].decode()
    told = dict(part.split("=", 1) for part in challenge.split(","))
    client_key = _client_key(password, told["s"], int(told["i"]))
    without = f"c=biws,r={told['r']}"
    signed = hmac.digest(hashlib.sha256(client_key).digest(), f"{bare},{challenge},{without}".encode(), "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signed, strict=True))
    client.send(packet("p", f"{without},p={b64encode(proof).decode()}".encode()))


@lru_cache(16)
def _client_key(password: str, salt: str, iterations: int) -> bytes:
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), b64decode(salt), iterations)
    return hmac.digest(salted, b"Client Key", "sha256")


@contextmanager
def _without_collector() -> Iterator[None]:
    """With thousands of clients in this process, its own garbage collector would be what is measured."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@dataclass(frozen=True, slots=True)
class Ending:
    """`at`: when the last one saw its connection closed (monotonic). `farewells`: how many read FATAL 57P01 before that."""

    at: float
    farewells: int


class Watch:
    """Sees all clients' connections end. Made before the end begins."""

    def __init__(self, clients: list[RawClient]) -> None:
        self._selector = selectors.DefaultSelector()
        self._said = 0
        for client in clients:
            client.sock.setblocking(False)
            self._selector.register(client.sock, selectors.EVENT_READ, bytearray())

    def until_all_ended(self, patience_seconds: float) -> Ending:
        """Raises TimeoutError."""
        deadline, farewells = time.monotonic() + patience_seconds, 0
        while left := len(self._selector.get_map()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{left} clients are still there after {patience_seconds:g} s")
            for key, _ in self._selector.select(0.5):
                if _has_ended(key.fileobj, key.data):  # type: ignore[arg-type]
                    self._selector.unregister(key.fileobj)
                    farewells += FAREWELL in key.data
        at = time.monotonic()
        self._selector.close()
        return Ending(at, farewells)


def _has_ended(sock: socket.socket, said: bytearray) -> bool:
    while True:
        try:
            data = sock.recv(65536)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:  # reset: it is over in any case
            return True
        if not data:
            return True
        said += data
