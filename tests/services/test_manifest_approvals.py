"""Approval policies in a manifest: what is exported and applied again changes nothing; what a file states is made so."""

import shutil

import pytest

from gateway.services import approval_policies
from gateway.services.approval_terms import NamedBreakGlass, NamedStep, terms_of
from gateway.services.errors import ServiceError
from gateway.services.manifest import Action, Kind, apply_manifest, export_manifest, parse_manifest
from tests.services.world import BY, RO, RW, opened

WHOLE = {
    "name": "prod",
    "environment": "prod",
    "modes": ["read_only", "read_write"],
    "steps": [
        {"approvers": ["role:dba", "user:alice"], "needed": 2},
        {"approvers": ["group:analysts"], "escalates_after_seconds": 600, "escalation": ["role:owners"]},
    ],
    "rules": [
        {"kind": "again", "within_seconds": 3600, "since_seconds": 86_400},
        {"kind": "on-call", "within_seconds": 3600},
    ],
    "default_seconds": 1800,
    "max_seconds": 7200,
    "decide_within_seconds": 900,
    "reason_required": True,
    "ticket_required": True,
    "bound_to_approvers": True,
    "break_glass": {"holders": ["role:dba"], "within_seconds": 900},
    "database_roles": ["reporting"],
    "announce": ["slack:C024BE91L", "mail:dba@example.org"],
    "on_call": "PABC123",
}


@pytest.fixture
async def world(template_with_admins, tmp_path):
    """Without a policy."""
    shutil.copytree(template_with_admins, tmp_path / "state")
    world = opened(tmp_path / "state")
    await approval_policies.delete_policy(world.store, name="writing", **BY)
    return world


async def apply(world, *policies, **more):
    data = parse_manifest({"version": 1, "approval_policies": list(policies)})
    return await apply_manifest(world.store, world.vault, data, **more, **BY)


def kinds(plan) -> list[tuple[Kind, Action]]:
    return [(change.kind, change.action) for change in plan.changes]


async def test_what_a_file_states_is_made_so_and_exported_as_it_was(world):
    assert kinds(await apply(world, WHOLE)) == [(Kind.APPROVAL_POLICY, Action.CREATE)]
    exported = export_manifest(await world.read())["approval_policies"]
    again = {**WHOLE, "rules": [{"since_seconds": 0, **rule} for rule in WHOLE["rules"]]}
    steps = [{"needed": 1, "escalates_after_seconds": None, "escalation": [], **step} for step in WHOLE["steps"]]
    assert exported == [{**again, "steps": steps}]
    assert kinds(await apply(world, *exported)) == []
    assert (await world.events())[-1].event.action == "approval_policy.created"


async def test_what_a_file_leaves_out_stays(world):
    await apply(world, WHOLE)
    before = terms_of(snapshot := await world.read(), snapshot.approval_policies["prod"])
    plan = await apply(world, {"name": "prod", "max_seconds": 3600})
    assert [(each.before, each.after) for each in plan.changes] == [({"max_seconds": 7200}, {"max_seconds": 3600})]
    after = terms_of(snapshot := await world.read(), snapshot.approval_policies["prod"])
    assert (after.steps, after.break_glass, after.max_seconds) == (before.steps, before.break_glass, 3600)


async def test_what_is_not_named_goes_only_when_it_is_pruned(world):
    await apply(world, WHOLE)
    assert (await apply(world)).not_named == 1
    assert kinds(await apply(world, prune=True)) == [(Kind.APPROVAL_POLICY, Action.REMOVE)]
    assert (await world.read()).approval_policies == {}


async def test_an_environment_takes_its_policies_with_it(world):
    await apply(world, WHOLE)
    data = parse_manifest({"version": 1, "environments": []})
    plan = await apply_manifest(world.store, world.vault, data, prune=True, **BY)
    assert (Kind.APPROVAL_POLICY, Action.REMOVE) in kinds(plan)
    assert (await world.read()).approval_policies == {}


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"environment": None}, "place-missing"),
        ({"environment": "nowhere"}, "environment-unknown"),
        ({"modes": []}, "approval-policy-invalid"),
        ({"steps": []}, "approval-policy-invalid"),
        ({"steps": [{"approvers": []}]}, "approval-policy-invalid"),
        ({"steps": [{"approvers": ["role:nobody"]}]}, "admin-role-unknown"),
        ({"steps": [{"approvers": ["user:alice"], "needed": 0}]}, "approval-policy-invalid"),
        ({"steps": [{"approvers": ["user:alice"], "escalates_after_seconds": 600}]}, "approval-policy-invalid"),
        ({"rules": [{"kind": "on-call", "within_seconds": 3601}]}, "approval-policy-invalid"),
        ({"rules": [{"kind": "again", "within_seconds": 60}]}, "approval-policy-invalid"),
        ({"on_call": None}, "approval-policy-invalid"),
        ({"default_seconds": 7201}, "approval-policy-invalid"),
        ({"max_seconds": 30}, "approval-policy-invalid"),
        ({"break_glass": {"holders": ["role:dba"], "within_seconds": 7201}}, "approval-policy-invalid"),
        ({"announce": ["pigeon:loft"]}, "approval-policy-invalid"),
        ({"announce": ["mail:nobody"]}, "email-invalid"),
        ({"name": "4you"}, "approval-policy-name-invalid"),
    ],
)
async def test_what_no_verb_takes_no_file_brings(world, changed, rule):
    with pytest.raises(ServiceError) as refused:
        await apply(world, {**WHOLE, **changed})
    assert refused.value.rule == rule
    assert (await world.read()).approval_policies == {}


async def test_an_access_mode_of_an_environment_has_one_policy(world):
    await apply(world, WHOLE)
    other = {**WHOLE, "name": "other", "modes": ["read_only"]}
    with pytest.raises(ServiceError, check=lambda error: error.rule == "approval-policy-exists"):
        await apply(world, other)
    step = (NamedStep(("user:alice",)),)
    with pytest.raises(ServiceError, check=lambda error: error.rule == "approval-policy-exists"):
        await approval_policies.create_policy(
            world.store, name="other", environment="prod", modes=frozenset({RO}), steps=step, **BY
        )
    await approval_policies.update_policy(world.store, name="prod", modes=frozenset({RW}), **BY)
    named = await approval_policies.create_policy(
        world.store, name="other", environment="prod", modes=frozenset({RO}), steps=step, **BY
    )
    assert (named.environment, named.terms.steps) == ("prod", step)
    with pytest.raises(ServiceError, check=lambda error: error.rule == "nothing-to-change"):
        await approval_policies.update_policy(world.store, name="other", steps=step, **BY)


async def test_only_owners_change_policies(world):
    await apply(world, WHOLE)
    with pytest.raises(ServiceError, check=lambda error: error.rule == "not-permitted"):
        await approval_policies.update_policy(
            world.store,
            name="prod",
            break_glass=NamedBreakGlass(("user:dora",), 60),
            actor="user:dora",
            reason="",
        )
