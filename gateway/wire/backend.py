"""Messages that servers send: readers of the few that the gateway must understand, and builders of ours.

(Documentation: "Message Formats" and "Error and Notice Message Fields".)
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from gateway.wire.errors import ProtocolViolation
from gateway.wire.frontend import message


@dataclass(frozen=True, slots=True)
class ErrorFields:
    """An ErrorResponse or NoticeResponse of ours. `position` is a 1-based character index (0: none)."""

    severity: str
    sqlstate: str
    message: str
    detail: str = ""
    hint: str = ""
    position: int = 0


def build_error(fields: ErrorFields) -> bytes:
    return message(b"E", _fields(fields))


def build_notice(fields: ErrorFields) -> bytes:
    return message(b"N", _fields(fields))


def _fields(fields: ErrorFields) -> bytes:
    parts = [("S", fields.severity), ("V", fields.severity), ("C", fields.sqlstate), ("M", fields.message)]
    parts += [("D", fields.detail), ("H", fields.hint), ("P", str(fields.position) if fields.position else "")]
    text = b"".join(key.encode() + value.replace("\0", "").encode("utf-8", "replace") + b"\0" for key, value in parts if value)
    return text + b"\0"


def read_error(body: bytes) -> dict[str, str]:
    """Field type letter -> text. Raises ProtocolViolation when it is not well formed or has no code."""
    if not body.endswith(b"\0\0"):
        raise ProtocolViolation("malformed ErrorResponse from upstream")
    fields = {chr(part[0]): part[1:].decode("utf-8", "replace") for part in body[:-2].split(b"\0") if part}
    if len(fields.get("C", "")) != 5:
        raise ProtocolViolation("ErrorResponse without a code from upstream")
    return fields


def error_code(body: bytes) -> str:
    """Only the SQLSTATE, "" when there is none."""
    at = 0 if body.startswith(b"C") else body.find(b"\0C") + 1
    code = body[at + 1 : at + 6] if at or body.startswith(b"C") else b""
    return code.decode("ascii", "replace")


_REMEMBERED_BYTES = 256  # what is longer is read anew: a server's long texts do not stay in memory


def rows_of_tag(body: bytes) -> int | None:
    """The row count of a CommandComplete tag ("SELECT 5", "INSERT 0 5"), or None ("BEGIN")."""
    return _rows_of_tag(body) if len(body) <= _REMEMBERED_BYTES else None


@lru_cache(maxsize=1024)
def _rows_of_tag(body: bytes) -> int | None:
    number = body[body.rfind(b" ") + 1 : -1]
    return int(number) if number.isdigit() and len(number) <= 20 else None


def read_parameter_status(body: bytes) -> tuple[str, str]:
    """Name and value. Raises ProtocolViolation."""
    # Servers say the same to every session, but for its name: let all sessions keep the same strings.
    usual = len(body) <= _REMEMBERED_BYTES and not body.startswith(b"application_name\0")
    return _remembered_status(body) if usual else _read_status(body)


@lru_cache(1024)
def _remembered_status(body: bytes) -> tuple[str, str]:
    return _read_status(body)


def _read_status(body: bytes) -> tuple[str, str]:
    parts = body.split(b"\0")
    if len(parts) != 3:
        raise ProtocolViolation("malformed ParameterStatus from upstream")
    return parts[0].decode("utf-8", "replace"), parts[1].decode("utf-8", "replace")


def read_data_row(body: bytes) -> list[bytes | None]:
    """The values of a DataRow, None for NULL. Raises ProtocolViolation."""
    values: list[bytes | None] = []
    at = 2
    for _ in range(int.from_bytes(body[:2], "big")):
        size = int.from_bytes(body[at : at + 4], "big", signed=True)
        at += 4
        if at > len(body) or at + max(size, 0) > len(body):
            raise ProtocolViolation("malformed DataRow from upstream")
        values.append(None if size < 0 else body[at : at + size])
        at += max(size, 0)
    return values


def parameter_status(name: str, value: str) -> bytes:
    return message(b"S", name.encode() + b"\0" + value.encode() + b"\0")


def backend_key_data(process_id: int, key: bytes) -> bytes:
    return message(b"K", process_id.to_bytes(4, "big") + key)


def ready_for_query(status: bytes) -> bytes:
    return message(b"Z", status)


def negotiate_protocol_version(minor: int, unknown: Iterable[str]) -> bytes:
    """`minor`: the newest that we speak; the whole protocol number goes out, as PostgreSQL sends it."""
    names = [name.encode() + b"\0" for name in unknown]
    return message(b"v", (3 << 16 | minor).to_bytes(4, "big") + len(names).to_bytes(4, "big") + b"".join(names))


def authentication_sasl(mechanisms: Iterable[str]) -> bytes:
    return message(b"R", (10).to_bytes(4, "big") + b"".join(m.encode() + b"\0" for m in mechanisms) + b"\0")


def authentication_sasl_continue(data: bytes) -> bytes:
    return message(b"R", (11).to_bytes(4, "big") + data)


def authentication_sasl_final(data: bytes) -> bytes:
    return message(b"R", (12).to_bytes(4, "big") + data)


AUTHENTICATION_OK = message(b"R", bytes(4))
