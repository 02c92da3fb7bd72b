"""API tokens, and who asks."""

from datetime import datetime

from pydantic import Field

from admin_api.models.fields import Instant, Page, Record, Request, Scope, Shown, Version
from gateway.access.model import ApiToken, TokenScope
from gateway.services.lookup import is_live


class NewApiToken(Request):
    name: str = Field(examples=["deploy"])
    scope: Scope = Field(examples=["read"])
    valid_until: Instant


class TokenRecord(Record):
    id: str
    name: str = Field(examples=["deploy"])
    scope: TokenScope
    created_at: Shown
    created_by: str = Field(examples=["os:root"])
    valid_until: Shown
    live: bool = Field(description="It has not ended yet.")
    version: Version


class TokenMade(TokenRecord):
    """`token`: shown only now; null in a repetition."""

    token: str | None


class TokenPage(Page):
    items: list[TokenRecord]


class Whoami(Record):
    actor: str = Field(description="As the audit names you.", examples=["token:deploy"])
    scope: TokenScope
    token: str | None = Field(description="The token's name; null for a command on the gateway's machine.")
    valid_until: Shown | None


class LockdownRecord(Record):
    active: bool = Field(description="Nobody is let in and nobody stays.")
    reason: str | None


def token_record(token: ApiToken, now: datetime) -> TokenRecord:
    return TokenRecord(
        id=token.id,
        name=token.name,
        scope=token.scope,
        created_at=token.created_at,
        created_by=token.created_by,
        valid_until=token.valid_until,
        live=is_live(token.valid_until, now),
        version=token.version,
    )
