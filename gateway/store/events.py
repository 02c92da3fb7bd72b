"""Queries for the admin events and the claims of requests; `SqlStore` runs them."""

import re
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, func, literal, or_, select

from gateway.audit.admin_event import RecordedAdminEvent
from gateway.store import tables
from gateway.store.values import to_text

_EVENTS = tables.audit_events


@dataclass(frozen=True, slots=True)
class FoundClaim:
    """A request that took effect already: what it was, and the first event of its change (with the revision after it)."""

    request_hash: str
    event: RecordedAdminEvent

    @property
    def revision(self) -> int:
        return self.event.revision


def filtered(
    since: datetime | None,
    until: datetime | None,
    actor: str | None,
    action: str | None,
    object_name: str | None,
    text: str | None,
) -> Select[tuple[object, ...]]:
    query = select(*_EVENTS.columns)
    if since is not None:
        query = query.where(_EVENTS.c.at >= to_text(since))
    if until is not None:
        query = query.where(_EVENTS.c.at < to_text(until))
    if actor is not None:
        query = query.where(_EVENTS.c.actor == actor)
    if action is not None:
        query = query.where(func.substr(_EVENTS.c.action, 1, len(action)) == action)
    if object_name is not None:
        query = query.where(_EVENTS.c.object_name == object_name)
    if text is not None:
        query = query.where(_mentions(text))
    return query


def forwards(
    query: Select[tuple[object, ...]], after: int, before: int | None, limit: int | None
) -> Select[tuple[object, ...]]:
    return _older(query, before).where(_EVENTS.c.sequence > after).order_by(_EVENTS.c.sequence).limit(limit)


def backwards(query: Select[tuple[object, ...]], before: int | None, limit: int | None) -> Select[tuple[object, ...]]:
    return _older(query, before).order_by(_EVENTS.c.sequence.desc()).limit(limit)


def _older(query: Select[tuple[object, ...]], before: int | None) -> Select[tuple[object, ...]]:
    return query if before is None else query.where(_EVENTS.c.sequence < before)


def select_claim(key_hash: str) -> Select[tuple[object, ...]]:
    claims = tables.idempotency_claims
    joined = claims.join(_EVENTS, claims.c.event_id == _EVENTS.c.id)
    return select(claims.c.request_hash, *_EVENTS.columns).select_from(joined).where(claims.c.key_hash == key_hash)


def _mentions(text: str) -> ColumnElement[bool]:
    escaped = re.sub(r"([\\%_])", r"\\\1", text)
    # The database lowers both sides, so that they are lowered alike.
    pattern = literal("%") + func.lower(escaped) + "%"
    columns = (_EVENTS.c.actor, _EVENTS.c.action, _EVENTS.c.object_name, _EVENTS.c.reason, _EVENTS.c.detail)
    return or_(*(func.lower(column).like(pattern, escape="\\") for column in columns))
