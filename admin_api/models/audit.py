"""Audit records, as they were written."""

from pydantic import Field, JsonValue

from admin_api.models.fields import Page


class AuditRecords(Page):
    """A page may be empty and have a `next` all the same: the time for looking was up."""

    items: list[dict[str, JsonValue]] = Field(
        examples=[[{"at": "2026-01-01T00:00:00.000000Z", "event": "login", "user": "ana", "target": "shop"}]]
    )
    notes: list[str] = Field(description="What could not be read, in sentences.")
