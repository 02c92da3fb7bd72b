"""A store in memory with one admin for each permission, and what anybody may be asked about.

In environment `here` (and in the empty `hollow`) the admin `may_deploy` holds Deployment and nothing else, and so on;
`may_elsewhere` is Environment Admin in `there`, `may_nothing` has no role, `boss` is an owner.
"""

import csv
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from ipaddress import ip_network
from typing import Any, Final

from gateway.access import requests
from gateway.access.accounts import Account, ClaimMapping
from gateway.access.approvals import ApprovalPolicy, Electors, Person, Step
from gateway.access.asking import ModeWanted, Wanted
from gateway.access.model import (
    OWNERS,
    AdminRole,
    AllowlistEntry,
    ApiToken,
    DatabaseRole,
    Environment,
    Grant,
    Group,
    ListMode,
    Permission,
    Snapshot,
    Target,
    TlsMode,
    TokenScope,
    User,
)
from gateway.access.proof import Credential
from gateway.access.request_record import AccessRequest, Names
from gateway.access.requests import Asking
from gateway.access.verifiers import make_verifier
from gateway.access.webhooks import Webhook
from gateway.access_mode import AccessMode
from gateway.audit.admin_event import AdminEvent
from gateway.ports import (
    ChangeableRow,
    GatewayUnavailable,
    IdempotencyClaim,
    OutboxMessage,
    OutboxState,
    RequestFilter,
    SessionFacts,
)
from gateway.ports.outbox import MessageFilter, OutboxCounts

ACTORS: Final = {each.value: f"may_{each.value}" for each in Permission} | {
    "owner": "boss",
    "nothing": "may_nothing",
    "elsewhere": "may_elsewhere",
}
"""What somebody may, and what they are called."""

Need = tuple[str, str] | str
"""(resource, action) of the published matrix; "owner"; "anybody"; "any": whoever has a permission `here`;
"there": who is an admin there."""

_COLUMNS: Final = {
    "admin": "environment_admin",
    "read": "full_visibility",
    "deploy": "deployment",
    "destroy": "destruction",
    "observability": "ops",
    "sensitive": "sensitive_access",
    "tunnel": "tunnel",
}
_VERIFIER: Final = make_verifier("a password of theirs", b"0123456789abcdef", iterations=4096)
NOW: Final = datetime.now(UTC)
LATER: Final = NOW + timedelta(days=1)


def published() -> dict[tuple[str, str], frozenset[str]]:
    """The matrix as it is published: which permission's column says 1. By the columns' own words, not by the program's."""
    text = files("gateway.access").joinpath("data", "permissions.csv").read_text()
    rows = csv.DictReader(text.splitlines())
    return {
        (r["resource"], r["action"]): frozenset(name for name, column in _COLUMNS.items() if r[column] == "1") for r in rows
    }


def allows(need: Need, actor: str) -> bool:
    """`actor`: a key of ACTORS."""
    if actor == "owner" or need == "anybody":
        return True
    if need == "there":
        return actor == "elsewhere"
    if need == "owner" or actor in ("nothing", "elsewhere"):
        return False
    return need == "any" or actor in published()[need]  # type: ignore[index]


