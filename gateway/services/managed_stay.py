"""What a target cannot be while people have logins of their own there. Pure.

It keeps its place: nobody could find them to drop them. And none of its sessions is opened ahead: nobody could know for whom.
"""

from collections.abc import Sequence

from gateway.access.managed import ManagedMode
from gateway.access.model import Snapshot, Target
from gateway.ports import ChangeableRow
from gateway.services.errors import ServiceError


def check_managed_stay(snapshot: Snapshot, puts: Sequence[ChangeableRow], removals: Sequence[ChangeableRow]) -> None:
    """Raises ServiceError when these rows take away the server on which managed logins are. `snapshot`: before them."""
    if not snapshot.managed_logins:
        return
    holding = {login.key.target_id for login in snapshot.managed_logins}
    known = {target.id: target for target in snapshot.targets.values() if target.id in holding}
    for row in removals:
        if isinstance(row, Target) and row.id in known:
            raise _logins_there(known[row.id])
    for row in puts:
        if isinstance(row, Target) and row.id in known and _place(row) != _place(known[row.id]):
            raise _logins_there(known[row.id])


def check_managed_waits(open_ahead: int, managed: ManagedMode) -> None:
    """Raises ServiceError for sessions that wait where each has a login of its person's own."""
    if open_ahead and managed is not ManagedMode.OFF:
        raise ServiceError(
            "managed-opened-ahead",
            "sessions cannot be opened ahead where people have database roles of their own: nobody knows yet for whom",
            "Choose one of the two: --open-ahead 0, or pgbastion targets managed NAME --mode off",
        )


def check_possible(target: Target) -> None:
    """Raises ServiceError where managed logins cannot go with what the target is. Pure."""
    if not target.roles:
        raise ServiceError(
            "managed-without-login",
            f"target \"{target.name}\" has no login yet: people's database roles are members of the target's own",
            f"pgbastion targets login {target.name} --mode read_only --login ROLE",
        )
    check_managed_waits(target.open_ahead, ManagedMode.PER_USER)


def _place(target: Target) -> tuple[str, int, str]:
    return target.host, target.port, target.dbname


def _logins_there(target: Target) -> ServiceError:
    return ServiceError(
        "managed-logins-there",
        f'people have database roles of their own on the server of target "{target.name}"',
        f"Have them dropped first: pgbastion targets managed {target.name} --mode off; then look whether any is left: "
        f"pgbastion targets managed-logins {target.name}",
    )
