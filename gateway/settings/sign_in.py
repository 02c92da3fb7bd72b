"""How people sign in to the admin API: by themselves, or through an identity provider."""

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


def _issuer(text: str) -> str:
    found = urlsplit(text)
    if text and (found.query or found.fragment or not is_private(found.scheme, found.hostname or "")):
        raise ValueError("should be an https:// URL (http:// only on loopback), as the provider itself writes it")
    return text


def is_private(scheme: str, host: str) -> bool:
    try:
        loopback = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        loopback = False
    return bool(host) and (scheme == "https" or (scheme == "http" and loopback))


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class SignIn(_Section):
    """Signing in with a name, a password and a code. `hours`: how long a sign-in lasts, also one through a provider.

    `code_required`: for whom a code from an authenticator is a must; whoever has an authenticator is always asked for one.
    """

    hours: Annotated[float, Field(gt=0, le=24 * 30)] = 12.0
    code_required: Literal["nobody", "owners", "admins", "everybody"] = "owners"


class Oidc(_Section):
    """An OpenID Connect provider. `issuer` "": there is none.

    `create_users`: somebody whom nobody has linked gets an account at the first sign-in, named by `name_claim`. `managed`: access
    to databases of accounts made so ends, too, when the provider does not vouch for them any more. The provider is asked again
    every `recheck_minutes`; without an answer for `unverified_minutes`, it is as if it had said no, until it answers.
    """

    issuer: Annotated[str, AfterValidator(_issuer)] = ""
    client_id: str = ""
    client_secret_file: Path | None = None
    ca_file: Path | None = None
    scopes: list[Annotated[str, Field(pattern=r"^[\x21\x23-\x5b\x5d-\x7e]+$")]] = [
        "openid",
        "profile",
        "email",
        "offline_access",
    ]
    groups_claim: str = "groups"
    name_claim: str = "preferred_username"
    create_users: bool = False
    managed: bool = True
    recheck_minutes: Annotated[float, Field(gt=0, le=24 * 60)] = 5.0
    unverified_minutes: Annotated[float, Field(gt=0, le=7 * 24 * 60)] = 60.0

    @model_validator(mode="after")
    def _complete(self) -> "Oidc":
        if self.issuer and not self.client_id:
            raise ValueError("issuer needs client_id")
        if "openid" not in self.scopes:
            raise ValueError('scopes must hold "openid"')
        return self
