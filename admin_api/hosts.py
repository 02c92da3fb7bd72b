"""Under which names the API answers in plain HTTP.

A page that somebody opens in a browser may name a host of its own and have that name lead to 127.0.0.1 (DNS rebinding); to the
browser they are then one origin, and the page could read what needs no token. What gives it away is the name in the request.
Addresses as such cannot be made to lead elsewhere. In TLS the certificate does this: it is not for that name.
"""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

from starlette.types import Scope

from gateway.settings import CurrentSettings, Settings

_LOOPBACK: Final = frozenset({"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"})


class Hosts:
    """The names of this machine to itself, and `admin_api.names`, as they are now."""

    def __init__(self, settings: CurrentSettings) -> None:
        self._take(settings.now)
        settings.subscribe(self._take)

    def __call__(self, scope: Scope) -> bool:
        """Whether a request is meant for us. One without a Host header comes from no browser."""
        if scope["scheme"] != "http":
            return True
        return all(self._is_ours(value.decode("latin-1")) for name, value in scope["headers"] if name == b"host")

    def _is_ours(self, host: str) -> bool:
        name = _without_port(host)
        return name in self._names or _is_address(name)

    def _take(self, settings: Settings) -> None:
        self._names = _LOOPBACK | lowered(settings.admin_api.names)


def lowered(names: Sequence[str]) -> frozenset[str]:
    return frozenset(name.lower().rstrip(".") for name in names)


def _without_port(host: str) -> str:
    """ "[::1]:6480" -> "::1". What is no host at all is in no list."""
    if host.startswith("["):
        name, _, rest = host[1:].partition("]")
        return name if rest == "" or rest.startswith(":") else ""
    return host.partition(":")[0].lower().removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
