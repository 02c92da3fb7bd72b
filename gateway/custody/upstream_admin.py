"""A connection to a target's server as a given login: to administer it, or to prove that a login works. Never a person's session.

The login is the one that sessions go through (`session.upstream_login`): no password in clear text, md5 only where the target
allows it, SCRAM bound to the TLS channel where the server can, and no pooler in between. No secret is in any error.
"""

import asyncio
import re
import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from gateway.access.model import Target
from gateway.access.verifiers import make_verifier
from gateway.access_mode import AccessMode
from gateway.custody.dialing import dial, log_in
from gateway.secret import Secret
from gateway.session.upstream_login import UpstreamRefused, Welcome
from gateway.upstream_tls import TlsError
from gateway.wire import backend, frontend
from gateway.wire.errors import WireError
from gateway.wire.framing import HEADER_SIZE, unpack_header

Row = tuple[str | None, ...]

_MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024
_SALT_BYTES: Final = 16
_VERIFIER: Final = re.compile(r"SCRAM-SHA-256\$[^'\s]*")


class UpstreamAdminError(Exception):
    """The server could not be reached, did not let this login in, or refused what it was asked. The text is for operators.

    `kind`: as upstream refusals are called ("unreachable", "tls", "refused", "pooler" ...), or "statement".
    `sqlstate`: the server's, "" where it said nothing.
    """

    def __init__(self, kind: str, text: str, sqlstate: str = "") -> None:
        super().__init__(_VERIFIER.sub("***", text))
        self.kind = kind
        self.sqlstate = sqlstate

    @property
    def wrong_password(self) -> bool:
        """The server says that this login, with this password, is none."""
        return self.sqlstate in ("28P01", "28000")


class AdminConnection:
    """One statement (or several, with semicolons) at a time, as simple queries: values come as text, None for NULL.

    Outside a `transaction` each call is one of its own. `notices`: what the server said besides, the newest last.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, welcome: Welcome, timeout_seconds: float
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._timeout_seconds = timeout_seconds
        self.welcome: Final = welcome
        self.notices: Final[list[str]] = []

    @property
    def major(self) -> int:
        """The server's major version."""
        digits = self.welcome.statuses.get("server_version", "").split(".")[0]
        return int("".join(each for each in digits if each.isdigit()) or 0)

    @property
    def is_superuser(self) -> bool:
        return self.welcome.statuses.get("is_superuser") == "on"

    @property
    def process_id(self) -> int:
        """Of the server's process, as pg_stat_activity has it."""
        return self.welcome.process_id

    async def rows(self, sql: str) -> list[Row]:
        """What the server answers; of several statements, all rows. Raises UpstreamAdminError."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                self._writer.write(frontend.build_query(sql.encode()))
                return await self._answer()
        except TimeoutError:
            self._writer.transport.abort()
            raise UpstreamAdminError("unreachable", "the server did not answer in time") from None
        except (OSError, EOFError) as error:
            raise UpstreamAdminError("closed", "the server closed the connection") from error
        except WireError as error:
            self._writer.transport.abort()
            raise UpstreamAdminError("protocol", error.message) from None
        except asyncio.CancelledError:
            self._writer.transport.abort()  # its answer would be taken for that of the next statement
            raise

    async def run(self, sql: str) -> None:
        """`rows`, of which none is wanted."""
        await self.rows(sql)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """All or nothing: committed at the end of the block, rolled back when it is left by an exception."""
        await self.run("BEGIN")
        try:
            yield
        except BaseException:
            if not self._writer.is_closing():
                await self.run("ROLLBACK")
            raise
        await self.run("COMMIT")

    async def _answer(self) -> list[Row]:
        found: list[Row] = []
        failure: UpstreamAdminError | None = None
        size = 0
        while True:
            kind, length = unpack_header(await self._reader.readexactly(HEADER_SIZE), 0)
            size += length
            if length < 4 or size > _MAX_ANSWER_BYTES:
                self._writer.transport.abort()
                raise UpstreamAdminError("protocol", "the server's answer is too long")
            body = await self._reader.readexactly(length - 4)
            match chr(kind):
                case "D":
                    values = backend.read_data_row(body)
                    found.append(tuple(None if each is None else each.decode("utf-8", "replace") for each in values))
                case "E":
                    fields = backend.read_error(body)
                    failure = UpstreamAdminError("statement", fields.get("M", ""), fields["C"])
                case "N":
                    self.notices.append(_VERIFIER.sub("***", backend.read_error(body).get("M", "")))
                case "Z":
                    if failure is not None:
                        raise failure
                    return found
                case _:
                    pass


@asynccontextmanager
async def admin_connection(
    target: Target,
    login: str,
    secret: Secret,
    *,
    mode: AccessMode = AccessMode.READ_WRITE,
    timeout_seconds: float = 15.0,
) -> AsyncIterator[AdminConnection]:
    """Logged in at the target's place, in the target's way. Closed at the end of the block.

    `mode`: what transactions are by default. `timeout_seconds` bounds the login, and each answer. Raises UpstreamAdminError.
    """
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout_seconds):
            reader, writer = await dial(target)
            welcome = await log_in(reader, writer, target, login, secret, mode)
    except UpstreamRefused as error:
        raise _failed(writer, error.kind, error.detail, error.sqlstate) from None
    except WireError as error:
        raise _failed(writer, "protocol", error.message) from None
    except TimeoutError:
        raise _failed(writer, "unreachable", "no answer in time") from None
    except (ssl.SSLError, TlsError) as error:
        raise _failed(writer, "tls", str(error)) from None
    except (OSError, UnicodeError) as error:
        raise _failed(writer, "unreachable", str(error)) from None
    except EOFError:
        raise _failed(writer, "closed", "the server closed the connection during the login") from None
    except BaseException:
        if writer is not None:
            writer.transport.abort()
        raise
    try:
        yield AdminConnection(reader, writer, welcome, max(timeout_seconds, 150.0))
        if not writer.is_closing():
            writer.write(frontend.TERMINATE)
    finally:
        writer.close()


def scram_verifier(password: Secret) -> str:
    """What a server is told instead of a password, so that none is in its log: for `PASSWORD '...'`, as it is."""
    return make_verifier(password.reveal(), secrets.token_bytes(_SALT_BYTES))


def _failed(writer: asyncio.StreamWriter | None, kind: str, text: str, sqlstate: str = "") -> UpstreamAdminError:
    if writer is not None:
        writer.transport.abort()
    return UpstreamAdminError(kind, text, sqlstate)
