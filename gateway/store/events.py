"""Reads the admin events back, for `pgbastion audit`."""

from datetime import datetime

from sqlalchemy import select

from gateway.audit.admin_event import RecordedAdminEvent
from gateway.store import tables
from gateway.store.engine import Access, open_engine, store_errors, store_path
from gateway.store.rows import to_event, to_text


async def read_events(
    url: str, since: datetime | None = None, until: datetime | None = None, limit: int | None = None
) -> list[RecordedAdminEvent]:
    """Admin events in the order of their commits: `since` <= at < `until`; with `limit`, the newest that many.

    Raises StoreError.
    """
    path = store_path(url)
    table = tables.audit_events
    query = select(table).order_by(table.c.sequence.desc())
    if since is not None:
        query = query.where(table.c.at >= to_text(since))
    if until is not None:
        query = query.where(table.c.at < to_text(until))
    if limit is not None:
        query = query.limit(limit)
    engine = open_engine(path, Access.READ)
    try:
        with store_errors(path):
            async with engine.connect() as connection:
                found = (await connection.execute(query)).mappings().all()
    finally:
        await engine.dispose()
    return [to_event(row) for row in reversed(found)]
