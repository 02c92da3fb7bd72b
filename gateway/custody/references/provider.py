"""What keeps secrets, and what is asked of it. It blocks, so that it is never asked on an event loop."""

import json
from dataclasses import dataclass
from typing import Protocol

from gateway.access.secret_reference import SecretReference
from gateway.ports import SecretUnavailable
from gateway.secret import Secret


@dataclass(frozen=True, slots=True)
class Wanted:
    """A secret, and the login that it is for. `deadline_seconds`: how long a request to the keeper may take."""

    reference: SecretReference
    host: str
    port: int
    login: str
    deadline_seconds: float


class Provider(Protocol):
    """One keeper of secrets."""

    def fetch(self, wanted: Wanted) -> Secret:
        """Raises SecretUnavailable; its text holds neither the secret nor what the keeper said."""
        ...


def unavailable(wanted: Wanted, why: str) -> SecretUnavailable:
    return SecretUnavailable(f"{wanted.reference}: {why}")


def one_of(wanted: Wanted, text: str) -> Secret:
    """The reference's field of a JSON object; without a field, the whole text. Raises SecretUnavailable."""
    field = wanted.reference.field
    if not field:
        return whole(wanted, text)
    try:
        found: object = json.loads(text)
    except ValueError:
        raise unavailable(wanted, "what is kept there is not JSON, so that it has no fields") from None
    return field_of(wanted, found, field)


def field_of(wanted: Wanted, found: object, field: str) -> Secret:
    """Raises SecretUnavailable."""
    value: object = found.get(field) if isinstance(found, dict) else None
    if not isinstance(value, str):
        raise unavailable(wanted, f'what is kept there has no text field "{field}"')
    return whole(wanted, value)


def whole(wanted: Wanted, text: str) -> Secret:
    """Raises SecretUnavailable."""
    if not text:
        raise unavailable(wanted, "what is kept there is empty")
    if "\0" in text or "\n" in text or "\r" in text or len(text) > 10_000:
        raise unavailable(wanted, "what is kept there is not one line of text, so that it is no password")
    return Secret(text)
