"""For machines that watch."""

from typing import Literal

from pydantic import Field

from admin_api.models.fields import Record


class Alive(Record):
    status: Literal["ok"] = "ok"


class Ready(Record):
    ready: bool
    store: bool = Field(description="The store answered lately.")
    workers: int = Field(description="Workers that answer now.")
    workers_expected: int
