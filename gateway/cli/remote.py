"""The admin API over the network. The token comes from a file or the environment, and leaves only over TLS or to this machine.

A connection may end before the answer came. A request with a key (`client.ONCE`) is then sent again, with the same key: the API
makes its change once, however often it comes.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import httpx

from gateway.cli import token_store
from gateway.cli.client import ONCE, Request, Response
from gateway.cli.errors import CommandError
from gateway.cli.output import note
from gateway.secret import Secret

TOKEN_VARIABLE: Final = "PGBASTION_TOKEN"  # noqa: S105
_TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)
_PAUSES_SECONDS: Final = (0.2, 1.0, 3.0)  # before a request goes out again: an API that is being restarted needs a moment
_IN_FLIGHT: Final = b'"idempotency-key-in-flight"'
_TOKEN_HINT: Final = (
    "Sign in (pgbastion login), or put an API token into a file and name it with --token-file, or set"
    f" {TOKEN_VARIABLE}. To make one: pgbastion tokens create"
)


class Remote:
    """One connection to an admin API. The environment's proxies and .netrc are not asked: a token is meant for one place."""

    def __init__(self, url: str, token: Secret | None, ca_file: Path | None) -> None:
        """`token` None: for what needs none, which is signing in."""
        self._url = _checked(url)
        self._client = httpx.AsyncClient(
            base_url=self._url,
            headers={"user-agent": "pgbastion", **({} if token is None else {"authorization": f"Bearer {token.reveal()}"})},
            verify=_trust(ca_file) if self._url.startswith("https:") else False,  # to read all CAs takes longer than to ask
            timeout=_TIMEOUT,
            trust_env=False,
        )

    async def send(self, request: Request) -> Response:
        lost: httpx.HTTPError | None = None
        for pause in (*(_PAUSES_SECONDS if ONCE in request.headers else ()), None):
            try:
                answer = await self._client.send(self._built(request))
            except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
                if lost is None and isinstance(error, httpx.ConnectError):  # nobody is there, and nothing was sent
                    raise self._unreachable(error) from error
                lost = lost or error
            except httpx.HTTPError as error:
                raise self._unreachable(lost or error) from error
            else:
                if lost is None or pause is None or answer.status_code != 409 or _IN_FLIGHT not in answer.content:
                    return Response(answer.status_code, _headers(answer), answer.content)
            if pause is not None:
                await asyncio.sleep(pause)
        raise self._unreachable(lost or httpx.HTTPError("")) from lost

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[tuple[Response, AsyncIterator[bytes]]]:
        built = self._built(request)
        built.extensions["timeout"] = httpx.Timeout(5.0, read=None).as_dict()  # nothing may happen for hours
        try:
            answer = await self._client.send(built, stream=True)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        try:
            yield Response(answer.status_code, _headers(answer), b""), self._pieces(answer)
        finally:
            await answer.aclose()

    async def close(self) -> None:
        await self._client.aclose()

    def _built(self, request: Request) -> httpx.Request:
        return self._client.build_request(
            request.method,
            request.path,
            params=httpx.QueryParams(list(request.query)) if request.query else None,
            headers=dict(request.headers),
            content=request.body or None,
        )

    async def _pieces(self, answer: httpx.Response) -> AsyncIterator[bytes]:
        try:
            async for piece in answer.aiter_bytes():
                yield piece
        except httpx.HTTPError as error:
            raise CommandError(f"the connection to {self._url} ended") from error

    def _unreachable(self, error: httpx.HTTPError) -> CommandError:
        cause = _root(error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            return CommandError(
                f"the certificate of {self._url} is not trusted: {cause.verify_message}",
                "Name the CA with --ca-file FILE (the gateway's own is tls/ca.pem in its state directory).",
            )
        if isinstance(error, httpx.ConnectTimeout):
            return CommandError(f"the admin API at {self._url} cannot be reached: it does not answer", "Check --url.")
        if isinstance(error, httpx.ConnectError):
            reason = _reason(cause) or str(error)
            return CommandError(f"the admin API at {self._url} cannot be reached: {reason}", "Check --url, and that it runs.")
        return CommandError(
            f"the connection to {self._url} ended before the answer came: {str(error) or type(error).__name__}",
            "A change may have been made or not: look before you repeat it.",
        )


def given_token(file: Path | None, url: str = "") -> Secret:
    """From the file, else from the environment, else that of the sign-in at this URL. Raises CommandError."""
    if file is None:
        text = os.environ.get(TOKEN_VARIABLE, "")
        if not text and url and (kept := token_store.find_token(url)) is not None:
            return kept
        place = TOKEN_VARIABLE
    else:
        place = str(file)
        try:
            text = file.read_text("ascii")
            if file.stat().st_mode & 0o077:
                note(f"Note: others can read the token in {file}: chmod 600 {file}")
        except OSError as error:  # its name is not repeated: perhaps it is the token itself
            raise CommandError(f"the token file cannot be read: {error.strerror}", _TOKEN_HINT) from None
        except UnicodeDecodeError:
            raise CommandError(f"the token file {file} does not hold an API token") from None
    token = text.strip()
    if not token:
        raise CommandError("there is no API token" if file is None else f"{place} is empty", _TOKEN_HINT)
    if not token.isascii() or not token.isprintable() or " " in token:
        raise CommandError(f"{place} does not hold an API token", _TOKEN_HINT)
    return Secret(token)


def _checked(url: str) -> str:
    """Raises CommandError for what is no URL, and for plain HTTP to another machine: the token would be read on the way."""
    try:
        parsed = httpx.URL(url.rstrip("/"))
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo:
        raise CommandError("the URL of the admin API is not one", "Write https://gateway.example.com:6480")
    if parsed.scheme == "http" and not _is_loopback(parsed.host):
        raise CommandError(f"http://{parsed.host} would carry the API token in clear text", "Use https://.")
    return str(parsed)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except (OSError, ssl.SSLError):
        raise CommandError(f"the CA file {ca_file} cannot be read as PEM certificates") from None


def _headers(answer: httpx.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.headers.items()}


def _reason(cause: BaseException) -> str:
    """asyncio's own text names addresses and no reason."""
    if isinstance(cause, socket.gaierror) or not isinstance(cause, OSError):
        return str(cause.strerror) if isinstance(cause, OSError) else ""
    return os.strerror(cause.errno) if cause.errno else ""


def _root(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error