def base() -> Snapshot:
    users = {name: _user(name) for name in ("bob_b", "carl_c", *ACTORS.values())}
    roles = {f"role_{each}": _role(each, users[f"may_{each}"].id) for each in Permission}
    roles["far"] = AdminRole("r-far", "far", {"e-there": frozenset({Permission.ADMIN})}, frozenset({users["may_elsewhere"].id}))
    roles["spare"] = AdminRole("r-spare", "spare", {"e-here": frozenset({Permission.READ})})
    roles["owners"] = AdminRole(OWNERS, "owners", {}, frozenset({users["boss"].id}), owners=True)
    sales, far = _target("sales", "e-here"), _target("far", "e-there")
    bob = users["bob_b"]
    grants = (
        Grant("g-1", bob.id, sales.id, AccessMode.READ_ONLY, None),
        Grant("g-2", bob.id, far.id, AccessMode.READ_ONLY, None),
    )
    networks = ip_network("10.0.0.0/8"), ip_network("10.1.0.0/16")
    credential = Credential(
        "cccccccc-0000-4000-8000-000000000001",
        bob.id,
        sales.id,
        AccessMode.READ_ONLY,
        _VERIFIER,
        NOW,
        "user:bob_b",
        LATER,
        LATER,
        1,
        1,
    )
    return Snapshot(
        revision=7,
        users=users,
        targets={"sales": sales, "far": far},
        grants={bob.id: grants, "gr-staff": (Grant("g-3", "gr-staff", sales.id, AccessMode.READ_ONLY, None),)},
        global_entries=(AllowlistEntry("n-all", networks[0], "", None),),
        target_entries={sales.id: (AllowlistEntry("n-sales", networks[1], "", None, target_id=sales.id),)},
        user_entries={bob.id: (AllowlistEntry("n-bob", networks[1], "", None, user_id=bob.id),)},
        terminated={},
        groups={"staff": Group("gr-staff", "staff", frozenset({users["carl_c"].id}), 1)},
        tokens={name: _token(name, None if name == "ownerless" else bob.id) for name in ("ownerless", "bobs")},
        credentials={credential.handle: credential},
        environments={name: Environment(f"e-{name}", name, 1) for name in ("here", "there", "hollow")}
        | {"default": Environment("default", "default")},
        admin_roles=roles,
        accounts={bob.id: Account(bob.id, password_hash="x")},
        claim_mappings=(ClaimMapping("m-1", "staff", group_id="gr-staff"),),
        approval_policies={"here": _policy()},
        webhooks={"siem": Webhook("w-siem", "siem", "https://siem.example.com/hook", b"sealed", version=1)},
    )


def asked() -> AccessRequest:
    """Request 1: bob_b would like to read `sales`, and carl_c decides about it."""
    bob, read = Person("u-bob_b"), ModeWanted(AccessMode.READ_ONLY)
    wanted = Wanted(bob.user_id, read, 3600, "a report", target_id="t-sales")
    electorate = (Electors(frozenset({"u-carl_c"})),)
    found = requests.ask("q-1", Asking(bob, bob), wanted, _policy(), electorate, NOW)
    assert isinstance(found, AccessRequest)
    return replace(found, number=1, names=Names("bob_b", "bob_b", "sales"), version=1)


def _policy() -> ApprovalPolicy:
    steps = (Step(frozenset({"u-carl_c"})),)
    return ApprovalPolicy("p-here", "here", "e-here", frozenset({AccessMode.READ_ONLY}), steps, version=1)


def _user(name: str) -> User:
    return User(f"u-{name}", name, _VERIFIER, True, None, ListMode.INHERIT, 1, 1)


def _role(permission: Permission, member: str) -> AdminRole:
    held = frozenset({permission})
    return AdminRole(
        f"r-{permission}", f"role_{permission}", {"e-here": held, "e-hollow": held}, frozenset({member}), version=1
    )


def _target(name: str, environment: str) -> Target:
    roles = {AccessMode.READ_ONLY: DatabaseRole(f"d-{name}", "app_ro", b"sealed")}
    inherit = ListMode.INHERIT
    target = Target(f"t-{name}", name, f"{name}.internal", 5432, "db", TlsMode.VERIFY_FULL, None, False, True, inherit, roles)
    return replace(target, environment_id=environment, allowed_functions=frozenset({"shop.f"}), version=1)


def _token(name: str, user_id: str | None) -> ApiToken:
    return ApiToken(f"k-{name}", name, name.encode(), TokenScope.ADMIN, NOW, LATER, "os:root", 1, user_id)


class MemoryOutbox:
    """One message that was given up."""

    def __init__(self) -> None:
        self._message = OutboxMessage("o-1", "webhook.test", "webhook:siem", "{}", NOW, NOW, state=OutboxState.DEAD, sequence=1)

    async def messages(self, _wanted: MessageFilter) -> list[OutboxMessage]:
        return [self._message]

    async def message(self, message_id: str) -> OutboxMessage | None:
        return self._message if message_id == self._message.id else None

    async def count(self) -> OutboxCounts:
        return OutboxCounts(0, 1, None)


