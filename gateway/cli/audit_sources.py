"""Where audit records come from: this machine's files and store, read as they are, or the admin API.

On the gateway's machine the store need not answer: whoever investigates at night reads the files all the same, and is told.
"""

import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol

from gateway.cli.client import Api, Query, path
from gateway.cli.output import JsonValue

if TYPE_CHECKING:
    from gateway.services.audit import AuditLog, AuditPage, Filter, Followed, Order

_PAGE: Final = 5_000
_PAGE_SECONDS: Final = 3600.0  # nobody but this command waits


@dataclass(frozen=True, slots=True)
class Question:
    """Which records; all that is given must hold. See gateway/trails/filters.py."""

    user: str | None = None
    target: str | None = None
    session: str | None = None
    event: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None
    denied: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One record: its line as written, and what it says."""

    line: str
    fields: Mapping[str, JsonValue]

    @property
    def identity(self) -> tuple[str, ...]:
        return tuple(str(self.fields.get(name)) for name in ("at", "worker", "seq", "id"))


class Source(Protocol):
    """`notes`: what could not be read, for people; complete when what was asked for has been read."""

    @property
    def notes(self) -> list[str]: ...

    def search(self, asked: Question) -> Iterator[Entry]:
        """Oldest first."""
        ...

    def newest(self, asked: Question, count: int) -> list[Entry]:
        """Oldest first."""
        ...

    def follow(self, asked: Question) -> Iterator[Entry]:
        """What is written from now, from this very call on, without end."""
        ...


def open_source(api: Api) -> Source:
    return Elsewhere(api) if api.is_remote else Here(api)


@dataclass(slots=True)
class Here:
    """The files and the store of this machine."""

    api: Api
    notes: list[str] = field(default_factory=list)
    _log: "AuditLog | None" = None

    def search(self, asked: Question) -> Iterator[Entry]:
        from gateway.services.audit import Order

        after: str | None = None
        while True:
            page = self._page(asked, Order.OLDEST_FIRST, _PAGE, after)
            yield from (Entry(record.line, record.fields) for record in page.records)
            if page.next is None:
                return
            after = page.next

    def newest(self, asked: Question, count: int) -> list[Entry]:
        from gateway.services.audit import Order

        found: list[Entry] = []
        after: str | None = None
        while len(found) < count:
            page = self._page(asked, Order.NEWEST_FIRST, min(count - len(found), _PAGE), after)
            found += [Entry(record.line, record.fields) for record in page.records]
            if page.next is None:
                break
            after = page.next
        return found[::-1]

    def follow(self, asked: Question) -> Iterator[Entry]:
        log = self._opened()
        return self._entries(log.follow(_filter(asked), after=self.api.wait(log.end())))

    def _entries(self, followed: "AsyncGenerator[Followed, None]") -> Iterator[Entry]:
        try:
            while True:
                record = self.api.wait(_next(followed)).record
                yield Entry(record.line, record.fields)
        finally:
            self.api.wait(followed.aclose())

    def _page(self, asked: Question, order: "Order", limit: int, after: str | None) -> "AuditPage":
        page = self.api.wait(
            self._opened().search(_filter(asked), order=order, limit=limit, after=after, seconds=_PAGE_SECONDS)
        )
        self.notes += [each for each in page.notes if each not in self.notes]
        return page

    def _opened(self) -> "AuditLog":
        from gateway.cli.audit_store import open_changes
        from gateway.cli.local import our_settings
        from gateway.services.audit import AuditLog

        if self._log is None:
            settings = our_settings(self.api.config)
            changes = open_changes(settings)
            self._log = AuditLog(settings.audit_dir, changes, changes.revision)
        return self._log


@dataclass(slots=True)
class Elsewhere:
    """The admin API."""

    api: Api

    @property
    def notes(self) -> list[str]:
        return self.api.notes

    def search(self, asked: Question) -> Iterator[Entry]:
        return map(_entry, self.api.pages(path("audit"), order="oldest_first", **_query(asked)))

    def newest(self, asked: Question, count: int) -> list[Entry]:
        found = self.api.pages(path("audit"), order="newest_first", limit=count, **_query(asked))
        return [_entry(record) for record in found][::-1]

    def follow(self, asked: Question) -> Iterator[Entry]:
        return map(_entry, self.api.follow(path("audit", "stream"), **_query(asked)))


def _filter(asked: Question) -> "Filter":
    from gateway.services.audit import Filter

    return Filter(**asdict(asked))


def _query(asked: Question) -> dict[str, Query]:
    given = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(asked).items()}
    return {name: value for name, value in given.items() if value not in (None, False)}


def _entry(record: Mapping[str, JsonValue]) -> Entry:
    return Entry(json.dumps(record, separators=(",", ":")), record)


async def _next(followed: "AsyncGenerator[Followed, None]") -> "Followed":
    return await anext(followed)
