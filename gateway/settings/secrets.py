"""Upstream secrets that are kept elsewhere: which references may be used, and how those who keep them are reached."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from gateway.access.secret_reference import SecretProvider, SecretReference
from gateway.settings.sign_in import is_private


def _prefix(text: str) -> str:
    provider, colon, place = text.partition(":")
    kinds = ", ".join(f'"{each.value}:"' for each in SecretProvider)
    if not colon or provider not in set(SecretProvider):
        raise ValueError(f"should be how references begin: one of {kinds} and, but for rds-iam, a beginning of the place")
    if not place and provider != SecretProvider.RDS_IAM:
        raise ValueError(
            "should say a beginning of the place, too: not every secret there is for everybody who sets up a target"
        )
    if provider == SecretProvider.FILE and not (place.startswith("/") and place.endswith("/") and "/../" not in place):
        raise ValueError("should be file:/FOLDER/, with the folder's whole path")
    return text


def _address(text: str) -> str:
    from urllib.parse import urlsplit

    found = urlsplit(text)
    if text and (found.query or found.fragment or found.username or not is_private(found.scheme, found.hostname or "")):
        raise ValueError("should be an https:// URL (http:// only on loopback) without a user or a query")
    return text.rstrip("/")


Address = Annotated[str, AfterValidator(_address)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Secrets(_Section):
    """`allowed`: how references may begin ("vault:kv/pgbastion/"); none: no secret is kept elsewhere.

    A secret is fetched within `timeout_seconds` or not at all, and remembered for `cache_seconds`.
    """

    allowed: list[Annotated[str, AfterValidator(_prefix)]] = []
    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0
    cache_seconds: Annotated[float, Field(ge=1, le=600)] = 60.0

    def allows(self, reference: SecretReference) -> bool:
        """Whether it begins as one of `allowed`."""
        return any(str(reference).startswith(each) for each in self.allowed)


class Vault(_Section):
    """HashiCorp Vault or OpenBao. `auth`: by a token in `token_file`, by AppRole, or by a Kubernetes service account.

    `auth_mount`: where that way of authenticating is mounted; "": where it is by default. Mounts are of KV version 2, but for
    those in `kv1_mounts`.
    """

    address: Address = ""
    namespace: str = ""
    ca_file: Path | None = None
    auth: Literal["token", "approle", "kubernetes"] = "token"
    auth_mount: str = Field("", pattern=r"^[A-Za-z0-9_./-]*$")
    token_file: Path | None = None
    role_id: str = ""
    secret_id_file: Path | None = None
    kubernetes_role: str = ""
    jwt_file: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
    kv1_mounts: list[str] = []

    @model_validator(mode="after")
    def _complete(self) -> "Vault":
        needed = {
            "token": (self.token_file is not None, "token_file"),
            "approle": (bool(self.role_id) and self.secret_id_file is not None, "role_id and secret_id_file"),
            "kubernetes": (bool(self.kubernetes_role), "kubernetes_role"),
        }
        there, what = needed[self.auth]
        if self.address and not there:
            raise ValueError(f'auth = "{self.auth}" needs {what}')
        return self


class Aws(_Section):
    """`region`: of references that do not name one; "": as the SDK finds it. Credentials are found as the SDK finds them.

    `profile`: of its configuration files. `endpoint`: another address of Secrets Manager, such as that of a VPC endpoint.
    """

    region: str = Field("", pattern=r"^[a-z0-9-]*$")
    profile: str = ""
    endpoint: Address = ""
    ca_file: Path | None = None


class Google(_Section):
    """`credentials_file`: of a service account; None: as the SDK finds them. `endpoint`: another address of Secret Manager."""

    credentials_file: Path | None = None
    endpoint: Address = ""
