"""How somebody proves who they are, when not by their own password: a short-lived credential, or a client certificate. Pure.

Neither adds a right. A session that was opened with one may do what its person may, as far as the proof goes, for as long as both
are there; see `authorize`.
"""

from collections.abc import Set
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network
from typing import Final, TypeAlias

from gateway.access_mode import AccessMode

MARK: Final = "~"
"""Between a person's name and a credential's handle. No user's name has it, and no URI, shell word or .pgpass line escapes it."""

HANDLE_CHARACTERS: Final = 8


@dataclass(frozen=True, slots=True)
class Credential:
    """A login and a generated password of one person for one target. The login name is `<user>~<handle>`.

    `mode`: the widest access mode it opens. `valid_until`: for logins; `sessions_until`: when sessions that it opened end.
    `credential_version`: the user's when it was issued; another password of theirs ends it. `max_sessions`: at a time, over all
    workers. `network`: from where alone; None: from wherever the person may come.
    """

    id: str
    user_id: str
    target_id: str
    mode: AccessMode
    verifier: str = field(repr=False)
    created_at: datetime
    created_by: str
    valid_until: datetime
    sessions_until: datetime
    credential_version: int
    max_sessions: int
    network: IPv4Network | IPv6Network | None = None
    version: int = 0

    @property
    def handle(self) -> str:
        """What a snapshot knows it by."""
        return handle_of(self.id)


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """One that a CA of ours signed and whose key the client has. `names`: "cn:...", "dns:..." and "uri:...", as it bears them.

    `serial` in hexadecimal, `fingerprint`: SHA-256 of the whole certificate, in hexadecimal. `issuer`: the name of the CA, as DER.
    """

    names: frozenset[str]
    serial: str
    fingerprint: str
    valid_until: datetime
    issuer: bytes = b""


Proof: TypeAlias = Credential | ClientCertificate


def handle_of(credential_id: str) -> str:
    return credential_id[:HANDLE_CHARACTERS]


def login_name(user_name: str, credential: Credential) -> str:
    """What to log in as."""
    return f"{user_name}{MARK}{credential.handle}"


def split_login(name: str) -> tuple[str, str | None]:
    """The person's name and the credential's handle; None: they come with their own password or certificate."""
    user_name, mark, handle = name.rpartition(MARK)
    return (user_name, handle) if mark else (name, None)


def in_words(proof: Proof | None) -> str:
    """For listings of sessions: what somebody came with."""
    match proof:
        case None:
            return "password"
        case Credential():
            return f"credential {proof.id}"
        case ClientCertificate():
            return f"certificate {proof.serial}"


def bears_one_of(certificate: ClientCertificate, names: Set[str]) -> bool:
    """Whether the certificate was issued for one of these names, letter by letter."""
    return not certificate.names.isdisjoint(names)
