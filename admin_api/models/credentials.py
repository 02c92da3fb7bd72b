"""Short-lived database credentials, and how to connect with them."""

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field

from admin_api.models.fields import Mode, Page, Record, Request, Shown, Version
from gateway.access.model import Snapshot
from gateway.access.proof import Credential, login_name
from gateway.access_mode import AccessMode
from gateway.services.lookup import is_live

_SECONDS = "How long it lives; null: as the settings say. So do they for the most."


class NewCredential(Request):
    """For one's own account, or as an owner for another `user`."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra={"examples": [{"target": "shop", "mode": "read_only", "seconds": 3600}]}
    )

    target: str = Field(max_length=200, examples=["shop"])
    mode: Mode = AccessMode.READ_ONLY
    user: str | None = Field(None, max_length=200, description="null: whoever asks.")
    seconds: int | None = Field(None, ge=1, le=2**31, description=_SECONDS)
    network: str | None = Field(None, max_length=100, description="Only from there: an address or a network.")
    max_sessions: int | None = Field(None, ge=1, le=2**31, description="At a time; null: as the settings say.")


class CredentialRecord(Record):
    id: str
    login: str = Field(description="The user's name in a connection string.", examples=["ana~1f3c9a2e"])
    user: str | None = Field(examples=["ana"])
    target: str | None = Field(examples=["shop"])
    mode: AccessMode
    created_at: Shown
    created_by: str = Field(examples=["user:ana"])
    valid_until: Shown
    sessions_until: Shown = Field(description="When sessions that it opened end.")
    network: str | None
    max_sessions: int
    live: bool = Field(description="It has not ended yet.")
    version: Version


class Endpoint(Record):
    """Where the gateway is. `ca_pem`: what verifies its certificate; null with `tls` "system": what every system knows."""

    host: str = Field(examples=["gateway.example"])
    port: int = Field(examples=[6432])
    tls: Literal["ca", "system", "none"]
    ca_pem: str | None


class CredentialMade(CredentialRecord):
    """`password`: shown only now; null in a repetition. `database`: what to name in a connection string."""

    password: str | None = Field(repr=False)
    database: str = Field(examples=["shop:rw"])
    gateway: Endpoint


class CredentialPage(Page):
    items: list[CredentialRecord]


def database_name(target: str, mode: AccessMode) -> str:
    return f"{target}:rw" if mode is AccessMode.READ_WRITE else target


def credential_records(snapshot: Snapshot, credentials: list[Credential], now: datetime) -> list[CredentialRecord]:
    users = {user.id: user.name for user in snapshot.users.values()}
    targets = {target.id: target.name for target in snapshot.targets.values()}
    return [_record(each, users, targets, now) for each in credentials]


def _record(credential: Credential, users: Mapping[str, str], targets: Mapping[str, str], now: datetime) -> CredentialRecord:
    user = users.get(credential.user_id)
    return CredentialRecord(
        id=credential.id,
        login=credential.handle if user is None else login_name(user, credential),
        user=user,
        target=targets.get(credential.target_id),
        mode=credential.mode,
        created_at=credential.created_at,
        created_by=credential.created_by,
        valid_until=credential.valid_until,
        sessions_until=credential.sessions_until,
        network=None if credential.network is None else str(credential.network),
        max_sessions=credential.max_sessions,
        live=is_live(credential.valid_until, now),
        version=credential.version,
    )
