"""Signing in, and who one is."""

from base64 import urlsafe_b64encode
from typing import Final

from pydantic import Field, SecretStr

from admin_api.models.fields import Password, Record, Request, Shown
from gateway.access.model import Snapshot, TokenKind
from gateway.services.actor import Actor, roles_of
from gateway.services.lookup import groups_of
from gateway.services.signing_in import Enrolment, SignedIn

_CODE: Final = "Of the authenticator, or a recovery code. Empty: there is none."


class SignInRequest(Request):
    name: str = Field(max_length=100, examples=["ana_miller"])
    password: Password = Field(examples=["a password of hers"])
    code: Password = Field(SecretStr(""), max_length=40, description=_CODE, examples=["123456"])


class EnrolmentConfirmation(SignInRequest):
    """`code`: one of the new authenticator."""

    pending: str = Field(max_length=2000, description="As it came when the enrolment began.", examples=["AQ=="])


class OwnPassword(SignInRequest):
    new_password: Password = Field(description="12 to 256 printable characters.", examples=["another password of hers"])


class ProviderSignIn(Request):
    redirect_uri: str = Field(max_length=100, examples=["http://127.0.0.1:40001/callback"])


class ProviderAnswer(Request):
    """What the browser brought back, and the flow as it came when the sign-in began."""

    flow: str = Field(max_length=4000, examples=["AQ=="])
    state: str = Field(max_length=200, examples=["c29tZXRoaW5n"])
    code: Password = Field(examples=["a code"])
    issuer: str | None = Field(None, max_length=500, description='The parameter "iss", if there was one.')


class SignInMade(Record):
    """`token` and `recovery_codes` are shown only now."""

    user: str = Field(examples=["ana_miller"])
    token: str = Field(repr=False)
    valid_until: Shown
    recovery_codes_left: int
    recovery_codes: list[str] = Field(repr=False, description="Each is good for one sign-in without the authenticator.")


class EnrolmentBegun(Record):
    """Nothing has changed yet: confirm it with a code that the new authenticator shows."""

    user: str
    secret: str = Field(repr=False, description="For an authenticator, in base32.")
    url: str = Field(repr=False, description="The same as an otpauth:// URL, which QR codes hold.")
    pending: str


class ProviderSignInBegun(Record):
    url: str = Field(description="Where the person's browser goes.")
    state: str = Field(description="What it must bring back.")
    flow: str = Field(description="To be kept by whoever began the sign-in, and to be shown with its answer.")


class SignedOut(Record):
    end_session_url: str | None = Field(description="Where the browser signs out of the identity provider, too.")


class Me(Record):
    actor: str = Field(description="As the audit names you.", examples=["user:ana_miller"])
    user: str | None = Field(description="Null: a token that is nobody's, or a command on the gateway's machine.")
    owner: bool = Field(description="You may do everything.")
    roles: list[str] = Field(description="Your admin roles.")
    groups: list[str]
    kind: TokenKind | None = Field(description="session: you signed in; api: a token that somebody made. Null: on the machine.")
    valid_until: Shown | None = Field(description="When that ends.")
    authenticator: bool | None = Field(description="Whether signing in asks you for a code. Null: you have no account.")
    recovery_codes_left: int | None
    provider: str | None = Field(description="The identity provider that you are linked to.")


def sign_in_made(made: SignedIn) -> SignInMade:
    return SignInMade(
        user=made.user.name,
        token=made.secret.reveal(),
        valid_until=made.token.valid_until,
        recovery_codes_left=made.codes_left,
        recovery_codes=[code.reveal() for code in made.recovery_codes],
    )


def enrolment_begun(begun: Enrolment) -> EnrolmentBegun:
    return EnrolmentBegun(
        user=begun.user.name,
        secret=begun.secret.reveal(),
        url=begun.url.reveal(),
        pending=urlsafe_b64encode(begun.pending).decode("ascii"),
    )


def me(actor: Actor, snapshot: Snapshot) -> Me:
    """`snapshot`: whole."""
    user = next((each for each in snapshot.users.values() if each.id == actor.user_id), None)
    account = None if user is None else snapshot.accounts.get(user.id)
    return Me(
        actor=actor.name,
        user=None if user is None else user.name,
        owner=actor.owner,
        roles=[] if user is None else [role.name for role in roles_of(snapshot, user.id)],
        groups=[] if user is None else [group.name for group in groups_of(snapshot, user)],
        kind=None,
        valid_until=None,
        authenticator=None if account is None else account.sealed_secret is not None,
        recovery_codes_left=None if account is None else len(account.recovery_hashes),
        provider=None if account is None or account.identity is None else account.identity.issuer,
    )
