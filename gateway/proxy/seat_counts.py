"""By whom a session's place is counted, and what is said to who finds one of those counts full."""

from functools import lru_cache
from typing import TypeAlias

from gateway.access.model import Lease
from gateway.access.proof import Credential
from gateway.bus.lines import JsonValue
from gateway.bus.reservations import Limited
from gateway.session.effects import fatal
from gateway.wire import sqlstate
from gateway.wire.backend import ErrorFields

Shares: TypeAlias = tuple[tuple[str, int], ...]  # see Reservation
Whose: TypeAlias = tuple[str, str, Shares]  # ids of the user and the target


def whose_of(lease: Lease) -> Whose:
    credential = lease.proof if isinstance(lease.proof, Credential) else None
    most = 0 if credential is None else credential.max_sessions
    return _counted_for(
        lease.user.id,
        lease.target.id,
        lease.grant_id,
        lease.limits.max_sessions or 0,
        None if credential is None else credential.id,
        most,
    )


@lru_cache(1024)
def _counted_for(user: str, target: str, grant: str, most: int, credential: str | None, most_of_credential: int) -> Whose:
    """With what has a limit of its own besides the gateway, the person and the target. The same object for all alike."""
    # Counted without a limit too: one may be set while its sessions are there.
    shares: Shares = ((f"{Limited.GRANT.value}:{grant}:{user}", most),)
    if credential is not None:
        shares += ((f"{Limited.CREDENTIAL.value}:{credential}", most_of_credential),)
    return user, target, shares


def refused_by(limited: Limited, ceiling: JsonValue, there: JsonValue, lease: Lease) -> ErrorFields:
    """Which limit it is, and who can raise it."""
    match limited:
        case Limited.GATEWAY:
            text = f"too many sessions: the gateway admits {ceiling} at a time"
            hint = "Try again later; whoever runs the gateway can raise limits.max_sessions."
        case Limited.USER:
            text = f'too many sessions of user "{lease.user.name}": {ceiling} at a time are admitted'
            hint = "Close one of them; whoever runs the gateway can raise limits.max_sessions_per_user."
        case Limited.TARGET:
            text = f'too many sessions on target "{lease.target.name}": {ceiling} at a time are admitted'
            hint = "Try again later; an administrator can raise this target's limit."
        case Limited.CREDENTIAL:
            text = f"too many sessions with this short-lived credential: {ceiling} at a time are admitted"
            hint = "Close one of them, or issue another credential: pgbastion credentials issue TARGET"
        case Limited.GRANT:
            text = f'too many sessions on your grant for "{lease.target.name}": it admits {ceiling} at a time, {there} are open'
            hint = f"Close one of them; an administrator can raise the limit of grant {lease.grant_id}."
    return fatal(sqlstate.TOO_MANY_CONNECTIONS, text, hint, f"pgbastion rule: too-many-sessions-{limited.value}")
