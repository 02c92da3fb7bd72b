"""What of the gateway runs here: all of it, or one part under a unit of its own."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gateway.proxy.sockets import Doors
from gateway.settings import Settings


class Part(StrEnum):
    """`pgbastion serve --only ...`. All parts share the state directory, and the gateway's bus."""

    GATEWAY = "gateway"
    API = "api"
    COURIER = "courier"


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


@dataclass(frozen=True, slots=True)
class CourierPart:
    """What delivers messages. `command`: argv. `wanted`: whether there is anything for it to do; raises StoreError."""

    command: Callable[[], Sequence[str]]
    wanted: Callable[[Settings], Awaitable[bool]]
