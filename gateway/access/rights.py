"""By which right somebody may use a target: the grant that counts, and what counts with it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway.access.denials import mode_not_granted, no_such_target, not_open, user_only_reads
from gateway.access.holding import held_grants, is_usable
from gateway.access.managed import ManagedMode
from gateway.access.model import Denial, Grant, Snapshot, Target, User
from gateway.access.requested import Only
from gateway.access.selection import Weighed, includes, together, weigh, widest
from gateway.access_mode import AccessMode


@dataclass(frozen=True, slots=True)
class Which:
    """Which grants are asked about: this one alone, those without a database role, those whose statements keep their meaning
    whatever the session has set before (not `steady`), or all.
    """

    only: str | None = None
    database_roles: bool = True
    steady: bool = True

    def takes(self, grant: Grant) -> bool:
        if not self.steady and grant.only is not None and is_steady(grant.only, grant.mode):
            return False
        return self.only in (None, grant.id) and (self.database_roles or grant.database_role is None)


ANY: Final = Which()


def is_steady(only: Only, mode: AccessMode) -> bool:
    """Whether its sessions can set nothing that gives a statement another meaning."""
    return bool(only.statements) or mode is AccessMode.READ_WRITE


@dataclass(frozen=True, slots=True)
class Right:
    """The grant that counts now, and all that count with it. `coming`: when another one that could count begins."""

    target: Target
    chosen: Weighed
    counts: Sequence[Weighed]
    coming: datetime | None


def counting(target: Target, live: Sequence[Weighed], chosen: Weighed) -> list[Weighed]:
    """All that count when this one was chosen. Where each grant has a database role of its own: it alone."""
    return [chosen] if target.managed is ManagedMode.PER_GRANT else together(live, chosen)


def right_to(
    snapshot: Snapshot, user: User, target_name: str, mode: AccessMode, now: datetime, which: Which = ANY
) -> Right | Denial:
    target = snapshot.targets.get(target_name)
    held = [] if target is None else weigh(snapshot, _usable(held_grants(snapshot, user, target), target), now)
    if target is None or not any(each.is_live or each.comes is not None for each in held):
        return no_such_target(snapshot, target_name, user, now)
    if user.read_only and mode is AccessMode.READ_WRITE:
        return user_only_reads(user, target)
    fitting = [each for each in held if includes(each.grant.mode, mode) and which.takes(each.grant)]
    live = [each for each in fitting if each.is_live]
    chosen = widest(live, mode)
    coming = earliest(*(each.comes for each in fitting))
    if chosen is None:
        return mode_not_granted(snapshot, target) if coming is None else not_open(target, fitting, coming)
    return Right(target, chosen, counting(target, live, chosen), coming)


def _usable(held: list[Grant], target: Target) -> list[Grant]:
    return [grant for grant in held if is_usable(grant, target)]


def earliest(*ends: datetime | None) -> datetime | None:
    return min((end for end in ends if end is not None), default=None)
