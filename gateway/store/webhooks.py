"""Webhooks as rows, and back; and the wish to have a message delivered again. Pure."""

import json
import sqlite3
from collections.abc import Iterator, Sequence, Set
from datetime import datetime

from sqlalchemy import RowMapping, bindparam, update

from gateway.access.webhooks import Body, Webhook
from gateway.ports import ChangeableRow, OutboxState, Redelivery
from gateway.store import tables
from gateway.store.instants import from_text, to_text
from gateway.store.steps import Step, Upsert
from gateway.store.values import Values


def put_webhook_steps(puts: Sequence[ChangeableRow], upsert: Upsert, revision: int, now: datetime) -> Iterator[Step]:
    yield from upsert.steps(tables.webhooks, [_row(row, revision) for row in puts if isinstance(row, Webhook)])
    again: list[Values] = [{"key": row.message_id} for row in puts if isinstance(row, Redelivery)]
    if again:
        table = tables.outbox
        anew = {"state": OutboxState.PENDING.value, "attempts": 0, "next_at": to_text(now), "last_error": "", "ended_at": None}
        ended = table.c.state != OutboxState.PENDING.value
        yield Step(update(table).where(table.c.id == bindparam("key"), ended).values(**anew), again)


def to_webhook(row: RowMapping | sqlite3.Row) -> Webhook:
    return Webhook(
        id=row["id"],
        name=row["name"],
        url=row["url"],
        sealed_secret=row["sealed_secret"],
        sealed_url_secret=row["sealed_url_secret"],
        former_secret=row["former_secret"],
        former_until=from_text(row["former_until"]),
        enabled=bool(row["enabled"]),
        topics=frozenset(json.loads(row["topics"])),
        environments=frozenset(json.loads(row["environments"])),
        body=Body(row["body"]),
        template=row["template"],
        version=row["version"],
    )


def _row(webhook: Webhook, version: int) -> Values:
    return {
        "id": webhook.id,
        "name": webhook.name,
        "url": webhook.url,
        "sealed_secret": webhook.sealed_secret,
        "sealed_url_secret": webhook.sealed_url_secret,
        "former_secret": webhook.former_secret,
        "former_until": to_text(webhook.former_until),
        "enabled": int(webhook.enabled),
        "topics": _names(webhook.topics),
        "environments": _names(webhook.environments),
        "body": webhook.body.value,
        "template": webhook.template,
        "version": version,
    }


def _names(names: Set[str]) -> str:
    return json.dumps(sorted(names), ensure_ascii=False)
