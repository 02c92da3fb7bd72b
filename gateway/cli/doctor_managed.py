"""What `doctor` says of database roles of people's own: which could not be made as they should be, or not be dropped."""

from collections.abc import Iterator
from datetime import datetime

from gateway.access.managed import ManagedLogin, ManagedMode, ManagedState
from gateway.access.managed_rights import Rights
from gateway.access.model import Snapshot, Target
from gateway.cli.findings import Finding, ok, warning

_MOST_NAMED = 5


def look_at_managed(snapshot: Snapshot, now: datetime) -> Iterator[Finding]:
    """Nothing, where no target has any."""
    rights = Rights(snapshot)
    for _, target in sorted(snapshot.targets.items()):
        mine = [login for login in snapshot.managed_logins if login.key.target_id == target.id]
        if target.managed is not ManagedMode.OFF or mine:
            yield _of(target, mine, [login for login in mine if _is_amiss(login, rights, now)])


def _is_amiss(login: ManagedLogin, rights: Rights, now: datetime) -> bool:
    return bool(login.finding) or login.state is ManagedState.KEPT or rights.still(login, now) is None


def _of(target: Target, mine: list[ManagedLogin], amiss: list[ManagedLogin]) -> Finding:
    check = f"managed logins of {target.name}"
    if not amiss:
        return ok(check, f"{target.managed.value}, {len(mine)} on the server")
    told = [
        f'"{each.login}" is {each.state.value}{f": {each.finding}" if each.finding else ""}' for each in amiss[:_MOST_NAMED]
    ]
    more = [f"and {len(amiss) - _MOST_NAMED} more"] if len(amiss) > _MOST_NAMED else []
    return warning(check, "; ".join([*told, *more]), f"It is tried again by itself; now: pgbastion targets clean {target.name}")
