"""Grants: who may use which target, in which access mode, until when, and within which bounds."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Unpack, assert_never

from gateway.access.explain import Considered, Explanation, Part, explain
from gateway.access.model import Grant, Group, Snapshot, Target, User
from gateway.access.validity import has_ended
from gateway.access_mode import AccessMode
from gateway.audit.admin_event import DetailValue
from gateway.ports import Store
from gateway.services.change import begin, new_id
from gateway.services.errors import ServiceError
from gateway.services.grant_terms import Given, Terms, before_detail, check_terms, terms_detail, terms_of, with_terms
from gateway.services.lookup import all_grants, find_grant, find_group, find_target, find_user
from gateway.services.naming import check_expiry


@dataclass(frozen=True, slots=True)
class UserHolder:
    name: str


@dataclass(frozen=True, slots=True)
class GroupHolder:
    """What a group holds, each of its members may use."""

    name: str


Holder = UserHolder | GroupHolder


@dataclass(frozen=True, slots=True)
class NamedGrant:
    """A grant with the names that people know."""

    grant: Grant
    holder: Holder
    target_name: str


async def create_grant(
    store: Store,
    *,
    holder: Holder,
    target_name: str,
    mode: AccessMode,
    replace_live: bool = False,
    beside: bool = False,
    actor: str,
    reason: str,
    **given: Unpack[Given],
) -> NamedGrant:
    """A standing right. read_write includes read_only. Ended ones of the same kind give way. What requests led to does not count.

    One that has not ended is not doubled by oversight, since of two the wider counts: it is replaced if asked (`replace_live`: all
    of the kind), or stays (`beside`).
    """
    terms = Terms(**given)
    check_terms(mode, terms)
    async with begin(store, actor, reason) as change:
        check_expiry(terms.valid_until, change.now)
        held_by, target = _find_holder(change.snapshot, holder), find_target(change.snapshot, target_name)
        held = _held(change.snapshot, held_by, target)
        of_kind = [grant for grant in held if grant.mode is mode and grant.request_id is None]
        there = [grant for grant in of_kind if not has_ended(grant, change.now)]
        if there and not (replace_live or beside):
            raise ServiceError(
                "grant-exists",
                f'{holder_text(holder)} has a {mode} grant for "{target_name}" already, {_until(there[0].valid_until)}',
                "Change when that one ends, replace it, or say that this one is to be beside it.",
            )
        replaced = [grant for grant in of_kind if grant not in there or (replace_live and not beside)]
        for old in replaced:
            change.also_remove(old)
        grant = with_terms(Grant(new_id(), held_by.id, target.id, mode, None), terms)
        named = NamedGrant(grant, holder, target_name)
        detail = grant_detail(named) | terms_detail(terms) | {"replaced": ", ".join(old.id for old in replaced) or None}
        return replace(named, grant=await change.save(grant, "grant.created", grant_text(named), detail))


async def update_grant(
    store: Store,
    *,
    grant_id: str,
    actor: str,
    reason: str,
    expected_version: int | None = None,
    **given: Unpack[Given],
) -> NamedGrant:
    """Change what is given of a grant that has not ended: when it may be used, all of its options or windows, its limits.

    Sessions that stand on it follow at once: they end when it does, and what they prepared is judged anew when it is used.
    """
    async with begin(store, actor, reason) as change:
        check_expiry(given.get("valid_until"), change.now)
        (named,) = _name(change.snapshot, [find_grant(change.snapshot, grant_id, expected_version)])
        old = named.grant
        if old.request_id is not None:
            raise ServiceError(
                "grant-of-request",
                f'grant "{grant_id}" is what request {old.request_number} asked for, and was approved',
                "Revoke it, or have another one asked for; what is approved is never changed.",
            )
        if has_ended(old, change.now):
            raise ServiceError("grant-expired", f'grant "{grant_id}" has ended, {_until(old.valid_until)}', "Make a new one.")
        before = terms_of(old)
        after = replace(before, **given)
        if after == before:
            raise ServiceError("nothing-to-change", f'grant "{grant_id}" is like that already')
        check_terms(old.mode, after)
        detail = grant_detail(named) | terms_detail(after) | before_detail(before)
        return replace(named, grant=await change.save(with_terms(old, after), "grant.changed", grant_text(named), detail))


async def revoke_grant(
    store: Store, *, grant_id: str, actor: str, reason: str, expected_version: int | None = None
) -> NamedGrant:
    """One grant by its id; sessions that stood on it end, and so does the access request that led to it."""
    async with begin(store, actor, reason) as change:
        (named,) = _name(change.snapshot, [find_grant(change.snapshot, grant_id, expected_version)])
        await change.drop(named.grant, "grant.revoked", grant_text(named), grant_detail(named))
        return named


async def revoke_grants(
    store: Store, *, holder: Holder, target_name: str, mode: AccessMode | None = None, actor: str, reason: str
) -> tuple[NamedGrant, ...]:
    """All that somebody holds on a target (of one access mode, if given), in one change. At least one, or it is an error.

    What a user has through groups is the groups', and stays.
    """
    async with begin(store, actor, reason) as change:
        held_by, target = _find_holder(change.snapshot, holder), find_target(change.snapshot, target_name)
        held = _held(change.snapshot, held_by, target)
        found = tuple(NamedGrant(grant, holder, target_name) for grant in held if mode in (None, grant.mode))
        if not found:
            kind = f"{mode} " if mode else ""
            raise ServiceError("grant-unknown", f'{holder_text(holder)} has no {kind}grant for "{target_name}"')
        for named in found:
            change.remove(named.grant, "grant.revoked", grant_text(named), grant_detail(named))
        await change.commit()
        return found


@dataclass(frozen=True, slots=True)
class Why:
    """An explanation, its grants with their names: what counts first, then what comes next to it."""

    explanation: Explanation
    considered: tuple[tuple[Considered, NamedGrant], ...]


def why(snapshot: Snapshot, *, user_name: str, target_name: str, mode: AccessMode, now: datetime) -> Why:
    """Why this user may use this target in this mode, or may not. Raises ServiceError for names that are unknown."""
    found = explain(snapshot, find_user(snapshot, user_name), find_target(snapshot, target_name), mode, now)
    parts = list(Part)
    considered = sorted(found.considered, key=lambda each: (parts.index(each.part), each.grant.id))
    return Why(found, tuple(zip(considered, _name(snapshot, [each.grant for each in considered]), strict=True)))


def name_grants(snapshot: Snapshot) -> list[NamedGrant]:
    """All grants: users' first, then groups', each by name and target."""
    return sorted(
        _name(snapshot, all_grants(snapshot)),
        key=lambda each: (isinstance(each.holder, GroupHolder), each.holder.name, each.target_name, each.grant.mode),
    )


def standing_grants(snapshot: Snapshot) -> list[NamedGrant]:
    """The same without what access requests led to, which is for a time and nobody's to write down beforehand."""
    return [named for named in name_grants(snapshot) if named.grant.request_id is None]


