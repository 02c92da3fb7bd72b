"""What a manifest changes about approval policies. Pure."""

from collections.abc import Iterable
from dataclasses import replace

from gateway.access.approvals import ApprovalPolicy, AutomaticRule
from gateway.access.model import Snapshot
from gateway.services.approval_policies import check_modes_are_free
from gateway.services.approval_terms import (
    TERMS,
    NamedBreakGlass,
    NamedStep,
    PolicyTerms,
    check_policy_name,
    check_terms,
    name_policy,
    policy_of,
    terms_detail,
    terms_of,
)
from gateway.services.errors import ServiceError
from gateway.services.lookup import find_environment
from gateway.services.manifest_approvals_model import ApprovalPolicyPart
from gateway.services.manifest_change import Action, Change, Draft, Drafts, Kind, Means, Note, at, check_new_name, unique
from gateway.services.manifest_model import JsonValue, Manifest


def draft_policies(snapshot: Snapshot, manifest: Manifest, means: Means, *, prune: bool) -> Drafts:
    """Raises ServiceError, by the rules of the verbs. `snapshot` is as environments, people, groups and admin roles will be."""
    named = unique(manifest.approval_policies, lambda part: part.name)
    places = {each.id for each in snapshot.environments.values()}
    homeless = [each for each in snapshot.approval_policies.values() if each.environment_id not in places]
    others = [
        each
        for _, each in sorted(snapshot.approval_policies.items())
        if manifest.states("approval_policies") and each.name not in named and each not in homeless
    ]
    removed = [*homeless, *(others if prune else ())]
    drafts = [_remove(snapshot, each) for each in removed]
    policies = {name: each for name, each in snapshot.approval_policies.items() if each not in removed}
    lowered = {name.lower(): name for name in policies}
    for part in named.values():
        with at(f'approval policy "{part.name}"'):
            old = policies.get(part.name)
            made = _create(snapshot, part, lowered, means) if old is None else _change(snapshot, part, old)
        if made is not None:
            policy, draft = made
            drafts.append(draft)
            policies[policy.name] = policy
    after = replace(snapshot, approval_policies=policies)
    for name in named:
        with at(f'approval policy "{name}"'):
            check_modes_are_free(after, policies[name])
    return Drafts(tuple(drafts), after, len(others))


def export_policies(snapshot: Snapshot) -> list[dict[str, JsonValue]]:
    named = [name_policy(snapshot, policy) for _, policy in sorted(snapshot.approval_policies.items())]
    return [{"name": each.policy.name, "environment": each.environment, **_plain(each.terms, TERMS)} for each in named]


def _create(snapshot: Snapshot, part: ApprovalPolicyPart, taken: dict[str, str], means: Means) -> tuple[ApprovalPolicy, Draft]:
    check_policy_name(part.name)
    check_new_name("policy", part.name, taken)
    if part.environment is None:
        raise ServiceError("place-missing", "a new approval policy needs an environment", "Name one: environment: NAME")
    place = find_environment(snapshot, part.environment)
    terms = _stated(part, PolicyTerms(), TERMS)
    check_terms(terms)
    policy = policy_of(snapshot, means.new_id(), part.name, place.id, terms)
    note = Note("approval_policy.created", policy.id, part.name, {"environment": part.environment, **terms_detail(terms)})
    change = Change(Kind.APPROVAL_POLICY, Action.CREATE, part.name, {}, _plain(terms, TERMS))
    return policy, Draft(change, (note,), (policy,))


def _change(snapshot: Snapshot, part: ApprovalPolicyPart, old: ApprovalPolicy) -> tuple[ApprovalPolicy, Draft] | None:
    if part.environment is not None and find_environment(snapshot, part.environment).id != old.environment_id:
        text = "an approval policy stays in its environment"
        raise ServiceError("approval-policy-invalid", text, "Delete it, and make one there.")
    before = terms_of(snapshot, old)
    terms = _stated(part, before, [name for name in TERMS if part.states(name)])
    differing = [name for name in TERMS if getattr(terms, name) != getattr(before, name)]
    if not differing:
        return None
    check_terms(terms)
    policy = policy_of(snapshot, old.id, old.name, old.environment_id, terms)
    was = {f"before_{key}": value for key, value in terms_detail(before).items()}
    note = Note("approval_policy.changed", old.id, old.name, {**terms_detail(terms), **was})
    change = Change(Kind.APPROVAL_POLICY, Action.CHANGE, old.name, _plain(before, differing), _plain(terms, differing))
    return policy, Draft(change, (note,), (policy,))


def _remove(snapshot: Snapshot, policy: ApprovalPolicy) -> Draft:
    terms = terms_of(snapshot, policy)
    note = Note("approval_policy.deleted", policy.id, policy.name, terms_detail(terms))
    change = Change(Kind.APPROVAL_POLICY, Action.REMOVE, policy.name, _plain(terms, TERMS), {})
    return Draft(change, (note,), removals=(policy,))


def _stated(part: ApprovalPolicyPart, terms: PolicyTerms, names: Iterable[str]) -> PolicyTerms:
    """The terms with those fields as the file has them."""
    glass = part.break_glass
    whole = PolicyTerms(
        modes=part.modes,
        steps=tuple(
            NamedStep(tuple(sorted(step.approvers)), step.needed, step.escalates_after_seconds, tuple(sorted(step.escalation)))
            for step in part.steps
        ),
        rules=tuple(AutomaticRule(rule.kind, rule.within_seconds, rule.since_seconds) for rule in part.rules),
        default_seconds=part.default_seconds,
        max_seconds=part.max_seconds,
        decide_within_seconds=part.decide_within_seconds,
        reason_required=part.reason_required,
        ticket_required=part.ticket_required,
        bound_to_approvers=part.bound_to_approvers,
        break_glass=None if glass is None else NamedBreakGlass(tuple(sorted(glass.holders)), glass.within_seconds),
        database_roles=part.database_roles,
        announce=tuple(part.announce),
        on_call=part.on_call,
    )
    return replace(terms, **{name: getattr(whole, name) for name in names})


def _plain(terms: PolicyTerms, names: Iterable[str]) -> dict[str, JsonValue]:
    glass = terms.break_glass
    steps: list[JsonValue] = [
        {
            "approvers": [*step.approvers],
            "needed": step.needed,
            "escalates_after_seconds": step.escalates_after_seconds,
            "escalation": [*step.escalation],
        }
        for step in terms.steps
    ]
    rules: list[JsonValue] = [
        {"kind": rule.kind.value, "within_seconds": rule.within_seconds, "since_seconds": rule.since_seconds}
        for rule in terms.rules
    ]
    found: dict[str, JsonValue] = {
        "modes": sorted(mode.value for mode in terms.modes),
        "steps": steps,
        "rules": rules,
        "break_glass": None if glass is None else {"holders": [*glass.holders], "within_seconds": glass.within_seconds},
        "database_roles": sorted(terms.database_roles),
        "announce": [*terms.announce],
    }
    return {name: found[name] if name in found else getattr(terms, name) for name in names}
