"""What `doctor` looks at of access requests: can anybody decide, is anybody told, was every emergency looked at."""

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from gateway.access.approvals import ApprovalPolicy
from gateway.access.electorate import people
from gateway.access.model import Snapshot
from gateway.cli.findings import Finding, ok, problem, warning

if TYPE_CHECKING:
    from gateway.access.request_record import AccessRequest
    from gateway.settings import Settings

_SHOWN = 5


async def unreviewed(settings: "Settings") -> "list[AccessRequest]":
    """Rights that were taken in an emergency and that nobody has looked at."""
    from gateway.ports import RequestFilter
    from gateway.store.sql_store import SqlStore

    return await SqlStore(settings).access_requests(RequestFilter(awaits_review=True))


def look_at_requests(snapshot: Snapshot, waiting: "list[AccessRequest]", now: datetime) -> Iterator[Finding]:
    """`waiting`: for a review."""
    for _, policy in sorted(snapshot.approval_policies.items()):
        yield from _policy(snapshot, policy, now)
    if waiting:
        numbers = ", ".join(str(each.number) for each in waiting[:_SHOWN]) + (", ..." if len(waiting) > _SHOWN else "")
        text = f"{len(waiting)} rights taken in an emergency were looked at by nobody: {numbers}"
        yield warning("emergencies", text, "pgbastion request list --to-review; pgbastion request review NUMBER")


def _policy(snapshot: Snapshot, policy: ApprovalPolicy, now: datetime) -> Iterator[Finding]:
    check = f"approval policy {policy.name}"
    found = []
    for number, step in enumerate(policy.steps, 1):
        able = people(snapshot, step.all, now)
        if len(able) < step.needed:
            text = f"step {number} needs {step.needed} of its approvers, and {len(able)} could decide"
            found.append(problem(check, text, f"pgbastion approvals show {policy.name}; nothing can be approved by it"))
        elif len(able) == step.needed:
            text = f"step {number} needs all of its {len(able)} approvers: nobody of them can have anything approved"
            found.append(warning(check, text, "Name more approvers: nobody decides about their own request."))
    if policy.break_glass is not None and not policy.announce:
        text = "a right can be taken in an emergency, and nobody is told but its approvers"
        found.append(warning(check, text, f"pgbastion approvals update {policy.name} --announce DESTINATION"))
    for destination in policy.announce:
        kind, _, name = destination.partition(":")
        if kind == "webhook" and name not in snapshot.webhooks:
            found.append(warning(check, f'there is no webhook "{name}"', "pgbastion webhooks list"))
    yield from found or [ok(check, f"{len(policy.steps)} steps, with approvers")]
