"""Model values for tests: one small world that each test changes where it matters."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

from gateway.access.model import AllowlistEntry, DatabaseRole, Grant, Group, ListMode, Snapshot, Target, TlsMode, User
from gateway.access_mode import AccessMode

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SOON = NOW + timedelta(hours=1)
LATER = NOW + timedelta(hours=2)
PAST = NOW - timedelta(seconds=1)

ALICE = User("u-alice", "alice", "verifier", True, None, ListMode.INHERIT, 1)
SALES = Target(
    id="t-sales",
    name="sales",
    host="db.example",
    port=5432,
    dbname="prod",
    tls=TlsMode.VERIFY_FULL,
    ca_pem=None,
    allow_md5=False,
    enabled=True,
    allowlist=ListMode.INHERIT,
    roles={
        AccessMode.READ_ONLY: DatabaseRole("r-ro", "app_ro", b"sealed"),
        AccessMode.READ_WRITE: DatabaseRole("r-rw", "app_rw", b"sealed"),
    },
)
GRANT = Grant("g-1", ALICE.id, SALES.id, AccessMode.READ_ONLY, None)


def entry(network: str, valid_until: datetime | None = None) -> AllowlistEntry:
    return AllowlistEntry(f"e-{network}", ip_network(network), "", valid_until)


def world(
    *,
    user: User = ALICE,
    target: Target = SALES,
    grants: tuple[Grant, ...] = (GRANT,),
    everywhere: tuple[AllowlistEntry, ...] = (entry("10.0.0.0/8"),),
    of_user: tuple[AllowlistEntry, ...] = (),
    of_target: tuple[AllowlistEntry, ...] = (),
    terminated: dict[str, str] | None = None,
    groups: tuple[Group, ...] = (),
    lockdown: str | None = None,
) -> Snapshot:
    """alice may read sales, from 10.0.0.0/8. There is a second target, payroll, that she has no grant for."""
    payroll = replace(SALES, id="t-payroll", name="payroll")
    holders = {grant.holder_id for grant in grants}
    return Snapshot(
        revision=7,
        users={user.name: user},
        targets={target.name: target, payroll.name: payroll},
        grants={holder: tuple(grant for grant in grants if grant.holder_id == holder) for holder in holders},
        global_entries=everywhere,
        target_entries={target.id: of_target},
        user_entries={user.id: of_user},
        terminated=terminated or {},
        groups={group.name: group for group in groups},
        lockdown=lockdown,
    )
