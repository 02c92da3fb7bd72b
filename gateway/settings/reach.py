"""How people reach the gateway, as far as the settings say it."""

from ipaddress import ip_address

from gateway.settings.model import Settings


def public_host(settings: Settings) -> str:
    """By which name or address: what was said, else where it listens, else (if that is everywhere) what its certificate is for."""
    if settings.public.host:
        return settings.public.host
    try:
        everywhere = ip_address(settings.listen.host).is_unspecified
    except ValueError:
        everywhere = not settings.listen.host
    return settings.tls.names[0] if everywhere and settings.tls.names else settings.listen.host


def public_port(settings: Settings) -> int:
    return settings.public.port or settings.listen.port
