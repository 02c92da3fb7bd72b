"""How people sign in to the admin API: the facts. Pure.

An account is not another kind of person: it belongs to a `User`, has that one's id, and adds no right. Logins to databases do not
ask for it, but for one thing: whether an identity provider, where a person is managed by one, still vouches for them.
"""

from dataclasses import dataclass, field
from enum import StrEnum

STEP_SECONDS = 30
"""Of a code from an authenticator (RFC 6238)."""


class Standing(StrEnum):
    """What the identity provider said of somebody last. UNVERIFIED: nothing, for too long."""

    GOOD = "good"
    UNVERIFIED = "unverified"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody at an identity provider: `subject` is theirs alone there, for ever; a name or an address is not."""

    issuer: str
    subject: str


@dataclass(frozen=True, slots=True)
class Account:
    """How one person signs in: with a password and, once they have one, an authenticator; through a provider; or both.

    `id` is the user's. `password_hash`: argon2id, in its own text form; None: only through the provider. `sealed_secret`: what
    the authenticator was given, sealed for this row; None: there is none. `last_step`: the newest step of `STEP_SECONDS` whose
    code was used, so that none is good twice. `recovery_hashes`: SHA-256, as hex, of the codes that are left.

    `managed`: access to databases ends, too, when the provider does not vouch for the person any more.
    """

    id: str
    password_hash: str | None = field(default=None, repr=False)
    sealed_secret: bytes | None = field(default=None, repr=False)
    last_step: int = 0
    recovery_hashes: frozenset[str] = field(default=frozenset(), repr=False)
    identity: Identity | None = None
    managed: bool = False
    standing: Standing = Standing.GOOD
    version: int = 0

    @property
    def is_held_back(self) -> bool:
        """Whether nothing is open to them until the provider vouches for them again."""
        return self.managed and self.standing is not Standing.GOOD


@dataclass(frozen=True, slots=True)
class ClaimMapping:
    """Whoever has `value` in the provider's group claim is a member of this group, or holds this admin role; who has not, is not.

    Exactly one of `group_id` and `role_id` is set.
    """

    id: str
    value: str
    group_id: str | None = None
    role_id: str | None = None
    version: int = 0
