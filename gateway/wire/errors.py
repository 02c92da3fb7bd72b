"""What broken input raises. The `sqlstate` is what PostgreSQL itself answers to the same bytes."""


class WireError(Exception):
    """Root of this package's exceptions."""

    def __init__(self, message: str, sqlstate: str) -> None:
        super().__init__(message)
        self.message = message
        self.sqlstate = sqlstate


class ProtocolViolation(WireError):
    """The peer broke the protocol; a FATAL of this code says so before the connection closes."""

    def __init__(self, message: str, sqlstate: str = "08P01") -> None:
        super().__init__(message, sqlstate)


class BadMessage(WireError):
    """One message's body is malformed, but the stream is in step: an ERROR, and the session lives."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "08P01")


class SilentClose(WireError):
    """Input that PostgreSQL answers with nothing but a closed connection."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "08P01")
