"""A target keeps its place as long as people have logins of their own there: nobody could find them to drop them. Pure."""

from collections.abc import Sequence

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


def _place(target: Target) -> tuple[str, int, str]:
    return target.host, target.port, target.dbname


def _logins_there(target: Target) -> ServiceError:
    return ServiceError(
        "managed-logins-there",
        f'people have database roles of their own on the server of target "{target.name}"',
        f"Have them dropped first: pgbastion targets managed {target.name} --mode off; then look whether any is left: "
        f"pgbastion targets managed-logins {target.name}",
    )
