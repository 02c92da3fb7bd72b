"""Managed logins: a database role of a person's own upstream, made when they first come and dropped when their right ends. Pure.

What they are, and what they are called. By which right one is there: `managed_rights`.
"""

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Final

from gateway.access_mode import AccessMode

_NAME_BYTES: Final = 63  # PostgreSQL cuts names there
_PREFIX: Final = "pgb"
_HEX: Final = 6
_NOT_PLAIN: Final = re.compile(r"[^a-z0-9_]+")


class ManagedMode(StrEnum):
    """Whose database role a target's sessions use upstream. OFF: the target's own logins, and nothing is changed on the server."""

    OFF = "off"
    PER_USER = "per-user"
    PER_GRANT = "per-grant"


class ManagedState(StrEnum):
    """CREATING and DROPPING: the server may be ahead of the store, or behind. ACTIVE: the role is there, and its password is this.

    KEPT: the role can neither log in nor be dropped; `finding` says why.
    """

    CREATING = "creating"
    ACTIVE = "active"
    DROPPING = "dropping"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class ManagedKey:
    """Whose it is, and for what. There is at most one login of a key. `grant_id`: None where one stands for all grants."""

    target_id: str
    mode: AccessMode
    user_id: str
    grant_id: str | None = None


@dataclass(frozen=True, slots=True)
class ManagedLogin:
    """One login role. It outlives its account, its grant and their names: it is dropped because they are gone.

    `user_name` is as it was. `member_of`: the database role whose rights it has. `sealed_secret` is sealed like that of a
    DatabaseRole with this id. `valid_until`: as the server has it; None: infinity. `finding`: why the last attempt to make it as
    it should be failed, "" when it did not.
    """

    id: str
    key: ManagedKey
    user_name: str
    login: str
    member_of: str
    sealed_secret: bytes = field(repr=False)
    valid_until: datetime | None
    state: ManagedState
    created_at: datetime
    finding: str = ""
    version: int = 0


def login_name(gateway_id: str, key: ManagedKey, user_name: str, attempt: int = 0) -> str:
    """`pgb_<person>_<six hex digits>`: the same for the same key as long as the gateway lives, for rules that name it.

    Another account under an old name has another. `attempt`: another one, where that name is taken by somebody else.
    """
    facts = "\0".join((gateway_id, key.target_id, key.mode.value, key.user_id, key.grant_id or "", str(attempt)))
    plain = _NOT_PLAIN.sub("_", user_name.lower()).strip("_") or "user"
    room = _NAME_BYTES - len(_PREFIX) - _HEX - 2
    return f"{_PREFIX}_{plain[:room]}_{sha256(facts.encode()).hexdigest()[:_HEX]}"
