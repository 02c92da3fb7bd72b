"""Which records a search is for, and how to tell quickly which lines cannot be among them."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Final, Literal

from gateway.trails.records import JsonValue

Fields = Mapping[str, JsonValue]
Check = Callable[[Fields], bool]

ADMIN_EVENT: Final = "admin"
"""The event of records that tell of an operator's change; their `action` says which."""


@dataclass(frozen=True, slots=True)
class Filter:
    """All that is given must hold. An operator's change is about a user or target when it names it.

    `event` may hold `*` for anything; of operators' changes it is the action ("grant.*"), and "admin" is all of them. `text`
    stands anywhere, in any case. `denied`: only what was turned away. `since` <= at < `until`.
    """

    user: str | None = None
    target: str | None = None
    session: str | None = None
    event: str | None = None
    verdict: Literal["allowed", "denied"] | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None
    denied: bool = False

    def compile(self) -> Check:
        checks: list[Check] = []
        if self.since is not None:
            since = stamp(self.since)
            checks.append(lambda fields: str(fields["at"]) >= since)
        if self.until is not None:
            until = stamp(self.until)
            checks.append(lambda fields: str(fields["at"]) < until)
        if (user := self.user) is not None:
            checks.append(lambda fields: fields.get("user") == user or _names(fields, user))
        if (target := self.target) is not None:
            checks.append(lambda fields: fields.get("target") == target or _names(fields, target))
        if (session := self.session) is not None:
            checks.append(lambda fields: session in (fields.get("session"), fields.get("object_id")))
        if (event := self.event) is not None:
            checks.append(lambda fields: fields.get("event") == event or fnmatchcase(event_of(fields), event))
        if (verdict := self.verdict) is not None:
            checks.append(lambda fields: fields.get("verdict") == verdict)
        if self.denied:
            checks.append(is_denied)
        if (text := self.text) is not None:
            lowered = text.casefold()
            checks.append(lambda fields: any(lowered in each.casefold() for each in _texts(fields)))
        return lambda fields: all(check(fields) for check in checks)

    def screen(self) -> Callable[[bytes], bool]:
        """Whether lines may hold a record that fits: never False when they do. For one line, or as many as one likes."""
        needles = [_inside(each) for each in (self.user, self.target, self.session) if each is not None]
        if self.event is not None and not set(self.event) & set("*?[]"):
            needles.append(_inside(self.event))
        if self.verdict is not None:
            needles.append(f'"verdict":"{self.verdict}"'.encode())
        signs = (b'"denied"', b'refused"', b'"login_failed"') if self.denied else ()
        plain = _plain(self.text)

        def may_fit(data: bytes) -> bool:
            if not all(needle in data for needle in needles):
                return False
            if signs and not any(sign in data for sign in signs):
                return False
            # Other characters than ASCII are written as \uXXXX, and some of them fold to ASCII ones.
            return plain is None or plain in data.lower() or b"\\u" in data

        return may_fit


def is_denied(fields: Fields) -> bool:
    """A statement, login, session or connection that was turned away."""
    event = str(fields.get("event"))
    return fields.get("verdict") == "denied" or event.endswith("refused") or event == "login_failed"


def event_of(fields: Fields) -> str:
    """What happened; of operators' changes the action."""
    event = fields.get("event")
    return str(fields.get("action", event) if event == ADMIN_EVENT else event)


def stamp(instant: datetime) -> str:
    """As records have it: UTC with microseconds, so that texts compare as instants do."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _inside(text: str) -> bytes:
    """As it stands in a line, without its quotes."""
    return json.dumps(text)[1:-1].encode()


def _plain(text: str | None) -> bytes | None:
    if text is None or not text.isascii() or not text.isprintable() or '"' in text or "\\" in text:
        return None
    return text.lower().encode()


def _names(fields: Fields, name: str) -> bool:
    if "actor" not in fields:
        return False
    changed = str(fields.get("object", ""))
    return name in (fields.get("actor"), changed) or name in changed.split() or name in _texts(fields.get("detail"))


def _texts(value: JsonValue) -> list[str]:
    match value:
        case str():
            return [value]
        case dict():
            return [text for each in value.values() for text in _texts(each)]
        case list() | tuple():
            return [text for each in value for text in _texts(each)]
        case _:
            return []
