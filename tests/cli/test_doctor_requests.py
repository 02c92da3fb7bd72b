"""What doctor says of approval policies and of emergencies."""

from dataclasses import replace
from datetime import UTC, datetime

from gateway.access.approvals import ApprovalPolicy, BreakGlass, Step
from gateway.access.model import Group, ListMode, Snapshot, User
from gateway.access_mode import AccessMode
from gateway.cli.doctor_requests import look_at_requests
from gateway.cli.findings import State

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
GROUP = Group("g", "dbas", frozenset({"ben", "cam"}))
POLICY = ApprovalPolicy("p", "prod", "default", frozenset(AccessMode), (Step(frozenset({"g"})),), announce=("slack:C1",))


def of(policy: ApprovalPolicy, *, enabled: bool = True) -> list[tuple[State, str]]:
    users = {name: User(name, name, "", enabled or name != "ben", None, ListMode.INHERIT, 1) for name in ("ben", "cam")}
    snapshot = Snapshot(1, users, {}, {}, (), {}, {}, {}, groups={"dbas": GROUP}, approval_policies={"prod": policy})
    return [(each.state, each.detail) for each in look_at_requests(snapshot, [], NOW)]


def test_a_policy_by_which_somebody_decides_is_fine() -> None:
    assert of(POLICY) == [(State.OK, "1 steps, with approvers")]


def test_a_step_that_nobody_can_pass_is_a_problem() -> None:
    three = replace(POLICY, steps=(Step(frozenset({"g"}), 3),))
    assert of(three) == [(State.PROBLEM, "step 1 needs 3 of its approvers, and 2 could decide")]
    ((state, _),) = of(replace(POLICY, steps=(Step(frozenset({"g"}), 2),)))
    assert state is State.WARNING
    ((state, _),) = of(replace(POLICY, steps=(Step(frozenset({"g"}), 2),)), enabled=False)
    assert state is State.PROBLEM


def test_an_emergency_of_which_nobody_is_told_is_a_warning() -> None:
    silent = replace(POLICY, announce=(), break_glass=BreakGlass(frozenset({"g"}), 600))
    assert [state for state, _ in of(silent)] == [State.WARNING]
    assert [state for state, _ in of(replace(POLICY, announce=("webhook:gone",)))] == [State.WARNING]
