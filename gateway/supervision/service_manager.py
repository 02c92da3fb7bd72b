"""What systemd (Type=notify) is told: sd_notify(3), which is one datagram. Nothing happens where nobody asked for it."""

import contextlib
import os
import socket
import time
from typing import Final

_VARIABLE: Final = "NOTIFY_SOCKET"


class ServiceManager:
    """Takes the socket's name out of the environment, so that children do not speak for us."""

    def __init__(self) -> None:
        self._address = os.environ.pop(_VARIABLE, "")

    def ready(self) -> None:
        self._tell("READY=1")

    def reloading(self) -> None:
        """Followed by `ready` when it is done."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, seconds: float) -> None:
        """It may take so long: a longer drain than the unit's TimeoutStopSec is not cut short."""
        self._tell("STOPPING=1")
        self._tell(f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._tell(f"STATUS={text}")

    def _tell(self, state: str) -> None:
        if not self._address.startswith(("/", "@")):
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(state.encode(), address)
