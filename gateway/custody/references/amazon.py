"""AWS by boto3: secrets in Secrets Manager, and tokens for RDS with IAM authentication, which are signed here."""

import re
import threading
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, cast

from gateway.custody.references.provider import Wanted, one_of, unavailable, whole
from gateway.secret import Secret
from gateway.settings.secrets import Aws

if TYPE_CHECKING:
    from boto3.session import Session

_RDS_HOST: Final = re.compile(r".+\.([a-z]{2}(?:-[a-z]+)+-\d)\.rds\.amazonaws\.com(?:\.cn)?", re.IGNORECASE)
_REFUSALS: Final = {
    "AccessDeniedException": "AWS does not let us read it: check the policy of our role",
    "ResourceNotFoundException": "there is no such secret in AWS Secrets Manager in this region",
    "DecryptionFailure": "AWS cannot decrypt it: check the policy of its KMS key",
    "InvalidRequestException": "AWS refuses: it may be marked for deletion",
    "UnrecognizedClientException": "AWS does not take our credentials",
    "InvalidSignatureException": "AWS does not take our credentials",
    "ExpiredTokenException": "our AWS credentials have expired",
    "ThrottlingException": "AWS says that we ask too often",
}


class _SecretsManager(Protocol):
    def get_secret_value(self, *, SecretId: str) -> dict[str, object]: ...  # noqa: N803


class _Rds(Protocol):
    def generate_db_auth_token(self, *, DBHostname: str, Port: int, DBUsername: str, Region: str) -> str: ...  # noqa: N803


_Client: TypeAlias = _SecretsManager | _Rds


class _Clients:
    """One per service and region: making one takes long."""

    def __init__(self, settings: Aws) -> None:
        self._settings = settings
        self._session: Session | None = None
        self._made: dict[tuple[str, str, float], _Client] = {}
        self._lock = threading.Lock()

    def of(self, service: str, region: str, seconds: float) -> tuple[_Client, str]:
        """The client, and the region that it is for."""
        import boto3
        from botocore.config import Config

        with self._lock:
            session = self._session = self._session or boto3.session.Session(profile_name=self._settings.profile or None)
            found = region or self._settings.region or session.region_name or ""
            key = service, found, seconds
            if key not in self._made:
                config = Config(connect_timeout=seconds, read_timeout=seconds, retries={"total_max_attempts": 1})
                ca_file, endpoint = self._settings.ca_file, self._settings.endpoint
                self._made[key] = session.client(
                    service,
                    region_name=found or None,
                    endpoint_url=(endpoint or None) if service == "secretsmanager" else None,
                    verify=str(ca_file) if ca_file is not None else None,
                    config=config,
                )
            return self._made[key], found


class SecretsManager:
    """Implements Provider."""

    def __init__(self, settings: Aws) -> None:
        self._clients = _Clients(settings)

    def fetch(self, wanted: Wanted) -> Secret:
        """See Provider."""
        from botocore import exceptions

        place = wanted.reference.place
        region = place.split(":")[3] if place.startswith("arn:") else ""
        try:
            client, _ = self._clients.of("secretsmanager", region, wanted.deadline_seconds)
            text = cast(_SecretsManager, client).get_secret_value(SecretId=place).get("SecretString")
        except exceptions.ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            raise unavailable(wanted, _REFUSALS.get(code, "AWS Secrets Manager refuses")) from None
        except exceptions.BotoCoreError as error:
            raise unavailable(wanted, _trouble(error)) from None
        if not isinstance(text, str):
            raise unavailable(wanted, "what is kept there is not text")
        return one_of(wanted, text)


class RdsTokens:
    """Implements Provider: a token that stands for the password of one login on one server, for a quarter of an hour."""

    def __init__(self, settings: Aws) -> None:
        self._clients = _Clients(settings)

    def fetch(self, wanted: Wanted) -> Secret:
        """See Provider. Nothing is asked of RDS: the token is signed with the credentials that are found here."""
        from botocore import exceptions

        named = _RDS_HOST.fullmatch(wanted.host)
        region = wanted.reference.place or (named[1].lower() if named else "")
        try:
            client, found = self._clients.of("rds", region, wanted.deadline_seconds)
            if not found:
                raise unavailable(wanted, "no region is named: write rds-iam:REGION, or set aws.region")
            token = cast(_Rds, client).generate_db_auth_token(
                DBHostname=wanted.host, Port=wanted.port, DBUsername=wanted.login, Region=found
            )
        except exceptions.BotoCoreError as error:
            raise unavailable(wanted, _trouble(error)) from None
        return whole(wanted, token)


def _trouble(error: Exception) -> str:
    match type(error).__name__:
        case "NoCredentialsError" | "PartialCredentialsError" | "CredentialRetrievalError" | "TokenRetrievalError":
            return "there are no AWS credentials here"
        case "NoRegionError":
            return "no region is named: set aws.region"
        case "ProfileNotFound":
            return "there is no such profile: see aws.profile"
        case "ConnectTimeoutError" | "ReadTimeoutError":
            return "AWS does not answer in time"
        case "SSLError":
            return "the certificate of the endpoint does not verify: see aws.ca_file"
        case "EndpointConnectionError" | "ConnectionClosedError" | "ConnectionError" | "ProxyConnectionError":
            return "AWS cannot be reached"
        case name:
            return f"AWS's SDK failed ({name})"
