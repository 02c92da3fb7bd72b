"""Access requests as people see them: their own, those that they may decide about, those of a place; and what can be asked for."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from gateway.access import requests
from gateway.access.approvals import ApprovalPolicy
from gateway.access.electorate import approvers_now, reviewers
from gateway.access.managed import ManagedMode
from gateway.access.model import Snapshot
from gateway.access.request_record import GIVEN, AccessRequest, State
from gateway.access_mode import AccessMode
from gateway.ports import RequestFilter
from gateway.services.actor import Actor, resolve_actor
from gateway.services.environments import environment_name
from gateway.services.lookup import find_environment, find_target, find_user
from gateway.services.request_people import involves, may_see, unknown_request

_BATCH: Final = 500


class LookStore(Protocol):
    """The part of a store that is looked at."""

    async def read(self) -> Snapshot: ...

    async def access_request(self, key: str | int) -> AccessRequest | None: ...

    async def access_requests(self, wanted: RequestFilter) -> list[AccessRequest]: ...


class WhichRequests(StrEnum):
    """Of all that somebody may see: all, what they asked for or hold, what they may decide about now, what they may review."""

    ALL = "all"
    MINE = "mine"
    TO_DECIDE = "to-decide"
    TO_REVIEW = "to-review"


@dataclass(frozen=True, slots=True)
class Listing:
    """Which requests. `states` as they are by now; empty: any. Names that are unknown are errors. `before`: numbers below it."""

    which: WhichRequests = WhichRequests.ALL
    states: frozenset[State] = field(default_factory=frozenset)
    user: str | None = None
    target: str | None = None
    environment: str | None = None
    awaits_review: bool = False
    before: int | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class ShownRequest:
    """A request as of now. `approvers`: names of those who may decide in its present step; of nobody once it is decided.

    `may_decide`, `may_review`: whether whoever looks may.
    """

    request: AccessRequest
    approvers: tuple[str, ...]
    may_decide: bool
    may_review: bool


@dataclass(frozen=True, slots=True)
class Askable:
    """What can be asked for at one place, in one access mode. Of an environment, `target` is None: each target that is in it."""

    target: str | None
    environment: str
    mode: AccessMode
    database_roles: tuple[str, ...]
    default_seconds: int
    max_seconds: int
    reason_required: bool
    ticket_required: bool
    break_glass_seconds: int | None


async def list_requests(store: LookStore, listing: Listing, *, actor: str, now: datetime) -> list[ShownRequest]:
    """Those that the actor may see, the newest first. Raises ServiceError."""
    snapshot = await store.read()
    who = resolve_actor(actor, snapshot, now)
    found: list[ShownRequest] = []
    before = listing.before
    while True:
        some = await store.access_requests(_filter(snapshot, listing, who, before))
        for each in some:
            shown = _shown(snapshot, requests.as_of(each, now), who, now)
            if may_see(snapshot, who, each) and _is_wanted(shown, listing, who):
                found.append(shown)
                if len(found) == listing.limit:
                    return found
        if len(some) < _BATCH:
            return found
        before = some[-1].number


async def show_request(store: LookStore, *, request: str | int, actor: str, now: datetime) -> ShownRequest:
    """By its id or its number. Raises ServiceError: unknown and hidden look the same."""
    snapshot = await store.read()
    who = resolve_actor(actor, snapshot, now)
    found = await store.access_request(request)
    if found is None or not may_see(snapshot, who, found):
        raise unknown_request(request)
    return _shown(snapshot, requests.as_of(found, now), who, now)


async def askable(store: LookStore, *, actor: str, now: datetime) -> list[Askable]:
    """What policies open to whoever is signed in, by environment and target; what they do not open is not in it."""
    snapshot = await store.read()
    who = resolve_actor(actor, snapshot, now)
    user = next((each for each in snapshot.users.values() if each.id == who.user_id), None)
    found: list[Askable] = []
    for policy in snapshot.approval_policies.values():
        place = environment_name(snapshot, policy.environment_id)
        for mode in sorted(policy.modes):
            if place and not (user is not None and user.read_only and mode is AccessMode.READ_WRITE):
                found += _opened(snapshot, policy, place, mode, who)
    return sorted(found, key=lambda each: (each.environment, each.target or "", each.mode))


def approver_names(snapshot: Snapshot, request: AccessRequest, now: datetime) -> tuple[str, ...]:
    """Of those who may decide in its present step, now."""
    able = approvers_now(snapshot, requests.as_of(request, now), now)
    return tuple(sorted(user.name for user in snapshot.users.values() if user.id in able))


def _filter(snapshot: Snapshot, listing: Listing, who: Actor, before: int | None) -> RequestFilter:
    person = None if listing.user is None else find_user(snapshot, listing.user).id
    if listing.which is WhichRequests.MINE:
        person = who.user_id or ""
    place = None if listing.environment is None else frozenset({find_environment(snapshot, listing.environment).id})
    return RequestFilter(
        states=_stored(listing),
        person_id=person,
        target_id=None if listing.target is None else find_target(snapshot, listing.target).id,
        environments=place,
        awaits_review=listing.awaits_review or listing.which is WhichRequests.TO_REVIEW,
        before=before,
        limit=_BATCH,
    )


def _stored(listing: Listing) -> frozenset[State]:
    """What may be written down of those that are in these states by now: the sweeper is a moment late."""
    if listing.which is WhichRequests.TO_DECIDE:
        return frozenset({State.PENDING})
    states = listing.states
    if states & {State.ACTIVE, State.EXPIRED}:
        states |= GIVEN
    return states | {State.PENDING} if State.EXPIRED in states else states


def _is_wanted(shown: ShownRequest, listing: Listing, who: Actor) -> bool:
    request = shown.request
    if listing.states and request.state not in listing.states:
        return False
    match listing.which:
        case WhichRequests.ALL:
            return True
        case WhichRequests.MINE:
            return involves(request, who.user_id)
        case WhichRequests.TO_DECIDE:
            return shown.may_decide
        case WhichRequests.TO_REVIEW:
            return shown.may_review


def _shown(snapshot: Snapshot, request: AccessRequest, who: Actor, now: datetime) -> ShownRequest:
    able = approvers_now(snapshot, request, now)
    names = tuple(sorted(user.name for user in snapshot.users.values() if user.id in able))
    is_admin = who.may("requests.revoke", environment_id=request.policy.environment_id)
    reviews = request.awaits_review and not involves(request, who.user_id) and who.user_id is not None
    may_review = reviews and (is_admin or who.user_id in reviewers(snapshot, request, now))
    return ShownRequest(request, names, who.user_id in able, may_review)


def _opened(snapshot: Snapshot, policy: ApprovalPolicy, place: str, mode: AccessMode, who: Actor) -> Iterable[Askable]:
    glass = policy.break_glass
    ids = who.own_groups | ({who.user_id} if who.user_id else frozenset())
    ids |= {role.id for role in snapshot.admin_roles.values() if who.user_id in role.members}
    seconds = glass.within_seconds if glass is not None and not ids.isdisjoint(glass.holders) else None
    names: Sequence[tuple[str | None, tuple[str, ...]]] = [
        (target.name, () if target.managed is ManagedMode.OFF else tuple(sorted(policy.database_roles)))
        for target in snapshot.targets.values()
        if target.environment_id == policy.environment_id and target.enabled
    ]
    for name, roles in [(None, ()), *names]:
        yield Askable(
            name,
            place,
            mode,
            roles,
            policy.default_seconds,
            policy.max_seconds,
            policy.reason_required,
            policy.ticket_required,
            seconds,
        )
