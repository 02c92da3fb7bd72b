"""How to connect: the same facts in the words of each client. Pure."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode


class Trust(Enum):
    """How a client knows that it speaks to the gateway, where that is not by a CA file."""

    SYSTEM = "the CAs that the system knows"
    SAME_MACHINE = "no TLS: it is a port of this machine, such as a tunnel's"


_SYSTEM: Final = {"sslmode": "verify-full", "sslrootcert": "system"}
_JAVA_SYSTEM: Final = {"sslmode": "verify-full", "sslfactory": "org.postgresql.ssl.DefaultJavaSSLFactory"}


@dataclass(frozen=True, slots=True)
class Door:
    """Where the gateway listens, who comes, and what is behind. `trust`: the CA that verifies its certificate, or why none."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    target: str
    trust: Path | Trust

    @property
    def tls(self) -> Mapping[str, str]:
        """libpq's parameters."""
        match self.trust:
            case Trust.SYSTEM:
                return _SYSTEM
            case Trust.SAME_MACHINE:
                return {"sslmode": "disable"}
            case ca_file:
                return {"sslmode": "verify-full", "sslrootcert": str(ca_file)}


def connection_strings(door: Door, *, with_password: bool = True) -> Sequence[tuple[str, str]]:
    """(client, text to copy) pairs, each complete and verifying the certificate.

    Without the password, the last one alone has it: the others find it there, ask for it, or have a field for it.
    """
    secret = f":{quote(door.password, safe='')}" if with_password else ""
    host = f"[{door.host}]" if ":" in door.host else door.host
    # The colon of "shop:rw" stays as it is: not every client decodes it there.
    place = f"{host}:{door.port}/{quote(door.target, safe=':')}"
    login = f"{quote(door.user, safe='')}{secret}@{place}?{urlencode(door.tls, quote_via=quote)}"
    words = " ".join(
        f"{name}={_word(value)}"
        for name, value in (
            ("host", door.host),
            ("port", str(door.port)),
            ("dbname", door.target),
            ("user", door.user),
            *door.tls.items(),
        )
    )
    who = {"user": door.user, **({"password": door.password} if with_password else {})}
    jdbc = urlencode({**who, **(_JAVA_SYSTEM if door.trust is Trust.SYSTEM else door.tls)}, quote_via=quote)
    fields = map(_pgpass, (door.host, str(door.port), door.target, door.user, door.password))
    return (
        ("psql (asks for the password, or takes it from the .pgpass line below)", f"psql {shlex.quote(words)}"),
        ("URI (psql, libpq, asyncpg, node-postgres, ...)", f"postgresql://{login}"),
        ("JDBC (DBeaver, DataGrip, Metabase, ...)", f"jdbc:postgresql://{place}?{jdbc}"),
        ("SQLAlchemy", f"postgresql+psycopg://{login}"),
        ("~/.pgpass (chmod 600)", ":".join(fields)),
    )


def _word(value: str) -> str:
    """A libpq keyword's value, quoted when it has to be."""
    if value and not set(value) & set(" '\\"):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _pgpass(value: str) -> str:
    return value.replace("\\", "\\\\").replace(":", "\\:")
