"""Where a target is, what it permits, and which changes of that are refused. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding
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
        if "PRIVATE KEY" in place.ca_pem:  # what is here is shown, exported and backed up
            raise ServiceError(
                "ca-with-private-key", "there is a private key among the CA certificates", "Give the certificates alone."
            )
        try:
            load_pem_x509_certificates(place.ca_pem.encode("utf-8"))
        except ValueError:
            raise ServiceError(
                "ca-invalid", "the CA file holds no certificate", "Give a PEM file: -----BEGIN CERTIFICATE-----"
            ) from None


def check_logins_stay(target: Target, place: Place) -> None:
    """A sealed password is used only with the host that it was given for, and under no weaker protection than it was given for.

    Otherwise whoever may change a target could have the gateway log in to a server of their own, though nobody may read passwords:
    enough to guess it from the exchange, or to pass the exchange on to the real server. So whoever wants that has to know it.
    """
    before = place_of(target)
    if not target.roles:
        return
    modes = " and ".join(sorted(target.roles))
    if (place.host, place.port) != (before.host, before.port):
        raise ServiceError(
            "logins-would-move",
            f'target "{target.name}" has upstream logins, which would then be used with {place.host}:{place.port}',
            f"Give their passwords again in the same change ({modes}), or remove the logins first and set them afterwards.",
        )
    if weaker := _weaker(before, place):
        raise ServiceError(
            "logins-would-weaken",
            f'target "{target.name}" has upstream logins, which would then be less protected: {weaker}',
            f"Give their passwords again in the same change ({modes}), or remove the logins first and set them afterwards.",
        )


def _weaker(before: Place, after: Place) -> str:
    """What an impostor would gain; "" for nothing."""
    if _STRENGTH.index(after.tls) < _STRENGTH.index(before.tls):
        return f"TLS {after.tls} instead of {before.tls}"
    verified = before.tls in (TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL)
    if verified and not _authorities(after.ca_pem) <= _authorities(before.ca_pem):
        return "other certificate authorities would be trusted"
    if after.allow_md5 and not before.allow_md5:
        return "md5 password authentication"
    return ""


def _authorities(ca_pem: str | None) -> frozenset[bytes]:
    """Fewer of them are no weaker. The system's, which may be any, are like no others."""
    if ca_pem is None:
        return frozenset({b"the system's"})
    return frozenset(each.public_bytes(Encoding.DER) for each in load_pem_x509_certificates(ca_pem.encode("utf-8")))


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


_STRENGTH: Final = (TlsMode.DISABLE, TlsMode.REQUIRE, TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL)

_CHECKS: Final[Mapping[Permitted, Callable[[str], None]]] = {
    Permitted.FUNCTION: check_function,
    Permitted.SCHEMA: check_schema,
    Permitted.SETTING: check_setting,
}
