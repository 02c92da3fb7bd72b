"""Access requests in the store: beside the snapshot, since they are history and nothing on the way of a login asks for them.

They are written by a unit of work, like all that an audit event speaks of.
"""

from sqlalchemy import Select, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.access.request_record import AccessRequest
from gateway.ports import RequestFilter
from gateway.store import tables
from gateway.store.request_documents import read_request, write_request
from gateway.store.values import Values, to_text


async def read_next_number(connection: AsyncConnection) -> int:
    last: int | None = await connection.scalar(select(func.max(tables.access_requests.c.number)))
    return (last or 0) + 1


async def read_access_request(connection: AsyncConnection, key: str | int) -> AccessRequest | None:
    """By its id or its number."""
    table = tables.access_requests
    by = table.c.number if isinstance(key, int) else table.c.id
    row = (await connection.execute(select(table).where(by == key))).mappings().first()
    return None if row is None else read_request(dict(row))


async def read_access_requests(connection: AsyncConnection, wanted: RequestFilter) -> list[AccessRequest]:
    """The newest first."""
    found = (await connection.execute(_query(wanted))).mappings().all()
    return [read_request(dict(row)) for row in found]


def request_row(request: AccessRequest, version: int) -> Values:
    wanted = request.wanted
    return {
        "id": request.id,
        "number": request.number,
        "requester_id": request.requester.user_id,
        "holder_id": request.holder.user_id,
        "target_id": wanted.target_id,
        "environment_id": request.policy.environment_id,
        "state": request.state.value,
        "likeness": wanted.likeness,
        "asked_at": to_text(request.asked_at),
        "decide_by": to_text(request.decide_by),
        "starts_at": to_text(request.starts_at),
        "ends_at": to_text(request.ends_at),
        "ended_at": to_text(request.ended_at),
        "awaits_review": int(request.awaits_review),
        "document": write_request(request),
        "version": version,
    }


def _query(wanted: RequestFilter) -> Select[tuple[object, ...]]:
    table = tables.access_requests
    query = select(table).order_by(table.c.number.desc())
    if wanted.states:
        query = query.where(table.c.state.in_(sorted(wanted.states)))
    if wanted.person_id is not None:
        query = query.where(or_(table.c.requester_id == wanted.person_id, table.c.holder_id == wanted.person_id))
    if wanted.environments is not None:
        query = query.where(table.c.environment_id.in_(sorted(wanted.environments)))
    if wanted.awaits_review:
        query = query.where(table.c.awaits_review == 1)
    if wanted.before is not None:
        query = query.where(table.c.number < wanted.before)
    for column, value in (
        (table.c.requester_id, wanted.requester_id),
        (table.c.holder_id, wanted.holder_id),
        (table.c.target_id, wanted.target_id),
        (table.c.likeness, wanted.likeness),
    ):
        if value is not None:
            query = query.where(column == value)
    return query if wanted.limit is None else query.limit(wanted.limit)
