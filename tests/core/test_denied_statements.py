"""Statements that were refused, under codes: whose, for how long, how many; and when there is none."""

from dataclasses import replace

import pytest

from gateway.access.approvals import ApprovalPolicy, Step
from gateway.access.asking import Scope
from gateway.access.model import DEFAULT_ENVIRONMENT, Lease, Snapshot
from gateway.access_mode import AccessMode, GrantOption
from gateway.judging.ways_out import Search, look
from gateway.proxy.denied import DeniedStatements
from gateway.session.verdicts import PolicyInForce
from gateway.statements.granted_relations import GrantedRelations
from gateway.statements.policy import Policy
from tests.support.snapshots import ALICE, SALES, world

READ, WRITE = AccessMode.READ_ONLY, AccessMode.READ_WRITE
OPENS = ApprovalPolicy("p", "p", DEFAULT_ENVIRONMENT, frozenset({READ, WRITE}), (Step(frozenset({"x"})),))
UPDATE = "UPDATE public.orders SET paid = true WHERE id = 7"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def denied(clock: Clock) -> DeniedStatements:
    return DeniedStatements(clock)


def opened(policy: ApprovalPolicy | None = OPENS) -> Snapshot:
    return replace(world(), approval_policies={} if policy is None else {policy.name: policy})


def way_out(
    denied: DeniedStatements,
    sql: str | bytes,
    snapshot: Snapshot | None = None,
    policy: Policy | None = None,
    *,
    user_only_reads: bool = False,
) -> str:
    policy = policy or Policy(READ)
    text = sql.encode() if isinstance(sql, str) else sql
    judged = PolicyInForce(policy, 10, 100_000, 1000).judge(text)
    assert not judged.verdict.allowed
    lease = Lease(replace(ALICE, read_only=user_only_reads), SALES, policy.mode, SALES.roles[policy.mode], "g", None, 7)
    snapshot = snapshot or opened()
    found = denied.way_out(snapshot, lease, judged, 16_384)
    if found is None:  # it is looked for once
        plain = Policy(READ)
        denied.learn(judged, look(Search(text, policy, plain, Policy(WRITE), replace(plain, catalog=policy.catalog))))
        found = denied.way_out(snapshot, lease, judged, 16_384)
    assert found is not None
    return found


def code_in(hint: str) -> str:
    code = hint.partition("--from ")[2][:8]
    assert f"SELECT pgbastion.request(code => '{code}')" in hint
    assert len(code) == 8
    return code


def test_the_hint_has_a_code_for_the_text(denied: DeniedStatements) -> None:
    code = code_in(way_out(denied, UPDATE))
    found = denied.find(code.upper(), ALICE.id, opened())
    assert found == {"target": "sales", "statement": UPDATE, "scope": "exact"}
    assert code_in(way_out(denied, UPDATE)) == code
    assert code_in(way_out(denied, UPDATE.replace("7", "8"))) != code


def test_nobody_else_has_it(denied: DeniedStatements) -> None:
    code = code_in(way_out(denied, UPDATE))
    assert denied.find(code, "u-bob", opened()) is None
    assert denied.find("aaaaaaaa", ALICE.id, opened()) is None
    assert denied.find(code, ALICE.id, replace(opened(), targets={})) is None  # the target is gone


def test_for_an_hour(denied: DeniedStatements, clock: Clock) -> None:
    code = code_in(way_out(denied, UPDATE))
    clock.now += 3599
    assert denied.find(code, ALICE.id, opened())
    clock.now += 1
    assert denied.find(code, ALICE.id, opened()) is None
    assert len(denied) == 0


def test_bounded_by_number_by_person_and_by_bytes(denied: DeniedStatements) -> None:
    codes = [denied.keep(ALICE.id, SALES.id, f"text {number}", Scope.EXACT) for number in range(150)]
    assert len(denied) == 100
    assert denied.find(codes[49], ALICE.id, opened()) is None
    assert denied.find(codes[50], ALICE.id, opened())
    kept = [denied.keep(f"u{number}", SALES.id, "x" * 16_000, Scope.EXACT) for number in range(400)]
    assert len(denied) * 16_000 <= 4 * 1024 * 1024
    assert denied.find(kept[-1], "u399", opened())
    assert denied.find(codes[-1], ALICE.id, opened()) is None


@pytest.mark.parametrize(
    "sql",
    [
        "SELEC 1",
        "ALTER ROLE app_ro SUPERUSER",
        "ALTER SYSTEM SET work_mem = '1GB'",
        "COPY public.t TO PROGRAM 'sh'",
        b"UPDATE t SET a = '\xff'",
        "SHOW pgbastion.nothing",
        "SELECT pgbastion.request('rw'), 1",
        "SET standard_conforming_strings = off",
        "CREATE SUBSCRIPTION s CONNECTION 'host=h password=hunter2' PUBLICATION p",
        "UPDATE t SET a = 1 WHERE b IN (" + ", ".join(map(str, range(4000))) + ")",
    ],
)
def test_no_code_for_what_no_request_can_open(denied: DeniedStatements, sql: str | bytes) -> None:
    assert way_out(denied, sql) == ""
    assert len(denied) == 0


def test_no_code_where_nothing_can_be_asked_for(denied: DeniedStatements) -> None:
    elsewhere = replace(OPENS, environment_id="other")
    for snapshot in (opened(None), opened(elsewhere), opened(replace(OPENS, modes=frozenset({READ})))):
        assert way_out(denied, UPDATE, snapshot) == ""
    assert way_out(denied, UPDATE, user_only_reads=True) == ""
    assert way_out(denied, UPDATE)  # what was found out about a text holds no answer about rights


def test_with_parameters_its_operations_can_be_asked_for(denied: DeniedStatements) -> None:
    code = code_in(way_out(denied, "UPDATE public.orders SET paid = true WHERE id = $1"))
    found = denied.find(code, ALICE.id, opened())
    assert found is not None
    assert found["scope"] == "relations"


def test_what_a_grant_takes_away_can_be_asked_for(denied: DeniedStatements) -> None:
    only_read = replace(OPENS, modes=frozenset({READ}))
    narrow = Policy(READ, granted=GrantedRelations(frozenset({"app"}), frozenset()))
    assert code_in(way_out(denied, "SELECT * FROM public.orders", opened(only_read), narrow))
    no_ddl = Policy(WRITE, options=frozenset({GrantOption.NO_DDL}))
    assert code_in(way_out(denied, "CREATE INDEX ON public.orders (id)", None, no_ddl))
