"""API tokens, and who asks."""

from collections.abc import Mapping
from datetime import datetime

from pydantic import Field

from admin_api.models.environments import Permissions
from admin_api.models.fields import Instant, Page, Record, Request, Scope, Shown, Version
from gateway.access.model import ApiToken, Permission, Snapshot, TokenKind, TokenScope
from gateway.services.environments import environment_name
from gateway.services.lookup import is_live


class NewApiToken(Request):
    name: str = Field(examples=["deploy"])
    scope: Scope = Field(examples=["read"])
    valid_until: Instant
    user: str | None = Field(None, description="Whose rights it has; null: your own, or an owner's.", examples=["ana"])
    environments: list[str] | None = Field(
        None, max_length=1000, description="Only in these; null: wherever its user has rights.", examples=[["production"]]
    )
    permissions: Permissions | None = Field(None, description="Only these of what its user has; null: all.")
    networks: list[str] = Field(
        [], max_length=100, description="Only from these; none: from wherever the API is.", examples=[["10.1.0.0/16"]]
    )


class TokenRecord(Record):
    id: str
    name: str = Field(examples=["deploy"])
    scope: TokenScope
    created_at: Shown
    created_by: str = Field(examples=["os:root"])
    valid_until: Shown
    live: bool = Field(description="It has not ended yet.")
    kind: TokenKind = Field(description="api: made to be kept; session: somebody signed in.")
    user: str | None = Field(description="Whose rights it has; null: an owner's.")
    environments: list[str] | None = Field(description="Only in these; null: everywhere.")
    permissions: list[Permission] | None = Field(description="Only these; null: all of its user's.")
    networks: list[str] = Field(description="Only from these; none: from anywhere.")
    last_used_at: Shown | None = Field(description="Some seconds late; null: never.")
    version: Version


class TokenMade(TokenRecord):
    """`token`: shown only now; null in a repetition."""

    token: str | None = Field(repr=False)


class TokenPage(Page):
    items: list[TokenRecord]


class Whoami(Record):
    actor: str = Field(description="As the audit names you.", examples=["token:deploy"])
    scope: TokenScope
    user: str | None = Field(description="The account behind it, if there is one.")
    owner: bool = Field(description="May do everything everywhere.")
    token: str | None = Field(description="The token's name; null for a command on the gateway's machine.")
    valid_until: Shown | None


class LockdownRecord(Record):
    active: bool = Field(description="Nobody is let in and nobody stays.")
    reason: str | None


def token_record(snapshot: Snapshot, token: ApiToken, uses: Mapping[str, datetime], now: datetime) -> TokenRecord:
    """`uses`: when each was last used, by id."""
    places, allowed = token.environments, token.permissions
    return TokenRecord(
        user=next((user.name for user in snapshot.users.values() if user.id == token.user_id), None),
        environments=None if places is None else sorted(environment_name(snapshot, each) for each in places),
        permissions=None if allowed is None else [each for each in Permission if each in allowed],
        networks=[str(network) for network in token.networks],
        last_used_at=uses.get(token.id),
        id=token.id,
        name=token.name,
        kind=token.kind,
        scope=token.scope,
        created_at=token.created_at,
        created_by=token.created_by,
        valid_until=token.valid_until,
        live=is_live(token.valid_until, now),
        version=token.version,
    )
