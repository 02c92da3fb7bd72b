"""How to connect: the same facts in the words of each client. Pure."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode


@dataclass(frozen=True, slots=True)
class Door:
    """Where the gateway listens, who comes, and what is behind. `ca_file` verifies the gateway's certificate."""

    host: str
    port: int
    user: str
    password: str
    target: str
    ca_file: Path


def connection_strings(door: Door) -> Sequence[tuple[str, str]]:
    """(client, text to copy) pairs, each complete and verifying the certificate."""
    tls = {"sslmode": "verify-full", "sslrootcert": str(door.ca_file)}
    place = f"{door.host}:{door.port}/{quote(door.target, safe='')}"
    login = f"{quote(door.user, safe='')}:{quote(door.password, safe='')}@{place}?{urlencode(tls, quote_via=quote)}"
    words = f"host={door.host} port={door.port} dbname={door.target} user={door.user} " + " ".join(
        f"{name}={_word(value)}" for name, value in tls.items()
    )
    jdbc = urlencode({"user": door.user, "password": door.password, **tls}, quote_via=quote)
    return (
        ("psql (asks for the password, or takes it from the .pgpass line below)", f"psql {shlex.quote(words)}"),
        ("URI (psql, libpq, asyncpg, node-postgres, ...)", f"postgresql://{login}"),
        ("JDBC (DBeaver, DataGrip, Metabase, ...)", f"jdbc:postgresql://{place}?{jdbc}"),
        ("SQLAlchemy", f"postgresql+psycopg://{login}"),
        ("~/.pgpass (chmod 600)", ":".join(map(_pgpass, (door.host, str(door.port), door.target, door.user, door.password)))),
    )


def _word(value: str) -> str:
    """A libpq keyword's value, quoted when it has to be."""
    if value and not set(value) & set(" '\\"):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _pgpass(value: str) -> str:
    return value.replace("\\", "\\\\").replace(":", "\\:")
