"""Whether those who approved a grant still may: a grant that is bound to its approvers lives as long as all of them do. Pure.

`authorize` asks this of each bound grant of each session at each change: everything is looked up, nothing is searched for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from gateway.access.requested import Backer

if TYPE_CHECKING:
    from gateway.access.model import Grant, Snapshot, User


@dataclass(frozen=True, slots=True)
class Backing:
    """`lost`: the name (the id, once the account is gone) of one who may not approve any more; "" while all may. `until`: when, by
    the clock alone, the first of them may not; None: never.
    """

    lost: str = ""
    until: datetime | None = None


_UNBOUND: Final = Backing()


def backing(snapshot: "Snapshot", grant: "Grant", now: datetime) -> Backing:
    """Of a grant that is bound to nobody: as if all were there for good."""
    return _of_all(snapshot, grant.backers, now) if grant.backers else _UNBOUND


def _of_all(snapshot: "Snapshot", backers: Sequence[Backer], now: datetime) -> Backing:
    until: datetime | None = None
    for backer in backers:
        user = snapshot.backers.get(backer.user_id)
        if user is None or not _may_approve(snapshot, user, backer, now):
            return Backing(backer.user_id if user is None else user.name)
        if user.valid_until is not None:
            until = user.valid_until if until is None else min(until, user.valid_until)
    return Backing(until=until)


def _may_approve(snapshot: "Snapshot", user: "User", backer: Backer, now: datetime) -> bool:
    over = user.valid_until is not None and now >= user.valid_until
    if not user.enabled or over or user.id in snapshot.held_back:
        return False
    as_one_of = backer.as_one_of
    if user.id in as_one_of or any(each in as_one_of for each in snapshot.memberships.get(user.id, ())):
        return True
    return any(role.id in as_one_of and user.id in role.members for role in snapshot.admin_roles.values())
