"""Instants as the store has them. Pure."""

from datetime import UTC, datetime


def to_text(instant: datetime | None) -> str | None:
    """UTC with microseconds, so that texts sort as the instants do. Raises ValueError for an instant without a zone."""
    if instant is None:
        return None
    if instant.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    return instant.astimezone(UTC).isoformat(timespec="microseconds")


def from_text(text: object) -> datetime | None:
    """What `to_text` wrote, or nothing. Raises ValueError for anything else."""
    return None if text is None else datetime.fromisoformat(str(text))
