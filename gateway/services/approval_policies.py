"""Approval policies: what of an environment may be asked for, who decides about it, and what is decided by a rule."""

from dataclasses import replace
from typing import Unpack

from gateway.access.approvals import ApprovalPolicy
from gateway.access.model import Snapshot
from gateway.ports import Store
from gateway.services.approval_terms import (
    Given,
    NamedBreakGlass,
    NamedPolicy,
    NamedStep,
    PolicyTerms,
    check_policy_name,
    check_terms,
    name_policy,
    policy_of,
    terms_detail,
    terms_of,
)
from gateway.services.change import begin, new_id
from gateway.services.errors import ServiceError
from gateway.services.lookup import check_name_is_free, check_version, find_environment

__all__ = [
    "Given",
    "NamedBreakGlass",
    "NamedPolicy",
    "NamedStep",
    "PolicyTerms",
    "create_policy",
    "delete_policy",
    "find_policy",
    "name_policies",
    "update_policy",
]


async def create_policy(
    store: Store, *, name: str, environment: str, actor: str, reason: str, **given: Unpack[Given]
) -> NamedPolicy:
    """What it names can be asked for there from now on. An access mode of an environment has one policy at most."""
    terms = PolicyTerms(**given)
    check_policy_name(name)
    check_terms(terms)
    async with begin(store, actor, reason) as change:
        change.require("approval-policies.change")
        place = find_environment(change.whole, environment)
        check_name_is_free("policy", name, change.whole.approval_policies)
        policy = policy_of(change.whole, new_id(), name, place.id, terms)
        check_modes_are_free(change.whole, policy)
        named = name_policy(change.whole, policy)
        detail = {"environment": environment, **terms_detail(terms)}
        return replace(named, policy=await change.save(policy, "approval_policy.created", name, detail))


async def update_policy(
    store: Store, *, name: str, actor: str, reason: str, expected_version: int | None = None, **given: Unpack[Given]
) -> NamedPolicy:
    """Change what is given, each list as a whole. Requests that are under way go by it as it was, but for approvers who are not in
    it any more: they cannot decide.
    """
    async with begin(store, actor, reason) as change:
        change.require("approval-policies.change")
        old = find_policy(change.whole, name, expected_version)
        before = terms_of(change.whole, old)
        terms = replace(before, **given)
        check_terms(terms)
        policy = policy_of(change.whole, old.id, name, old.environment_id, terms)
        if replace(policy, version=old.version) == old:
            raise ServiceError("nothing-to-change", f'approval policy "{name}" is like that already')
        check_modes_are_free(change.whole, policy)
        was = {f"before_{key}": value for key, value in terms_detail(before).items()}
        saved = await change.save(policy, "approval_policy.changed", name, {**terms_detail(terms), **was})
        return name_policy(change.whole, saved)


async def delete_policy(
    store: Store, *, name: str, actor: str, reason: str, expected_version: int | None = None
) -> ApprovalPolicy:
    """Nothing more can be asked for by it. Requests that wait end with it; rights that were given stay for their time."""
    async with begin(store, actor, reason) as change:
        change.require("approval-policies.change")
        policy = find_policy(change.whole, name, expected_version)
        return await change.drop(policy, "approval_policy.deleted", name, terms_detail(terms_of(change.whole, policy)))


def find_policy(snapshot: Snapshot, name: str, expected_version: int | None = None) -> ApprovalPolicy:
    policy = snapshot.approval_policies.get(name)
    if policy is None:
        text = f'there is no approval policy "{name}"'
        raise ServiceError("approval-policy-unknown", text, "See: pgbastion approvals list")
    check_version(f'approval policy "{name}"', policy.version, expected_version)
    return policy


def name_policies(snapshot: Snapshot) -> list[NamedPolicy]:
    """All, by name."""
    return [name_policy(snapshot, policy) for _, policy in sorted(snapshot.approval_policies.items())]


def check_modes_are_free(snapshot: Snapshot, policy: ApprovalPolicy) -> None:
    """Raises ServiceError when another policy opens one of its modes in its environment: nobody could say which of them counts."""
    for other in snapshot.approval_policies.values():
        both = sorted(other.modes & policy.modes)
        if other.id != policy.id and other.environment_id == policy.environment_id and both:
            text = f'approval policy "{other.name}" opens {both[0]} there already'
            raise ServiceError("approval-policy-exists", text, "Change that one, or take the access mode off one of the two.")
