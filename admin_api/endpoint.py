"""How people reach the gateway, as connection strings say it."""

from typing import Final

from admin_api.models.credentials import Endpoint
from gateway.services.errors import ServiceError
from gateway.settings import Settings
from gateway.settings.reach import public_host, public_port

_HINT: Final = "Whoever runs the gateway can name the file in public.ca_file."


def endpoint_of(settings: Settings) -> Endpoint:
    """Raises ServiceError where nobody said how its certificate is verified, or the file that does cannot be read."""
    host, port = public_host(settings), public_port(settings)
    if settings.tls.mode == "disable":
        return Endpoint(host=host, port=port, tls="none", ca_pem=None)
    if settings.public.ca_file == "system":
        return Endpoint(host=host, port=port, tls="system", ca_pem=None)
    file = settings.public.ca_file or (None if settings.tls.cert_file is not None else settings.tls_dir / "ca.pem")
    if file is None:
        raise ServiceError("gateway-ca-unset", "it is not set how clients verify the gateway's certificate", _HINT)
    try:
        return Endpoint(host=host, port=port, tls="ca", ca_pem=file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        raise ServiceError("gateway-ca-unreadable", "the gateway's CA file cannot be read", _HINT) from None
