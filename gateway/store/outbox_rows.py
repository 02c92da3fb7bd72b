"""Messages of the outbox as rows, and back. They get their sequence numbers with the commit that they speak of. Pure."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import RowMapping

from gateway.ports import OutboxMessage, OutboxState
from gateway.store.instants import from_text, to_text
from gateway.store.values import Value, Values


def outbox_row(message: OutboxMessage, sequence: int) -> Values:
    return {
        "sequence": sequence,
        "id": message.id,
        "topic": message.topic,
        "request_id": message.request_id,
        "destination": message.destination,
        "payload": message.payload,
        "created_at": to_text(message.created_at),
        "state": message.state.value,
        "attempts": message.attempts,
        "next_at": to_text(message.next_at),
        "last_error": message.last_error,
        "receipt": message.receipt,
        "ended_at": to_text(message.ended_at),
    }


def to_message(row: Mapping[str, Value] | RowMapping) -> OutboxMessage:
    """`row`: as the table outbox has it."""
    request_id = row["request_id"]
    return OutboxMessage(
        id=str(row["id"]),
        topic=str(row["topic"]),
        destination=str(row["destination"]),
        payload=str(row["payload"]),
        created_at=datetime.fromisoformat(str(row["created_at"])),
        next_at=datetime.fromisoformat(str(row["next_at"])),
        request_id=None if request_id is None else str(request_id),
        state=OutboxState(str(row["state"])),
        attempts=int(row["attempts"] or 0),
        last_error=str(row["last_error"]),
        receipt=str(row["receipt"]),
        ended_at=from_text(row["ended_at"]),
        sequence=int(row["sequence"] or 0),
    )
