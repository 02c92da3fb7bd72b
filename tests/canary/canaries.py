"""Secrets that are nowhere else in the world, one for each slot, and every form in which one might come to light."""

import base64
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus

SHORTEST_HALF, SHORTEST_PART = 8, 12
"""Bytes: what is shorter could stand somewhere by chance."""


@dataclass(frozen=True)
class Needle:
    """One form of one secret."""

    slot: str
    form: str
    content: bytes = field(repr=False)


@dataclass
class Canaries:
    """`slots`: by name, the secrets that lie there (several, when one takes the place of another)."""

    slots: dict[str, list[bytes]] = field(default_factory=dict)
    _needles: list[Needle] = field(default_factory=list)

    def make(self, slot: str) -> str:
        """A new secret for this slot: printable, one line, with characters that JSON, URLs and shells write otherwise."""
        text = f'{secrets.token_hex(10)}%/+"\\$é{secrets.token_hex(10)}'
        self.note(slot, text)
        return text

    def make_plain(self, slot: str) -> str:
        """One of letters and digits alone, for where the above is not taken."""
        text = f"Cn9{secrets.token_hex(20)}"
        self.note(slot, text)
        return text

    def note(self, slot: str, value: str | bytes) -> None:
        """A secret that the gateway, or somebody else, has made."""
        raw = value.encode() if isinstance(value, str) else value
        assert len(raw) >= SHORTEST_HALF, slot
        known = self.slots.setdefault(slot, [])
        if raw not in known:
            known.append(raw)
            self._needles += forms_of(slot, raw)

    @property
    def needles(self) -> list[Needle]:
        return self._needles

    @property
    def count(self) -> int:
        return sum(map(len, self.slots.values()))


def forms_of(slot: str, raw: bytes) -> list[Needle]:
    """Different ones only, and none that says less than half of the secret."""
    found = {content: form for form, content in reversed(list(_forms(raw))) if len(content) >= SHORTEST_HALF}
    return [Needle(slot, form, content) for content, form in found.items()]


def _forms(raw: bytes) -> Iterator[tuple[str, bytes]]:
    yield "plain", raw
    half, less = len(raw) // 2, len(raw) * 2 // 5
    if half >= SHORTEST_HALF:
        yield "first half", raw[:half]
        yield "second half", raw[half:]
    if less >= SHORTEST_PART:  # of those that `make` makes: what is spelt the same in every language
        yield "beginning", raw[:less]
        yield "end", raw[-less:]
    yield "hex", raw.hex().encode()
    yield "hex in capitals", raw.hex().upper().encode()
    for shift in range(3):
        for name, alphabet in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
            yield f"{name} at {shift}", _within(alphabet, raw, shift)
    yield "reversed", raw[::-1]
    yield "repr", repr(raw)[2:-1].encode()
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return
    yield "URL", quote(text, safe="").encode()
    yield "URL path", quote(text).encode()
    yield "form", quote_plus(text).encode()
    yield "JSON", json.dumps(text)[1:-1].encode()
    yield "JSON, not ASCII", json.dumps(text, ensure_ascii=False)[1:-1].encode()
    yield "SQL", text.replace("'", "''").replace("\\", "\\\\").encode()
    yield "repr of text", repr(text)[1:-1].encode()
    yield "UTF-16", text.encode("utf-16-le")
    yield "Latin-1", text.encode("latin-1", "replace")


def _within(alphabet: object, raw: bytes, shift: int) -> bytes:
    """What of the base64 of a longer text is this part's alone, when so many bytes (modulo 3) come before it."""
    assert callable(alphabet)
    encoded: bytes = alphabet(bytes(shift) + raw).rstrip(b"=")
    begin = (0, 2, 3)[shift]
    end = len(encoded) - (1 if (shift + len(raw)) % 3 else 0)
    return encoded[begin:end]
