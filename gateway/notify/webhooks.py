"""Messages by HTTP, signed as Standard Webhooks says: `webhook-id`, `webhook-timestamp`, `webhook-signature`.

A redirect is not followed, the receiver's certificate is verified, and plain HTTP goes to this machine only. What the receiver
answers is not read beyond its status. Neither a secret nor what it says leaves by what is raised or told.
"""

import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpx
from standardwebhooks.webhooks import Webhook as Signing

from gateway.access.webhooks import URL_SECRET, Webhook
from gateway.notify.bodies import body_of
from gateway.notify.delivering import Dead, Delivered, Later, Means, Outcome
from gateway.ports import OutboxMessage, SealedUse
from gateway.secret import Secret
from gateway.settings.sign_in import is_private
from gateway.store.errors import VaultError

_LONGEST_ASKED_SECONDS: Final = 3600.0
_CONNECTIONS: Final = httpx.Limits(max_connections=64, max_keepalive_connections=8)


class Webhooks:
    """Implements Channel, for "webhook:<name>"."""

    def __init__(self, means: Means) -> None:
        """Raises OSError when the CA file cannot be read (ssl.SSLError is one)."""
        self._means = means
        notify = means.settings.notify
        context = ssl.create_default_context(cafile=str(notify.ca_file) if notify.ca_file else None)
        # The environment's proxies and .netrc are not asked.
        self._client = httpx.AsyncClient(
            verify=context,
            trust_env=False,
            follow_redirects=False,
            timeout=notify.timeout_seconds,
            limits=_CONNECTIONS,
        )

    async def start(self) -> None:
        """Nothing to begin."""

    async def close(self) -> None:
        await self._client.aclose()

    async def deliver(self, message: OutboxMessage) -> Outcome:
        webhook = self._means.snapshot().webhooks.get(message.destination.partition(":")[2])
        if webhook is None:
            return Dead("there is no webhook of this name")
        if not webhook.enabled:
            return Dead("the webhook is disabled")
        try:
            request = self._request(webhook, message)
        except VaultError:
            return Later(None, "its secrets cannot be opened with the master key that is here")
        except ValueError as error:  # a template or a URL that an older version took
            return Dead(f"no request can be made for it: {type(error).__name__}")
        try:
            answer = await self._client.send(request, stream=True)
            await answer.aclose()
        except httpx.TimeoutException:
            return Later(None, "the receiver does not answer in time")
        except httpx.HTTPError as error:
            return Later(None, _trouble(error))
        return _outcome(answer.status_code, answer.headers, self._means.clock())

    def _request(self, webhook: Webhook, message: OutboxMessage) -> httpx.Request:
        """Raises VaultError, ValueError."""
        url = self._url(webhook)
        if not is_private(url.scheme, url.host):
            raise ValueError("only https, or this machine")
        body, now = body_of(webhook, message), self._means.clock().astimezone(UTC)
        signatures = [Signing(secret.reveal()).sign(message.id, now, body) for secret in self._secrets(webhook, now)]
        headers = {
            "content-type": "application/json",
            "user-agent": "pgbastion",
            "webhook-id": message.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signatures),
        }
        return self._client.build_request("POST", url, content=body.encode(), headers=headers)

    def _secrets(self, webhook: Webhook, now: datetime) -> list[Secret]:
        """The one that signs, and after a rotation the one before it, for as long as receivers may know that one only."""
        vault = self._means.vault
        found = [vault.open_for(SealedUse.WEBHOOK, webhook.id, webhook.sealed_secret)]
        if webhook.former_secret is not None and webhook.former_until is not None and now < webhook.former_until:
            found.append(vault.open_for(SealedUse.WEBHOOK, webhook.id, webhook.former_secret))
        return found

    def _url(self, webhook: Webhook) -> httpx.URL:
        text = webhook.url
        if webhook.sealed_url_secret is not None:
            secret = self._means.vault.open_for(SealedUse.WEBHOOK_URL, webhook.id, webhook.sealed_url_secret)
            text = text.replace(URL_SECRET, secret.reveal())
        try:
            return httpx.URL(text)
        except httpx.InvalidURL:
            raise ValueError("not a URL") from None


def _outcome(status: int, headers: Mapping[str, str], now: datetime) -> Outcome:
    if 200 <= status < 300:
        return Delivered()
    if status == httpx.codes.GONE:
        return Dead("the receiver says that it is gone (410)")
    if 300 <= status < 400:
        return Later(None, f"the receiver answers with a redirect ({status}), which is not followed")
    return Later(_asked_seconds(headers.get("retry-after"), now), f"the receiver answers with status {status}")


def _asked_seconds(text: str | None, now: datetime) -> float | None:
    """Retry-After, as seconds or as an instant; None: nothing that can be understood."""
    if text is None:
        return None
    if text.strip().isdecimal():
        return min(float(text[:9]), _LONGEST_ASKED_SECONDS)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return min(max((at - now).total_seconds(), 0.0), _LONGEST_ASKED_SECONDS)


def _trouble(error: httpx.HTTPError) -> str:
    """Not the library's own text: it may quote the URL."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the receiver's certificate does not verify ({cause.verify_message})"
        if isinstance(cause, ssl.SSLError):
            return "the receiver does not speak TLS as we do"
        cause = cause.__cause__ or cause.__context__
    return f"the receiver cannot be reached ({type(error).__name__})"
