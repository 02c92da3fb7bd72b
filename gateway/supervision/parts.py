"""What of the gateway runs here: all of it, or one part under a unit of its own."""

from enum import StrEnum


class Part(StrEnum):
    """`pgbastion serve --only ...`. Both parts share the state directory, and the gateway's bus."""

    GATEWAY = "gateway"
    API = "api"


class StartError(Exception):
    """The gateway cannot start; one line for the operator."""