class MemoryStore:
    """Implements the ports of the store: each unit of work is checked and applied as far as a later look can see it."""

    def __init__(self) -> None:
        self.snapshot = base()
        self.events: list[AdminEvent] = []
        self.outbox = MemoryOutbox()

    @asynccontextmanager
    async def begin(self) -> AsyncIterator["_Work"]:
        yield _Work(self)

    async def read(self) -> Snapshot:
        return self.snapshot

    async def access_request(self, key: str | int) -> AccessRequest | None:
        request = asked()
        return request if key in (request.id, request.number) else None

    async def access_requests(self, _wanted: RequestFilter) -> list[AccessRequest]:
        return [asked()]

    async def find_claim(self, _key: str) -> None:
        return None

    async def read_events(self, **_wanted: object) -> list[Any]:
        return []

    async def last_logins(self) -> Mapping[str, datetime]:
        return {}

    async def last_token_uses(self) -> Mapping[str, datetime]:
        return {}

    async def target_admin(self, _target_id: str) -> None:
        return None

    async def former_logins(self, _target_id: str) -> list[Any]:
        return []

    async def take_lease(self, _name: str, _holder: str, _seconds: float) -> bool:
        return True

    async def drop_lease(self, _name: str, _holder: str) -> None:
        pass

    async def gateway_id(self) -> str:
        return "11111111-1111-4111-8111-111111111111"

    async def target_observation(self, _target_id: str) -> None:
        return None

    async def outside_looks(self, _target_id: str, _since: datetime) -> list[Any]:
        return []


class _Work:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._puts: list[ChangeableRow] = []
        self.snapshot = store.snapshot
        self.now = datetime.now(UTC)

    def put(self, row: ChangeableRow) -> None:
        self._puts.append(row)

    def remove(self, row: ChangeableRow) -> None:
        pass

    def claim(self, claim: IdempotencyClaim) -> None:
        pass

    async def target_admin(self, _target_id: str) -> None:
        return None

    async def former_logins(self, _target_id: str) -> list[Any]:
        return []

    async def next_request_number(self) -> int:
        return 2

    async def access_request(self, key: str | int) -> AccessRequest | None:
        return await self._store.access_request(key)

    async def access_requests(self, wanted: RequestFilter) -> list[AccessRequest]:
        return [each for each in await self._store.access_requests(wanted) if wanted.likeness is None]

    async def commit(self, event: AdminEvent, *more: AdminEvent) -> int:
        self._store.snapshot = _with(self.snapshot, self._puts)
        self._store.events += [event, *more]
        return self.snapshot.revision + 1


def _with(snapshot: Snapshot, rows: Sequence[ChangeableRow]) -> Snapshot:
    """With those rows that answers show again."""
    names = {
        User: "users",
        Target: "targets",
        Group: "groups",
        Environment: "environments",
        AdminRole: "admin_roles",
        ApiToken: "tokens",
    }
    for row in rows:
        if (field := names.get(type(row))) is not None:
            kept = {name: each for name, each in getattr(snapshot, field).items() if each.id != row.id}  # type: ignore[union-attr]
            snapshot = replace(snapshot, **{field: {**kept, row.name: row}})  # type: ignore[union-attr, arg-type]
        elif isinstance(row, AllowlistEntry) and row.target_id is not None:
            entries = (*snapshot.target_entries.get(row.target_id, ()), row)
            snapshot = replace(snapshot, target_entries={**snapshot.target_entries, row.target_id: entries})
        elif isinstance(row, Account):
            snapshot = replace(snapshot, accounts={**snapshot.accounts, row.id: row})
        elif isinstance(row, ClaimMapping):
            snapshot = replace(snapshot, claim_mappings=(*snapshot.claim_mappings, row))
        elif isinstance(row, Credential):
            snapshot = replace(snapshot, credentials={**snapshot.credentials, row.handle: row})
    return replace(snapshot, revision=snapshot.revision + 1)


class TwoSessions:
    """The part of a running gateway that answers here: one session on each target."""

    async def sessions(self) -> list[SessionFacts]:
        started = "2026-03-01T12:00:00Z"
        return [
            SessionFacts(f"s-{name}", "bob_b", name, "read_only", "10.1.1.1", "psql", "idle", started, 1, 7)
            for name in ("sales", "far")
        ]

    async def cancel(self, _session_id: str) -> bool:
        return True

    async def target_health(self) -> list[Any]:
        return []

    def wake(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        async def unavailable(*_given: object, **_named: object) -> None:
            raise GatewayUnavailable("no gateway runs here")

        return unavailable
