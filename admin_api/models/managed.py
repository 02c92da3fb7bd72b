"""Database roles of people's own."""

from datetime import datetime

from pydantic import Field

from admin_api.models.fields import Page, Record, Request
from gateway.access.managed import ManagedLogin, ManagedMode, ManagedState
from gateway.access_mode import AccessMode
from gateway.services.managed_logins import Cleaned


class NewManaged(Request):
    managed: ManagedMode = Field(
        strict=False,
        description="Whose database role sessions use: off (the target's own logins, no DDL), per-user or per-grant.",
        examples=["per-user"],
    )


class ManagedLoginRecord(Record):
    """A login role on the target's server. Its password is sealed and never shown."""

    login: str = Field(examples=["pgb_alice_3f9a1c"])
    user: str = Field(description="As the account was called when the login was made.", examples=["alice"])
    mode: AccessMode
    grant: str | None = Field(description="The grant that it stands for; null: all of the user's.")
    member_of: str = Field(description="The target's database role whose rights it has.", examples=["app_ro"])
    valid_until: datetime | None = Field(description="As the server has it; null: no end.")
    state: ManagedState
    created_at: datetime
    finding: str = Field(description="Why it is not as it should be; empty: it is.")


class ManagedLoginPage(Page):
    items: list[ManagedLoginRecord]


class CleanedRecord(Record):
    login: str = Field(examples=["pgb_alice_3f9a1c"])
    kind: str = Field(description="orphan: no row of the store speaks of it; ended: its right did.", examples=["orphan"])
    left: str | None = Field(
        description="What is left on the server: nothing, in-use, changed (it is wanted again) or kept; null: only looked at.",
        examples=["nothing"],
    )
    reason: str = Field(description="Why it was kept.")


class CleanRecord(Record):
    target: str
    ok: bool = Field(description="Nothing is left.")
    logins: list[CleanedRecord]


def managed_login_record(login: ManagedLogin) -> ManagedLoginRecord:
    return ManagedLoginRecord(
        login=login.login,
        user=login.user_name,
        mode=login.key.mode,
        grant=login.key.grant_id,
        member_of=login.member_of,
        valid_until=login.valid_until,
        state=login.state,
        created_at=login.created_at,
        finding=login.finding,
    )


def clean_record(target: str, found: list[Cleaned]) -> CleanRecord:
    shown = [
        CleanedRecord(
            login=each.login, kind=each.kind.value, left=None if each.left is None else each.left.value, reason=each.reason
        )
        for each in found
    ]
    return CleanRecord(target=target, ok=all(each.left in ("nothing", "changed") for each in shown), logins=shown)


def _cleaned(each: Cleaned) -> CleanedRecord:
    left = None if each.left is None else each.left.value
    return CleanedRecord(login=each.login, kind=each.kind.value, left=left, reason=each.reason)
