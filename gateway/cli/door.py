"""A short-lived credential as it was issued, and how to connect with it: for `credentials issue`, `connect` and `tunnel`."""

import hashlib
import os
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from gateway.access.authorize import parse_database_name
from gateway.access_mode import AccessMode
from gateway.cli import names
from gateway.cli.client import Api, path, record
from gateway.cli.errors import CommandError
from gateway.cli.options import check_expiry, expiry, parse_mode
from gateway.cli.output import JsonValue, Record
from gateway.connection_strings import Door, Trust

Target = Annotated[
    str, typer.Argument(help="The target's name; shop:rw to write.", show_default=False, autocompletion=names.targets)
]
Mode = Annotated[
    AccessMode | None,
    typer.Option(
        "--mode", metavar="MODE", parser=parse_mode, help="read_only or read_write (ro, rw).", show_default="read_only"
    ),
]
Lifetime = Annotated[
    str | None,
    typer.Option(
        "--for",
        metavar="HOW LONG",
        parser=check_expiry,
        help="How long it lives: a duration (30m, 8h) or until an instant.",
        show_default="1h, unless the gateway's settings say otherwise",
    ),
]
Address = Annotated[
    str | None,
    typer.Option("--address", metavar="NETWORK", help="Only from this address or network.", show_default="wherever you may"),
]
ForUser = Annotated[
    str | None,
    typer.Option("--user", help="For somebody else: owners may.", show_default="who is signed in", autocompletion=names.users),
]


@dataclass(frozen=True, slots=True)
class Wish:
    """What to issue. `target` as it was typed, "shop:rw" included."""

    target: str
    mode: AccessMode | None = None
    lifetime: str | None = None
    address: str | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """`record`: the whole answer. `ca_pem`: what verifies the gateway; None with the system's CAs, or without TLS."""

    id: str
    door: Door
    ca_pem: str | None
    valid_until: datetime
    record: Record


def issue(api: Api, wish: Wish, *, reason: str) -> Issued:
    """Raises CommandError, also where the answer that held the password was lost on the way."""
    target, asked = parse_database_name(wish.target)
    body: dict[str, JsonValue] = {"target": target, "mode": (wish.mode or asked).value, "user": wish.user}
    if (until := expiry(wish.lifetime)) is not None:
        body["seconds"] = max(1, round((until - datetime.now(until.tzinfo)).total_seconds()))
    elif wish.lifetime is not None:
        raise typer.BadParameter("a short-lived credential has to expire")
    body["network"] = wish.address
    made = api.post(path("credentials"), body, reason=reason)
    if made.get("password") is None:
        hint = f"Try again, and revoke this one: pgbastion credentials revoke {made.get('login')}"
        raise CommandError("the credential was issued, but its password was lost with the answer", hint)
    gateway = record(made.get("gateway"))
    ca_pem = str(gateway["ca_pem"]) if gateway.get("ca_pem") is not None else None
    door = Door(
        host=str(gateway.get("host")),
        port=int(str(gateway.get("port"))),
        user=str(made.get("login")),
        password=str(made.get("password")),
        target=str(made.get("database")),
        trust=trust_in(str(gateway.get("tls")), ca_pem),
    )
    return Issued(str(made.get("id")), door, ca_pem, datetime.fromisoformat(str(made.get("valid_until"))), made)


def revoke(api: Api, issued: Issued, *, reason: str) -> None:
    api.delete(path("credentials", issued.id), reason=reason)


def trust_in(tls: str, ca_pem: str | None) -> Path | Trust:
    """How the gateway's certificate is verified, as the API says it. Its CA is kept in a file."""
    match tls:
        case "system":
            return Trust.SYSTEM
        case "none":
            return Trust.SAME_MACHINE
        case "ca" if ca_pem is not None:
            return keep_ca(ca_pem)
        case _:
            raise CommandError("the answer is not what this version of pgbastion understands")


_NAME_CHARACTERS: Final = 16


def keep_ca(pem: str) -> Path:
    """A file that connection strings can name for as long as they are of use: by its content, so that it is never another one."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    folder = (Path(base) if base.startswith("/") else Path.home() / ".cache") / "pgbastion"
    content = pem.encode()
    file = folder / f"ca-{hashlib.sha256(content).hexdigest()[:_NAME_CHARACTERS]}.pem"
    try:
        if file.is_file() and file.read_bytes() == content:
            return file
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
        temporary.write_bytes(content)
        temporary.replace(file)
    except OSError as error:
        raise CommandError(f"the gateway's CA cannot be kept in {folder}: {error.strerror}") from error
    return file
