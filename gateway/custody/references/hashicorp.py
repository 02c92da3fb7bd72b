"""HashiCorp Vault and OpenBao, by hvac: key-value secrets of version 1 or 2, behind a token, an AppRole or a service account."""

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.custody.references.provider import Wanted, field_of, unavailable
from gateway.secret import Secret
from gateway.settings.secrets import Vault

if TYPE_CHECKING:
    import hvac

_FIELD: Final = "password"
_LEASE_SHARE: Final = 0.8  # of its life that a token is used for
_LONGEST_SECONDS: Final = 3600.0


class HashicorpVault:
    """Implements Provider. A token of one's own is read from its file each time; one that was given is used while it lives."""

    def __init__(self, settings: Vault) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._token: Secret | None = None
        self._until = 0.0

    def fetch(self, wanted: Wanted) -> Secret:
        """See Provider."""
        import requests
        from hvac import exceptions

        try:
            try:
                return self._read(wanted, renew=False)
            except (exceptions.Forbidden, exceptions.Unauthorized):
                if self._settings.auth == "token":
                    raise
                return self._read(wanted, renew=True)  # the token may have been revoked
        except (exceptions.Forbidden, exceptions.Unauthorized):
            raise unavailable(wanted, "Vault does not let us read it: check the token and its policy") from None
        except exceptions.InvalidPath:
            raise unavailable(wanted, "there is nothing at this path in Vault, or it was deleted") from None
        except exceptions.VaultDown:
            raise unavailable(wanted, "Vault is sealed, or in standby") from None
        except exceptions.VaultError as error:
            raise unavailable(wanted, f"Vault refuses ({type(error).__name__})") from None
        except requests.exceptions.SSLError:
            raise unavailable(wanted, "Vault's certificate does not verify: see vault.ca_file") from None
        except requests.exceptions.Timeout:
            raise unavailable(wanted, "Vault does not answer in time") from None
        except requests.exceptions.RequestException:
            raise unavailable(wanted, "Vault cannot be reached") from None
        except (KeyError, TypeError, ValueError):
            raise unavailable(wanted, "what answers is not an active Vault: see vault.address") from None

    def _read(self, wanted: Wanted, *, renew: bool) -> Secret:
        mount, _, path = wanted.reference.place.partition("/")
        client = self._client(wanted, renew=renew)
        if mount in self._settings.kv1_mounts:
            found: object = client.secrets.kv.v1.read_secret(path=path, mount_point=mount)["data"]
        else:
            kv2 = client.secrets.kv.v2
            found = kv2.read_secret_version(path=path, mount_point=mount, raise_on_deleted_version=True)["data"]["data"]
        return field_of(wanted, found, wanted.reference.field or _FIELD)

    def _client(self, wanted: Wanted, *, renew: bool) -> "hvac.Client":
        import hvac

        settings = self._settings
        client = hvac.Client(
            url=settings.address,
            namespace=settings.namespace or None,
            verify=str(settings.ca_file) if settings.ca_file is not None else True,
            timeout=wanted.deadline_seconds,
            allow_redirects=False,  # the token would go along
            token="",  # not that of the environment, or of somebody's home directory
        )
        if settings.auth == "token":
            client.token = _content(wanted, settings.token_file)
            return client
        with self._lock:
            if renew or self._token is None or time.monotonic() >= self._until:
                self._log_in(wanted, client)
            client.token = "" if self._token is None else self._token.reveal()
        return client

    def _log_in(self, wanted: Wanted, client: "hvac.Client") -> None:
        settings = self._settings
        if settings.auth == "approle":
            answer = client.auth.approle.login(
                role_id=settings.role_id,
                secret_id=_content(wanted, settings.secret_id_file),
                use_token=False,
                mount_point=settings.auth_mount or "approle",
            )
        else:
            answer = client.auth.kubernetes.login(
                role=settings.kubernetes_role,
                jwt=_content(wanted, settings.jwt_file),
                use_token=False,
                mount_point=settings.auth_mount or "kubernetes",
            )
        self._token = Secret(answer["auth"]["client_token"])
        lease = float(answer["auth"]["lease_duration"]) or _LONGEST_SECONDS
        self._until = time.monotonic() + min(lease * _LEASE_SHARE, _LONGEST_SECONDS)


def _content(wanted: Wanted, file: Path | None) -> str:
    """Of a file with what proves who we are."""
    if file is None:
        raise unavailable(wanted, "the settings of section vault are not complete")
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise unavailable(wanted, f"{file}, with which we prove to Vault who we are, cannot be read") from None
