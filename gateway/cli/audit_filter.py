"""Which records a search is for."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase

from gateway.cli.audit_files import Entry
from gateway.cli.output import JsonValue


@dataclass(frozen=True, slots=True)
class Filter:
    """All that is given must hold. An operator's change is about a user or target when it names it."""

    user: str | None = None
    target: str | None = None
    session: str | None = None
    event: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None
    denied: bool = False

    def compile(self) -> Callable[[Entry], bool]:
        checks: list[Callable[[Entry], bool]] = []
        if self.since is not None:
            since = stamp(self.since)
            checks.append(lambda entry: str(entry.fields["at"]) >= since)
        if self.until is not None:
            until = stamp(self.until)
            checks.append(lambda entry: str(entry.fields["at"]) < until)
        if (user := self.user) is not None:
            checks.append(lambda entry: entry.fields.get("user") == user or _names(entry, user))
        if (target := self.target) is not None:
            checks.append(lambda entry: entry.fields.get("target") == target or _names(entry, target))
        if (session := self.session) is not None:
            checks.append(lambda entry: session in (entry.fields.get("session"), entry.fields.get("object_id")))
        if (event := self.event) is not None:
            checks.append(lambda entry: fnmatchcase(str(entry.fields.get("event")), event))
        if self.denied:
            checks.append(is_denied)
        if (text := self.text) is not None:
            lowered = text.casefold()
            checks.append(lambda entry: any(lowered in each.casefold() for each in _texts(entry.fields)))
        return lambda entry: all(check(entry) for check in checks)


def is_denied(entry: Entry) -> bool:
    """A statement, login, session or connection that was turned away."""
    event = str(entry.fields.get("event"))
    return entry.fields.get("verdict") == "denied" or event.endswith("refused") or event == "login_failed"


def stamp(instant: datetime) -> str:
    """As records have it: UTC with microseconds, so that texts compare as instants do."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _names(entry: Entry, name: str) -> bool:
    if "actor" not in entry.fields:
        return False
    changed = str(entry.fields.get("object", ""))
    return name in (entry.fields.get("actor"), changed) or name in changed.split() or name in _texts(entry.fields.get("detail"))


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
