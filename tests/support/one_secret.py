"""A dialer that logs in with one password, whatever the role."""

from gateway.access.model import DatabaseRole
from gateway.custody.sources import KeptSecrets
from gateway.proxy.upstream import UpstreamDialer
from gateway.secret import Secret


class _OneSecret:
    """Implements ports.Vault."""

    def __init__(self, secret: Secret) -> None:
        self._secret = secret

    def open(self, _role: DatabaseRole) -> Secret:
        return self._secret


def dialer_with(password: Secret) -> UpstreamDialer:
    return UpstreamDialer(KeptSecrets(_OneSecret(password)))
