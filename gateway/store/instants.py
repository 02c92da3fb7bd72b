"""Instants as the store has them. Pure."""

from datetime import UTC, datetime


def to_text(instant: datetime | None) -> str | None:
    """UTC with microseconds, so that texts sort as the instants do. Raises ValueError for an instant without a zone."""
    if instant is None:
        return None
    if instant.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    return instant.astimezone(UTC).isoformat(timespec="microseconds")
