"""Google Secret Manager, by its own client over HTTPS."""

import threading
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from gateway.custody.references.provider import Wanted, one_of, unavailable
from gateway.secret import Secret
from gateway.settings.secrets import Google

if TYPE_CHECKING:
    from google.cloud.secretmanager_v1 import SecretManagerServiceClient

_ENDPOINT: Final = "https://secretmanager.googleapis.com"
_SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)
_REFUSALS: Final = {
    "PermissionDenied": "Google does not let us read it: check the roles of our service account",
    "Forbidden": "Google does not let us read it: check the roles of our service account",
    "Unauthenticated": "Google does not take our credentials",
    "Unauthorized": "Google does not take our credentials",
    "NotFound": "there is no such secret, or no such version of it",
    "FailedPrecondition": "this version of the secret is disabled or destroyed",
    "BadRequest": "this version of the secret is disabled or destroyed",
    "DeadlineExceeded": "Google does not answer in time",
    "GatewayTimeout": "Google does not answer in time",
    "ResourceExhausted": "Google says that we ask too often",
    "TooManyRequests": "Google says that we ask too often",
    "ServiceUnavailable": "Google cannot be reached",
}


class GoogleSecretManager:
    """Implements Provider."""

    def __init__(self, settings: Google) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._made: SecretManagerServiceClient | None = None

    def fetch(self, wanted: Wanted) -> Secret:
        """See Provider."""
        import requests
        from google.api_core import exceptions
        from google.auth.exceptions import GoogleAuthError

        place = wanted.reference.place
        name = place if "/versions/" in place else f"{place}/versions/latest"
        try:
            answer = self._client().access_secret_version(name=name, timeout=wanted.deadline_seconds, retry=None)
        except exceptions.GoogleAPICallError as error:
            said = f"Google refuses ({type(error).__name__})"
            raise unavailable(wanted, _REFUSALS.get(type(error).__name__, said)) from None
        except GoogleAuthError:
            raise unavailable(wanted, "there are no Google credentials here, or they do not work") from None
        except requests.exceptions.Timeout:
            raise unavailable(wanted, "Google does not answer in time") from None
        except (requests.exceptions.RequestException, exceptions.GoogleAPIError, OSError, ValueError):
            raise unavailable(wanted, "Google cannot be reached") from None
        try:
            return one_of(wanted, answer.payload.data.decode("utf-8"))
        except UnicodeDecodeError:
            raise unavailable(wanted, "what is kept there is not text") from None

    def _client(self) -> "SecretManagerServiceClient":
        from google.auth.credentials import AnonymousCredentials
        from google.cloud.secretmanager_v1 import SecretManagerServiceClient
        from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceRestTransport
        from google.oauth2.service_account import Credentials

        with self._lock:
            if self._made is None:
                place, file = urlsplit(self._settings.endpoint or _ENDPOINT), self._settings.credentials_file
                credentials = None  # as the SDK finds them
                if place.scheme == "http":  # on this machine alone: see the settings
                    credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]
                elif file is not None:
                    credentials = Credentials.from_service_account_file(str(file), scopes=_SCOPES)  # type: ignore[no-untyped-call]
                transport = SecretManagerServiceRestTransport(
                    host=place.netloc, url_scheme=place.scheme, credentials=credentials
                )
                self._made = SecretManagerServiceClient(transport=transport)
            return self._made
