"""What of the gateway runs here: all of it, or one part under a unit of its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gateway.proxy.sockets import Doors


class Part(StrEnum):
    """`pgbastion serve --only ...`. Both parts share the state directory, and the gateway's bus."""

    GATEWAY = "gateway"
    API = "api"


class StartError(Exception):
    """The gateway cannot start; one line for the operator."""


@dataclass(frozen=True, slots=True)
class WorkerPart:
    """The gateway's own part. `command`: sockets, for each place among the workers -> argv."""

    doors: Doors
    command: Callable[[Sequence[Sequence[int]]], Sequence[str]]
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class ApiPart:
    """The admin API's. `command`: sockets -> argv."""

    doors: Doors
    command: Callable[[Sequence[int]], Sequence[str]]
    url: str
