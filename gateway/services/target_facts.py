"""Where a target is, what it permits, and which changes of that are refused. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from cryptography.x509 import load_pem_x509_certificates

from gateway.access.model import Target, TlsMode
from gateway.audit.admin_event import DetailValue
from gateway.services.errors import ServiceError
from gateway.services.naming import check_function, check_host, check_identifier, check_port, check_schema, check_setting


class Permitted(StrEnum):
    """What a target can permit beyond the policy's own lists."""

    FUNCTION = "function"
    SCHEMA = "schema"
    SETTING = "setting"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a target is and how it is reached. `ca_pem`: the CA certificates to trust; None: the system's."""

    host: str
    port: int
    dbname: str
    tls: TlsMode = TlsMode.VERIFY_FULL
    ca_pem: str | None = None
    allow_md5: bool = False


def place_of(target: Target) -> Place:
    return Place(target.host, target.port, target.dbname, target.tls, target.ca_pem, target.allow_md5)


def moved(target: Target, place: Place) -> Target:
    """The target at another place. It keeps its logins: `check_logins_stay` first."""
    return replace(
        target,
        host=place.host,
        port=place.port,
        dbname=place.dbname,
        tls=place.tls,
        ca_pem=place.ca_pem,
        allow_md5=place.allow_md5,
        revision=target.revision + 1,
    )


def check_place(place: Place) -> None:
    check_host(place.host)
    check_port(place.port)
    check_identifier("database's name", place.dbname)
    if place.ca_pem is not None:
        try:
            load_pem_x509_certificates(place.ca_pem.encode("utf-8"))
        except ValueError:
            raise ServiceError(
                "ca-invalid", "the CA file holds no certificate", "Give a PEM file: -----BEGIN CERTIFICATE-----"
            ) from None


def check_logins_stay(target: Target, place: Place) -> None:
    """Sealed passwords are used only with the host that they were given for.

    Otherwise whoever may move a target could have the gateway log in to a server of their own, though nobody may read a password:
    enough to guess it from the exchange, or to pass the exchange on to the real server.
    """
    if target.roles and (place.host, place.port) != (target.host, target.port):
        raise ServiceError(
            "logins-would-move",
            f'target "{target.name}" has upstream logins, which would then be used with {place.host}:{place.port}',
            "Remove its logins first and set them again afterwards; or, if they are meant for the new host too, keep them "
            "(--keep-logins).",
        )


def place_detail(place: Place) -> dict[str, DetailValue]:
    """Weaker TLS and md5 stand in the audit like everything else about the place."""
    return {
        "host": place.host,
        "port": place.port,
        "dbname": place.dbname,
        "tls": place.tls.value,
        "own_ca": place.ca_pem is not None,
        "allow_md5": place.allow_md5,
    }


def check_permitted(kind: Permitted, item: str) -> None:
    _CHECKS[kind](item)


def permitted(target: Target, kind: Permitted) -> frozenset[str]:
    match kind:
        case Permitted.FUNCTION:
            return target.allowed_functions
        case Permitted.SCHEMA:
            return target.allowed_schemas
        case Permitted.SETTING:
            return target.allowed_settings


def with_permitted(target: Target, kind: Permitted, items: frozenset[str]) -> Target:
    revision = target.revision + 1
    match kind:
        case Permitted.FUNCTION:
            return replace(target, allowed_functions=items, revision=revision)
        case Permitted.SCHEMA:
            return replace(target, allowed_schemas=items, revision=revision)
        case Permitted.SETTING:
            return replace(target, allowed_settings=items, revision=revision)


_CHECKS: Final[Mapping[Permitted, Callable[[str], None]]] = {
    Permitted.FUNCTION: check_function,
    Permitted.SCHEMA: check_schema,
    Permitted.SETTING: check_setting,
}
