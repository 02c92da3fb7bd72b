"""Grants as approved access requests leave them, without the asking: for tests of what such a grant means."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway.access.model import Grant
from gateway.access.requested import Backer, Command, Only, Operation
from gateway.access_mode import AccessMode
from gateway.ports import GrantEnding
from gateway.services.change import begin
from gateway.statements.asked import Derived, derive
from gateway.statements.policy import Policy
from tests.support.gateway import WHY, Person, RunningGateway


@dataclass(frozen=True)
class Asked:
    """What was given."""

    gateway: RunningGateway
    grant: Grant

    def end(self, reason: str) -> None:
        """Somebody takes it back and says why."""
        store = self.gateway.admin.store

        async def change() -> None:
            async with begin(store, **WHY) as work:
                work.carries_out(GrantEnding(self.grant.id, reason))
                work.takes_back(self.grant)
                work.note("access_request.revoked", "r", "request 17", {})
                await work.commit()

        self.gateway.admin.change(change())


def give(
    gateway: RunningGateway,
    person: Person,
    target: str,
    mode: AccessMode,
    *,
    only: Only | None = None,
    backers: Sequence[Backer] = (),
    database_role: str | None = None,
    valid_until: datetime | None = None,
) -> Asked:
    admin = gateway.admin
    snapshot = admin.read()
    grant = Grant(
        id=str(uuid.uuid4()),
        holder_id=snapshot.users[person.name].id,
        target_id=snapshot.targets[target].id,
        mode=mode,
        valid_until=valid_until,
        request_id=str(uuid.uuid4()),
        backers=tuple(backers),
        only=only,
        database_role=database_role,
    )

    async def change() -> None:
        async with begin(admin.store, **WHY) as work:
            work.carries_out(grant)
            work.note("access_request.approved", "r", "request 17", {})
            await work.commit()

    admin.change(change())
    return Asked(gateway, grant)


def needed(*texts: str, exact: bool = False) -> tuple[AccessMode, Only]:
    """As the service finds it for a target that lists nothing."""
    found = derive(texts, Policy, exact=exact)
    assert isinstance(found, Derived), found
    operations = frozenset(Operation(Command(each[0]), each[1], each[2]) for each in found.only.operations)
    return found.mode, Only(found.only.statements, operations)
