"""What real psql sends for a script, statement by statement, and a database in which everything that it made is still there.

psql runs the script as superuser through a small relay that notes each Query. Scripts clean up after themselves; then
nothing would be left for their own SELECTs when they are sent again. So the relay changes a few texts on their way: DROP is
left out, ROLLBACK becomes COMMIT, a temporary table becomes a lasting one.
"""

import contextlib
import re
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.oracle.relay import frames
from tests.support.upstream import Upstream

_SCRIPT_SECONDS = 120
_BLANK = r"(?:\s|--[^\n]*\n|/\*.*?\*/)*"
_DROP = re.compile(rf"{_BLANK}DROP\s", re.IGNORECASE | re.DOTALL)
_ROLLBACK = re.compile(rf"{_BLANK}(?:ROLLBACK|ABORT)(?:\s+(?:WORK|TRANSACTION))?\s*;?\s*\Z", re.IGNORECASE | re.DOTALL)
_TEMPORARY = re.compile(
    rf"({_BLANK}CREATE\s+(?:OR\s+REPLACE\s+)?|\bINTO\s+)(?:(?:LOCAL|GLOBAL)\s+)?TEMP(?:ORARY)?\s+(?=\w)",
    re.IGNORECASE | re.DOTALL,
)
_ON_COMMIT = re.compile(r"\bON\s+COMMIT\s+(?:DROP|DELETE\s+ROWS|PRESERVE\s+ROWS)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Said:
    """A text as psql sent it, and in which of its sessions (a script may connect again)."""

    session: int
    text: str


@dataclass(frozen=True)
class Terms:
    """How psql runs the scripts. `variables`: its environment. `parameters`: the same settings, in a start-up packet's words."""

    variables: tuple[tuple[str, str], ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()


def kept(text: str) -> str:
    """The text that leaves behind what `text` makes."""
    if _DROP.match(text):
        return ";"
    if _ROLLBACK.match(text):
        return "COMMIT"
    changed, times = _TEMPORARY.subn(r"\1", text, count=1)
    return _ON_COMMIT.sub("", changed) if times else text


@dataclass
class _Recorder:
    server: tuple[str, int]
    listener: socket.socket
    said: list[Said] = field(default_factory=list)
    sessions: int = 0

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                self.sessions += 1
                threading.Thread(target=self._connection, args=(client, self.sessions), daemon=True).start()

    def _connection(self, client: socket.socket, session: int) -> None:
        with client, socket.create_connection(self.server) as server:
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=_pour, args=(server, client), daemon=True)
            back.start()
            with contextlib.suppress(OSError, struct.error):
                self._to_server(client, server, session)
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_WR)
            back.join(10)

    def _to_server(self, client: socket.socket, server: socket.socket, session: int) -> None:
        size = client.recv(4, socket.MSG_WAITALL)
        server.sendall(size + client.recv(struct.unpack(">I", size)[0] - 4, socket.MSG_WAITALL))
        buffer = bytearray()
        while chunk := client.recv(65536):
            buffer += chunk
            out = bytearray()
            for kind, body in frames(buffer):
                if kind == "Q":
                    with contextlib.suppress(UnicodeDecodeError):  # a script of another encoding
                        text = body.rstrip(b"\0").decode()
                        self.said.append(Said(session, text))
                        body = kept(text).encode() + b"\0"
                out += kind.encode("latin-1") + struct.pack(">I", len(body) + 4) + body
            server.sendall(out)


def _pour(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(65536):
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def _running(upstream: Upstream) -> Iterator[_Recorder]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        recorder = _Recorder((upstream.host, upstream.port), listener)
        threading.Thread(target=recorder.serve, daemon=True).start()
        yield recorder
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def play(psql: str, upstream: Upstream, database: str, script: Path, terms: Terms, *, port: int = 0) -> None:
    """Directly, as superuser, errors and all. A script that does not end is cut off."""
    environment = {
        "PGHOST": upstream.host,
        "PGPORT": str(port or upstream.port),
        "PGUSER": upstream.superuser,
        "PGPASSWORD": upstream.superuser_password.reveal(),
        "PGDATABASE": database,
        "PGSSLMODE": "disable",
        "PGGSSENCMODE": "disable",
        "PATH": "/usr/bin:/bin",
        **dict(terms.variables),
    }
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(
            [psql, "-X", "-q", "-a", "-v", "HIDE_TABLEAM=on", "-f", script.name],
            cwd=script.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_SCRIPT_SECONDS,
            check=False,
        )


def record(psql: str, upstream: Upstream, database: str, script: Path, terms: Terms) -> list[Said]:
    """What psql sent. Afterwards the database holds what the script made."""
    with _running(upstream) as recorder:
        play(psql, upstream, database, script, terms, port=recorder.listener.getsockname()[1])
        return list(recorder.said)
