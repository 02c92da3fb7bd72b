"""Why a session's right is over, as the person who had it is told. Pure."""

from datetime import datetime

from gateway.access.backing import backing
from gateway.access.holding import held_grants
from gateway.access.model import Lease, Snapshot
from gateway.access.validity import has_ended


def why_ended(snapshot: Snapshot, lease: Lease, now: datetime) -> str:
    """Of the grant that the lease stands on: what whoever ended it wrote down, or what the clock and its approvers made of it.

    "": nothing is known but that it is gone.
    """
    written = snapshot.endings.get(lease.grant_id)
    if written is not None:
        return written
    if lease.request is None:
        return ""
    name = f"request {lease.request}" if lease.request else "request"
    held = held_grants(snapshot, lease.user, lease.target)
    grant = next((each for each in held if each.id == lease.grant_id), None)
    if grant is None:
        return f"{name} has expired" if lease.valid_until is not None and now >= lease.valid_until else ""
    if has_ended(grant, now):
        return f"{name} has expired"
    lost = backing(snapshot, grant, now).lost
    return f"{name} has ended: {lost}, who approved it, may not approve any more" if lost else ""
