"""Staged rows about access requests to SQL. Pure."""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, insert

from gateway.access.approvals import ApprovalPolicy
from gateway.access.request_record import AccessRequest
from gateway.ports import ChangeableRow, GrantEnding, OutboxMessage
from gateway.store import tables
from gateway.store.access_requests import request_row
from gateway.store.outbox_rows import outbox_row
from gateway.store.request_documents import write_policy
from gateway.store.steps import Step, Upsert
from gateway.store.values import Values, to_text

_ENDINGS_KEPT: Final = timedelta(days=1)
"""The sessions that stood on such a grant end within a second."""


def put_request_steps(
    puts: Sequence[ChangeableRow], upsert: Upsert, revision: int, now: datetime, last_message: int
) -> Iterator[Step]:
    """`last_message`: the sequence number of the newest message in the outbox."""
    policies = [_policy_row(row, revision) for row in puts if isinstance(row, ApprovalPolicy)]
    requests = {row.id: request_row(row, revision) for row in puts if isinstance(row, AccessRequest)}
    yield from upsert.steps(tables.approval_policies, policies)
    yield from upsert.steps(tables.access_requests, list(requests.values()))
    yield from _ending_steps([row for row in puts if isinstance(row, GrantEnding)], upsert, now)
    messages = numbered((row for row in puts if isinstance(row, OutboxMessage)), last_message)
    if messages:
        yield Step(insert(tables.outbox), messages)


def numbered(messages: Iterable[OutboxMessage], last: int) -> list[Values]:
    """In the order in which they were put."""
    return [outbox_row(message, sequence) for sequence, message in enumerate(messages, start=last + 1)]


def _ending_steps(endings: Sequence[GrantEnding], upsert: Upsert, now: datetime) -> Iterator[Step]:
    if endings:
        table = tables.grant_endings
        yield Step(delete(table).where(table.c.at < to_text(now - _ENDINGS_KEPT)))
        rows: list[Values] = [{"grant_id": each.grant_id, "reason": each.reason, "at": to_text(now)} for each in endings]
        yield from upsert.steps(table, rows)


def _policy_row(policy: ApprovalPolicy, version: int) -> Values:
    return {
        "id": policy.id,
        "name": policy.name,
        "environment_id": policy.environment_id,
        "modes": json.dumps(sorted(policy.modes)),
        "document": write_policy(policy),
        "version": version,
    }