def holder_text(holder: Holder) -> str:
    """As sentences have it: user "ana", group "analysts"."""
    return f'{_kind(holder)} "{holder.name}"'


def grant_text(named: NamedGrant) -> str:
    """What the audit calls a grant: "ana on sales", "group analysts on sales"."""
    group = "group " if isinstance(named.holder, GroupHolder) else ""
    return f"{group}{named.holder.name} on {named.target_name}"


def grant_detail(named: NamedGrant) -> dict[str, DetailValue]:
    """For the audit: whose it is, where and in which access mode."""
    return {_kind(named.holder): named.holder.name, "target": named.target_name, "mode": named.grant.mode.value}


def _name(snapshot: Snapshot, found: Iterable[Grant]) -> list[NamedGrant]:
    holders: dict[str, Holder] = {user.id: UserHolder(user.name) for user in snapshot.users.values()}
    holders |= {group.id: GroupHolder(group.name) for group in snapshot.groups.values()}
    targets = {target.id: target.name for target in snapshot.targets.values()}
    return [NamedGrant(grant, holders[grant.holder_id], targets[grant.target_id]) for grant in found]


def _find_holder(snapshot: Snapshot, holder: Holder) -> User | Group:
    match holder:
        case UserHolder(name):
            return find_user(snapshot, name)
        case GroupHolder(name):
            return find_group(snapshot, name)
    assert_never(holder)


def _kind(holder: Holder) -> str:
    match holder:
        case UserHolder():
            return "user"
        case GroupHolder():
            return "group"
    assert_never(holder)


def _held(snapshot: Snapshot, holder: User | Group, target: Target) -> tuple[Grant, ...]:
    return snapshot.held.get((holder.id, target.id), ())


def _until(valid_until: datetime | None) -> str:
    return "without end" if valid_until is None else f"until {valid_until.isoformat(timespec='seconds')}"
