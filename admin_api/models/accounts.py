"""How people sign in, as owners see it; and what groups at the identity provider mean here."""

from datetime import datetime

from pydantic import Field

from admin_api.models.fields import Page, Password, Record, Request, Version
from gateway.access.accounts import Account, ClaimMapping, Standing
from gateway.access.model import Snapshot, TokenKind, User
from gateway.services.claim_mappings import mapped_names


class NewAccount(Request):
    """Without a password one is made and shown once."""

    user: str = Field(examples=["ana_miller"])
    password: Password | None = Field(None, description="For signing in, not for databases: 12 to 256 printable characters.")


class Recovery(Request):
    """Without a password one is made and shown once, unless it is kept."""

    password: Password | None = None
    keep_password: bool = Field(False, description="Only the authenticator was lost.")


class NewIdentity(Request):
    issuer: str | None = Field(None, max_length=500, description="Null: the one of the settings.")
    subject: str = Field(
        max_length=255, description='The claim "sub": theirs alone at the provider.', examples=["248289761001"]
    )
    managed: bool = Field(False, description="Access to databases ends, too, when the provider does not vouch any more.")


class AccountPatch(Request):
    managed: bool = Field(examples=[True])


class AccountRecord(Record):
    user: str = Field(examples=["ana_miller"])
    password: bool = Field(description="They may sign in with a password.")
    authenticator: bool = Field(description="Signing in with a password asks for a code, too.")
    recovery_codes_left: int
    issuer: str | None
    subject: str | None
    managed: bool = Field(description="Access to databases depends, too, on the provider's word.")
    standing: Standing = Field(description="What the provider said last; unverified: nothing, for too long.")
    sign_ins: int = Field(description="How many are live.")
    version: Version


class AccountMade(AccountRecord):
    """`generated`: a password that was made, shown only now; null in a repetition, and where one was given or kept."""

    generated: str | None = Field(repr=False)


class AccountPage(Page):
    items: list[AccountRecord]


class NewMapping(Request):
    """Give either `group` or `role`."""

    value: str = Field(max_length=255, description="Of the group claim.", examples=["data-analysts"])
    group: str | None = Field(None, examples=["analysts"])
    role: str | None = Field(None, description="An admin role.")


class MappingRecord(Record):
    """`group` and `role` are both null when what was mapped to was deleted."""

    id: str
    value: str
    group: str | None
    role: str | None
    version: Version


class MappingPage(Page):
    items: list[MappingRecord]


def account_record(snapshot: Snapshot, user: User, account: Account, now: datetime) -> AccountRecord:
    sign_ins = [
        token
        for token in snapshot.tokens.values()
        if token.kind is TokenKind.SESSION and token.user_id == user.id and now < token.valid_until
    ]
    return AccountRecord(
        user=user.name,
        password=account.password_hash is not None,
        authenticator=account.sealed_secret is not None,
        recovery_codes_left=len(account.recovery_hashes),
        issuer=None if account.identity is None else account.identity.issuer,
        subject=None if account.identity is None else account.identity.subject,
        managed=account.managed,
        standing=account.standing,
        sign_ins=len(sign_ins),
        version=account.version,
    )


def mapping_record(snapshot: Snapshot, mapping: ClaimMapping) -> MappingRecord:
    group, role = mapped_names(snapshot, mapping)
    return MappingRecord(id=mapping.id, value=mapping.value, group=group, role=role, version=mapping.version)
