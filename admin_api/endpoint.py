"""How people reach the gateway, as connection strings say it."""

from ipaddress import ip_address
from typing import Final

from admin_api.models.credentials import Endpoint
from gateway.services.errors import ServiceError
from gateway.settings import Settings

_HINT: Final = "Whoever runs the gateway can name the file in public.ca_file."


def endpoint_of(settings: Settings) -> Endpoint:
    """Raises ServiceError where nobody said how its certificate is verified, or the file that does cannot be read."""
    host, port = _host(settings), settings.public.port or settings.listen.port
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


def _host(settings: Settings) -> str:
    if settings.public.host:
        return settings.public.host
    try:
        everywhere = ip_address(settings.listen.host).is_unspecified
    except ValueError:
        everywhere = not settings.listen.host
    return settings.tls.names[0] if everywhere and settings.tls.names else settings.listen.host
