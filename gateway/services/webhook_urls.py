"""Which names and URLs webhooks may have. Pure. What is refused is not repeated: there may be a secret in it."""

import base64
import re
from typing import Final
from urllib.parse import urlsplit

from gateway.access.webhooks import URL_SECRET
from gateway.secret import Secret
from gateway.services.errors import ServiceError
from gateway.settings.sign_in import is_private

_PREFIX: Final = "whsec_"
_FEWEST_BYTES, _MOST_BYTES = 24, 64
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")
_MOST_CHARACTERS: Final = 2000
_URL_TEXT: Final = re.compile(r"[\x21-\x7e]+")
_SECRET_TEXT: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@/?%-]{1,1000}")


def check_webhook_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ServiceError(
            "webhook-name-invalid",
            f"{name!r} cannot be a webhook's name",
            "Use 1 to 63 of A-Z a-z 0-9 _ . -, starting with a letter.",
        )


def check_url(url: str, *, with_secret: bool) -> None:
    """`with_secret`: there is one to be put into its place in the URL."""
    hint = "Write https://HOST/PATH (http:// only for this machine), without a user and a fragment."
    if len(url) > _MOST_CHARACTERS or not _URL_TEXT.fullmatch(url):
        raise ServiceError("url-invalid", "this is no URL that messages can go to", hint)
    try:
        found = urlsplit(url)
        host, user, _ = found.hostname or "", found.username, found.port
    except ValueError:
        raise ServiceError("url-invalid", "this is no URL that messages can go to", hint) from None
    if not is_private(found.scheme, host) or user is not None or "@" in found.netloc or found.fragment:
        raise ServiceError("url-invalid", "messages cannot go to this URL", hint)
    places = url.count(URL_SECRET)
    if places > 1 or URL_SECRET in found.netloc or set("{}") & set(url.replace(URL_SECRET, "")):
        text = f"{URL_SECRET} stands once in a URL, behind the host, and no other braces do"
        raise ServiceError("url-invalid", text, "It is where the part goes that is a secret.")
    if places and not with_secret:
        raise ServiceError("url-secret-missing", f"the URL has a place for a secret ({URL_SECRET}), and there is none", "")
    if with_secret and not places:
        raise ServiceError("url-secret-unused", "there is no place for the secret in the URL", f"Write {URL_SECRET} there.")


def check_url_secret(secret: Secret) -> None:
    if not _SECRET_TEXT.fullmatch(secret.reveal()):
        text = "this cannot be a part of a URL"
        raise ServiceError(
            "url-secret-invalid", text, "It is put into the URL as it is: percent-encode what is not plain ASCII."
        )


def check_signing_secret(secret: Secret) -> None:
    """One that somebody else made: as Standard Webhooks says."""
    text = secret.reveal()
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not text.startswith(_PREFIX) or not _FEWEST_BYTES <= len(key) <= _MOST_BYTES:
        raise ServiceError(
            "webhook-secret-invalid",
            "this cannot sign messages",
            f"It is {_PREFIX} and {_FEWEST_BYTES} to {_MOST_BYTES} random bytes in base64: "
            "echo whsec_$(head -c 32 /dev/urandom | base64)",
        )
