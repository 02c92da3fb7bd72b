"""A sign-in that is under way: what has to be known again when the browser comes back.

It lies with whoever began it, sealed, and not here: so another process can finish it, and nobody can make us remember things. The
sealed text never passes the browser; who only sees what passes there can finish nothing.
"""

import binascii
import json
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from gateway.ports import SealedUse, SecretBox
from gateway.secret import Secret
from gateway.services.errors import ServiceError
from gateway.store.errors import VaultError

PATIENCE: Final = timedelta(minutes=10)

_RANDOM_BYTES: Final = 32
_VERIFIER_BYTES: Final = 48
_REDIRECT: Final = re.compile(r"http://(127\.0\.0\.1|\[::1\]):([1-9][0-9]{0,4})/callback")


@dataclass(frozen=True, slots=True)
class Flow:
    """`state` and `nonce` pass the browser; `verifier` (of PKCE) goes to the provider alone, with the code."""

    state: str
    nonce: str
    verifier: Secret = field(repr=False)
    redirect_uri: str
    begun_at: datetime


def begin_flow(redirect_uri: str, now: datetime) -> Flow:
    """Raises ServiceError for a redirect that leads elsewhere than to a program on the person's own computer (RFC 8252)."""
    found = _REDIRECT.fullmatch(redirect_uri)
    if found is None or int(found[2]) > 65535:
        raise ServiceError("redirect-invalid", "a redirect leads to http://127.0.0.1:PORT/callback")
    verifier = Secret(secrets.token_urlsafe(_VERIFIER_BYTES))
    return Flow(secrets.token_urlsafe(_RANDOM_BYTES), secrets.token_urlsafe(_RANDOM_BYTES), verifier, redirect_uri, now)


def seal(flow: Flow, box: SecretBox, issuer: str) -> str:
    """As text."""
    content = json.dumps([flow.state, flow.nonce, flow.verifier.reveal(), flow.redirect_uri, flow.begun_at.isoformat()])
    return urlsafe_b64encode(box.seal_for(SealedUse.PROVIDER_FLOW, issuer, Secret(content))).decode("ascii")


def unseal(text: str, state: str, box: SecretBox, issuer: str, now: datetime) -> Flow:
    """Raises ServiceError for what is none of ours, too old, or another one than that whose `state` the browser brought."""
    try:
        content = box.open_for(SealedUse.PROVIDER_FLOW, issuer, urlsafe_b64decode(text.encode("ascii")))
        known, nonce, verifier, redirect_uri, begun_at = json.loads(content.reveal())
    except (VaultError, ValueError, binascii.Error):
        raise _unknown() from None
    flow = Flow(known, nonce, Secret(verifier), redirect_uri, datetime.fromisoformat(begun_at))
    if not secrets.compare_digest(flow.state.encode(), state.encode()) or not timedelta() <= now - flow.begun_at <= PATIENCE:
        raise _unknown()
    return flow


def _unknown() -> ServiceError:
    return ServiceError(
        "sign-in-stale", "this sign-in was not begun here, or too long ago", "Begin again: pgbastion login --oidc"
    )
