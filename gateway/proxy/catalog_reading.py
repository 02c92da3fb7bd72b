"""Asking a database what its owners put into it: one upstream session like a person's, one batch of questions, plain rows back.

What comes is bounded in bytes and messages, and stays bytes until somebody needs the values: most often it is what came last time.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from gateway.access.model import DatabaseRole, Target
from gateway.access_mode import AccessMode
from gateway.proxy.upstream import UpstreamConnection, UpstreamDialer
from gateway.proxy.upstream_plan import major_of, plan_of
from gateway.session.startup_settings import Wishes, label_of
from gateway.session.upstream_login import UpstreamRefused
from gateway.statements.catalog import Catalog, build_catalog
from gateway.statements.catalog_rows import CATALOG_QUERIES, CatalogQuery, CatalogRows
from gateway.wire import backend, frontend
from gateway.wire.errors import WireError
from gateway.wire.framing import HEADER_SIZE, unpack_header

_MAX_BYTES: Final = 256 * 1024 * 1024
_MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_BEGIN: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


@dataclass(frozen=True, slots=True)
class Answers:
    """What COPY sent, by query name, in the server's order. Equal digests: equal answers."""

    server_major: int
    rows: Mapping[str, list[bytes]]
    digest: bytes

    def as_catalog(self) -> Catalog:
        """Takes a second for a large database: not for an event loop. Raises CatalogError, UnicodeDecodeError."""
        answers = {name: _rows(b"".join(chunks).decode()) for name, chunks in self.rows.items()}
        return build_catalog(CatalogRows.from_answers(answers), self.server_major)


def _rows(text: str) -> list[list[str | None]]:
    """From COPY's text format: values between tabs, rows on lines, backslashes before whatever is special."""
    return [[_value(value) for value in line.split("\t")] for line in text.split("\n")[:-1]]


def _value(text: str) -> str | None:
    if "\\" not in text:
        return text
    return None if text == "\\N" else _ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[1]), text)


async def read_answers(
    dialer: UpstreamDialer,
    target: Target,
    role: DatabaseRole,
    *,
    mode: AccessMode,
    timeout_seconds: float,
    iterations_max: int,
) -> Answers:
    """By the login that sessions in this mode use, opened as theirs. Raises UpstreamRefused; leaves nothing open."""
    timeout = str(max(int(timeout_seconds * 1000), 1))
    wishes = Wishes((("statement_timeout", timeout), ("lock_timeout", timeout)), "", "")
    plan = plan_of(target, role, mode, label_of("pgbastion", "catalog"), wishes, iterations_max)
    try:
        async with asyncio.timeout(timeout_seconds):
            connection, welcome, _ = await dialer.open(target, role, plan)
            reading = _Reading(connection, major_of(welcome))
            try:
                return await reading.answers
            finally:
                reading.close()
    except TimeoutError:
        raise UpstreamRefused("unreachable", "no answer in time") from None


class _Reading:
    """A relay that sends the batch at once and keeps what comes. `close` always."""

    def __init__(self, connection: UpstreamConnection, server_major: int) -> None:
        queries = [query for query in CATALOG_QUERIES if query.min_major <= server_major]
        self._connection = connection
        self._major = server_major
        # In the order in which they will be complete; BEGIN and COMMIT have no answer.
        self._awaited: list[CatalogQuery] = [CatalogQuery("", _BEGIN), *queries, CatalogQuery("", "COMMIT")]
        self._rows: dict[str, list[bytes]] = {query.name: [] for query in queries if query.name}
        self._done = 0
        self._digest = sha256()
        self._buffer = b""
        self._bytes = self._count = 0
        self._sqlstate = ""
        self.answers: asyncio.Future[Answers] = asyncio.get_running_loop().create_future()
        connection.attach(self)
        if not self.answers.done():
            # COPY's format is the quickest to read.
            batch = ";\n".join(f"COPY ({query.sql}) TO STDOUT" if query.name else query.sql for query in self._awaited)
            connection.transport.write(frontend.build_query(batch.encode()))

    def close(self) -> None:
        if not self.answers.done() or self.answers.cancelled() or self.answers.exception() is not None:
            self._connection.transport.abort()  # whatever it does now, nobody waits for it
        else:
            self._connection.transport.write(frontend.TERMINATE)
            self._connection.transport.close()

    # -- Relay: what the upstream connection tells ---------------------------------------------------------------------

    def upstream_data(self, data: bytes) -> None:
        if self.answers.done():
            return
        self._bytes += len(data)
        try:
            if self._bytes > _MAX_BYTES:
                raise UpstreamRefused("protocol", "the catalog is too large to be read")
            self._messages(self._buffer + data)
        except WireError as error:
            self._fail(UpstreamRefused("protocol", error.message))
        except UpstreamRefused as error:
            self._fail(error)

    def upstream_lost(self) -> None:
        self._fail(UpstreamRefused("closed", "the server closed the connection"))

    def upstream_full(self) -> None:
        """Our question is small."""

    def upstream_drained(self) -> None:
        """Our question is small."""

    def _messages(self, data: bytes) -> None:
        at, size = 0, len(data)
        while size - at >= HEADER_SIZE:
            kind, length = unpack_header(data, at)
            if not 4 <= length <= _MAX_MESSAGE_BYTES:
                raise UpstreamRefused("protocol", "a message of an impossible length")
            end = at + 1 + length
            if end > size:
                break
            self._message(chr(kind), data[at + HEADER_SIZE : end])
            at = end
        self._buffer = data[at:]

    def _message(self, kind: str, body: bytes) -> None:
        match kind:
            case "d" if self._done < len(self._awaited) and (name := self._awaited[self._done].name):
                self._count += 1
                self._rows[name].append(body)
                self._digest.update(body)
            case "C" if self._done < len(self._awaited):
                self._digest.update(b"\0next\0%d" % self._count)
                self._done += 1
            case "E":
                self._sqlstate = backend.error_code(body) or "XX000"
            case "Z":
                self._ready()
            case "T" | "D" | "H" | "c" | "N" | "S":
                pass
            case _:
                raise UpstreamRefused("protocol", "an unexpected message")

    def _ready(self) -> None:
        if self._sqlstate:
            raise UpstreamRefused("question", "the server did not answer what was asked of its catalog", self._sqlstate)
        if self._done != len(self._awaited):
            raise UpstreamRefused("protocol", "an answer is missing")
        self._digest.update(b"%d" % self._major)
        self.answers.set_result(Answers(self._major, self._rows, self._digest.digest()))

    def _fail(self, why: UpstreamRefused) -> None:
        if not self.answers.done():
            self.answers.set_exception(why)
        self._connection.transport.abort()
