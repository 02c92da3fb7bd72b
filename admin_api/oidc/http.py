"""Requests to the provider: JSON, of bounded size, within bounded time, and only over TLS or to this machine."""

import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import httpx

from gateway.settings.sign_in import is_private

JsonObject: TypeAlias = Mapping[str, object]

TIMEOUT_SECONDS: Final = 10.0
_MAX_BYTES: Final = 512 * 1024


class ProviderError(Exception):
    """What the provider said cannot be used. The text is for operators; it holds no secret."""


class ProviderUnavailable(ProviderError):
    """It does not answer, or says that something is wrong with it. Says nothing about any person."""


class ProviderRefused(ProviderError):
    """It says no: to this code, or to this refresh token. `code` is its own word ("invalid_grant")."""

    def __init__(self, code: str) -> None:
        super().__init__(f"the identity provider refused: {code}")
        self.code = code


class ProviderHttp:
    """The environment's proxies and .netrc are not asked; redirects are not followed."""

    def __init__(self, ca_file: Path | None) -> None:
        """Raises ProviderError when the CA file cannot be read."""
        try:
            context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        except (OSError, ssl.SSLError) as error:
            raise ProviderError(f"the CA file {ca_file} cannot be read as PEM certificates") from error
        self._client = httpx.AsyncClient(
            verify=context, timeout=TIMEOUT_SECONDS, trust_env=False, headers={"accept": "application/json"}
        )

    async def get(self, url: str, bearer: str | None = None) -> JsonObject:
        """Raises ProviderError."""
        headers = {} if bearer is None else {"authorization": f"Bearer {bearer}"}
        status, body = await self._ask(self._client.build_request("GET", url, headers=headers))
        if status != httpx.codes.OK:
            raise ProviderUnavailable(f"{_shown(url)} answers with status {status}")
        return _object(url, body)

    async def post(self, url: str, form: Mapping[str, str], basic: tuple[str, str] | None) -> JsonObject:
        """Raises ProviderRefused where the provider says no to what was sent, else ProviderError."""
        request = self._client.build_request("POST", url, data=dict(form))
        if basic is not None:
            request = next(httpx.BasicAuth(*basic).auth_flow(request))
        status, body = await self._ask(request)
        if status == httpx.codes.OK:
            return _object(url, body) if body.strip() else {}
        if status in (httpx.codes.BAD_REQUEST, httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            try:
                code = _object(url, body).get("error")
            except ProviderError:
                code = None
            if isinstance(code, str) and code.isascii() and code.isprintable():
                raise ProviderRefused(code[:60])
        raise ProviderUnavailable(f"{_shown(url)} answers with status {status}")

    async def close(self) -> None:
        await self._client.aclose()

    async def _ask(self, request: httpx.Request) -> tuple[int, bytes]:
        if not is_private(request.url.scheme, request.url.host):
            raise ProviderError(f"{_shown(str(request.url))} is not an https:// URL")
        try:
            answer = await self._client.send(request, stream=True)
            try:
                body = b""
                async for piece in answer.aiter_bytes():
                    body += piece
                    if len(body) > _MAX_BYTES:
                        raise ProviderError(f"{_shown(str(request.url))} answers with too much")
            finally:
                await answer.aclose()
        except httpx.HTTPError as error:
            raise ProviderUnavailable(f"{_shown(str(request.url))} cannot be asked: {error or type(error).__name__}") from error
        return answer.status_code, body


def _object(url: str, body: bytes) -> JsonObject:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ProviderError(f"{_shown(url)} does not answer with a JSON object")
    return found


def _shown(url: str) -> str:
    """Without its query, which may hold what is nobody's business."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"
