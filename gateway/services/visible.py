"""What an actor may see of the whole. What they may not, is not there: unknown and hidden look the same. Pure."""

from collections.abc import Callable, Mapping, Set
from dataclasses import replace
from typing import TypeVar

from gateway.access.model import Grant, Snapshot, Target
from gateway.services.actor import Actor, require
from gateway.services.lookup import find_target

T = TypeVar("T")


def within_reach(snapshot: Snapshot, actor: Actor) -> Snapshot:
    """For changes: without the targets of environments in which the actor may nothing, and what hangs on these.

    The rest is whole, so that a change is worked out from facts; whether it may be made is asked when its rows are staged.
    """
    if actor.owner:
        return snapshot
    targets = {
        name: each for name, each in snapshot.targets.items() if actor.may("targets.list", environment_id=each.environment_id)
    }
    ids = {target.id for target in targets.values()}
    return replace(
        snapshot,
        targets=targets,
        grants=_kept(snapshot.grants, lambda grant: grant.target_id in ids),
        target_entries={owner: entries for owner, entries in snapshot.target_entries.items() if owner in ids},
        managed_logins=tuple(login for login in snapshot.managed_logins if login.key.target_id in ids),
        environments={
            name: each for name, each in snapshot.environments.items() if actor.may("environments.list", environment_id=each.id)
        },
    )


def visible(snapshot: Snapshot, actor: Actor) -> Snapshot:
    """For looking: what `within_reach` leaves, and of that what the actor's permissions show; and what they hold themselves."""
    if actor.owner:
        return snapshot
    reach = within_reach(snapshot, actor)
    granted = {grant.target_id for held in snapshot.grants.values() for grant in held if actor.is_own(grant.holder_id)}
    mine = granted | _ids(reach)
    open_to_them = {name: each for name, each in snapshot.targets.items() if each.id in mine}
    shown = {each.id for each in reach.targets.values() if actor.may("targets.show", environment_id=each.environment_id)}
    grants = _kept(snapshot.grants, lambda grant: grant.target_id in shown or actor.is_own(grant.holder_id))
    holders = {grant.holder_id for held in grants.values() for grant in held}
    groups = {name: each for name, each in snapshot.groups.items() if each.id in holders or each.id in actor.own_groups}
    people = holders | {member for group in groups.values() for member in group.members if group.id in holders}
    users = {name: user for name, user in snapshot.users.items() if user.id in people or user.id == actor.user_id}
    ids = {user.id for user in users.values()}
    return replace(
        reach,
        users=users,
        targets={name: target if target.id in shown else _basic(target) for name, target in open_to_them.items()},
        grants=grants,
        global_entries=(),
        target_entries=_of(reach.target_entries, shown),
        user_entries=_of(snapshot.user_entries, _mine(actor)),
        terminated={},
        groups={name: replace(each, members=each.members & ids) for name, each in groups.items()},
        tokens={name: each for name, each in snapshot.tokens.items() if actor.may("tokens.own", user_id=each.user_id)},
        credentials={key: each for key, each in snapshot.credentials.items() if each.user_id == actor.user_id},
        admin_roles={name: each for name, each in snapshot.admin_roles.items() if actor.user_id in each.members},
        accounts={user_id: each for user_id, each in snapshot.accounts.items() if user_id == actor.user_id},
        claim_mappings=(),
        webhooks={},
        approval_policies={
            name: each
            for name, each in snapshot.approval_policies.items()
            if actor.may("approval-policies.list", environment_id=each.environment_id)
        },
        managed_logins=tuple(login for login in reach.managed_logins if login.key.target_id in shown),
    )


def may_on(actor: Actor, verb: str, snapshot: Snapshot, target_name: str) -> bool:
    """Whether the actor may do this on the target of this name. One that is there no more is the owners' to speak of."""
    target = snapshot.targets.get(target_name)
    return actor.owner or (target is not None and actor.may(verb, environment_id=target.environment_id))


def reach_target(actor: Actor, verb: str, snapshot: Snapshot, name: str) -> Target:
    """The target, whole, for who may do this. Raises ServiceError when there is none within reach, NotPermitted."""
    target = find_target(within_reach(snapshot, actor), name)
    require(actor, verb, snapshot, environment_id=target.environment_id)
    return target


def _basic(target: Target) -> Target:
    """That it is there and whether it is open; not where it is or what it allows."""
    return replace(
        target,
        host="",
        port=0,
        dbname="",
        ca_pem=None,
        roles={},
        allowed_functions=frozenset(),
        allowed_schemas=frozenset(),
        allowed_settings=frozenset(),
    )


def _kept(grants: Mapping[str, tuple[Grant, ...]], wanted: Callable[[Grant], bool]) -> dict[str, tuple[Grant, ...]]:
    found = {holder: tuple(grant for grant in held if wanted(grant)) for holder, held in grants.items()}
    return {holder: held for holder, held in found.items() if held}


def _of(by_owner: Mapping[str, T], owners: Set[str]) -> dict[str, T]:
    return {owner: each for owner, each in by_owner.items() if owner in owners}


def _ids(snapshot: Snapshot) -> set[str]:
    return {target.id for target in snapshot.targets.values()}


def _mine(actor: Actor) -> set[str]:
    return set() if actor.user_id is None else {actor.user_id}
