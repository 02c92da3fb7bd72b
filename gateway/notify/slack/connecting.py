"""How to use a right that was given, to copy and paste: a command of ours, and a connection string for any client. Pure."""

from pathlib import Path
from typing import Final

from gateway.access_mode import AccessMode
from gateway.connection_strings import Door, Trust, connection_strings
from gateway.notify.slack.facts import Shown
from gateway.notify.slack.personal import Connecting, HowTo
from gateway.settings import Settings
from gateway.settings.reach import public_host, public_port

_CA_FILE: Final = Path("pgbastion-ca.pem")
"""What the reader may call the gateway's own CA; `pgbastion connect` brings it along."""


def how_to(settings: Settings) -> HowTo:
    """No password in any of it."""
    trust = _trust(settings)

    def connecting(request: Shown) -> Connecting:
        if request.kind != "target":
            return Connecting("pgbastion connect TARGET")
        database = f"{request.place}:rw" if request.mode == AccessMode.READ_WRITE.value else request.place
        door = Door(public_host(settings), public_port(settings), request.holder, "", database, trust)
        (_, uri) = connection_strings(door, with_password=False)[1]
        return Connecting(f"pgbastion connect {database}", uri)

    return connecting


def _trust(settings: Settings) -> Path | Trust:
    if settings.tls.mode == "disable":
        return Trust.SAME_MACHINE
    return Trust.SYSTEM if settings.public.ca_file == "system" else _CA_FILE
