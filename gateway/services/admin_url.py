"""The URL of a shared tunnel, as it stands in a wiki or in forty shells: taken apart once. No error repeats any of it. Pure."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from gateway.access.model import Target, TlsMode
from gateway.secret import Secret
from gateway.services.errors import ServiceError
from gateway.services.naming import check_host, check_identifier, check_port

_HINT: Final = "As in postgresql://USER:PASSWORD@HOST:5432/DATABASE?sslmode=verify-full"
_MODES: Final = {each.value: each for each in TlsMode}
_UNRELIABLE: Final = frozenset({"", "allow", "prefer"})
_LONGEST: Final = 4096
_PORT: Final = 5432


@dataclass(frozen=True, slots=True)
class AdminUrl:
    """`tls`: None: it does not say, or nothing that can be relied on ("prefer")."""

    host: str
    port: int
    dbname: str
    login: str
    password: Secret
    tls: TlsMode | None

    def check_leads_to(self, target: Target) -> None:
        """A password is only tried where it was given for. Raises ServiceError."""
        if (self.host.lower(), self.port, self.dbname) != (target.host.lower(), target.port, target.dbname):
            raise ServiceError(
                "admin-url-elsewhere",
                f'the URL leads to {self.host}:{self.port}/{self.dbname}, but target "{target.name}" is '
                f"{target.host}:{target.port}/{target.dbname}",
                "Give a URL with the target's place, or another target's name.",
            )


def parse_admin_url(url: Secret) -> AdminUrl:
    """Raises ServiceError, whose text holds nothing of the URL but its host, port and names."""
    text = url.reveal().strip()
    try:
        if len(text) > _LONGEST or not text.isprintable():
            raise ValueError
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port or _PORT
    except ValueError:
        raise _invalid("it cannot be read") from None
    if parts.scheme not in ("postgresql", "postgres"):
        raise _invalid("it does not begin with postgresql://")
    if "," in parts.netloc.rpartition("@")[2]:
        raise _invalid("it names several servers")
    if parts.username is None or not parts.password:
        raise _invalid("it has no user or no password")
    login, password, dbname = unquote(parts.username), Secret(unquote(parts.password)), unquote(parts.path.removeprefix("/"))
    check_host(host)
    check_port(port)
    check_identifier("database role's name", login)
    check_identifier("database's name", dbname or login)
    mode = parse_qs(parts.query).get("sslmode", [""])[-1]
    if mode not in _MODES and mode not in _UNRELIABLE:
        raise _invalid("its sslmode is none that PostgreSQL knows")
    return AdminUrl(host, port, dbname or login, login, password, _MODES.get(mode))


def _invalid(what: str) -> ServiceError:
    return ServiceError("admin-url-invalid", f"this is no URL of a database: {what}", _HINT)
