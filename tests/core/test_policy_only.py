"""Grants of access requests for operations or for statements: the corpus of what passes and what does not, and what is said of it.

Both halves: what was not asked for is refused, and what was (with what every client needs around it) passes.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.access_mode import AccessMode, GrantOption
from gateway.judging.codec import LENGTH, Requests, encode_request
from gateway.session.verdicts import PolicyInForce
from gateway.statements.granted_relations import GrantedRelations
from gateway.statements.only_these import OnlyThese
from gateway.statements.policy import Policy, judge, judge_setting
from gateway.statements.sameness import digests
from gateway.statements.verdict import Verdict

OPERATIONS = OnlyThese(
    operations=frozenset(
        {
            ("select", "app", "orders"),
            ("update", "app", "orders"),
            ("select", "app", "lines"),
            ("delete", "app", "lines"),
            ("select", "app", "log"),
            ("insert", "app", "log"),
            ("merge", "app", "stock"),
            ("insert", "app", "stock"),
            ("update", "app", "stock"),
            ("truncate", "app", "scratch"),
            ("insert", "Sales", "Orders 2030"),
        }
    )
)
TEXTS = (
    "DELETE FROM orders WHERE id = 7",
    "UPDATE app.orders SET a = 'x' WHERE id IN (1, 2)",
    "SELECT * FROM app.orders WHERE name = 'ann'",
    "TRUNCATE app.scratch",
    "DELETE FROM app.log",
    "DO 'BEGIN END'",
    "CREATE TABLE app.x (a int)",
    "EXPLAIN ANALYZE DELETE FROM app.lines WHERE id = 3",
    "SELECT app.f(1)",
)


def statements(*texts: str) -> OnlyThese:
    return OnlyThese(statements=frozenset(each.hex() for each in digests("; ".join(texts)) or ()))


STATEMENTS = statements(*TEXTS)
ENTRIES = [json.loads(line) for line in (Path(__file__).parent.parent / "policy" / "only.jsonl").read_text().splitlines()]
_OF = {"operations": OPERATIONS, "statements": STATEMENTS}


def policy_of(only: OnlyThese | None, mode: AccessMode = AccessMode.READ_WRITE) -> Policy:
    return Policy(mode, only=only)


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry["id"] for entry in ENTRIES])
def test_corpus(entry: dict[str, str]) -> None:
    kind = entry["id"].partition("-")[0]
    verdict = judge(entry["sql"].encode(), policy_of(_OF[kind], AccessMode(entry["mode"])))
    assert verdict.rule != "internal-error"
    assert verdict.allowed == (entry["expect"] == "allow"), f"{verdict.rule}: {verdict.message}, but {entry['why']}"
    if verdict.allowed:
        return
    assert verdict.hint
    rule = entry.get("rule", "operation-not-granted" if kind == "operations" else "statement-not-granted")
    if rule == "*" or (entry["mode"] == "read_only" and "(" in entry["sql"]):
        assert verdict.rule
    else:
        assert verdict.rule == rule
        assert verdict.sqlstate
        assert verdict.position > 0


@pytest.mark.parametrize("entry", [each for each in ENTRIES if "rule" not in each], ids=lambda entry: entry["id"])
def test_without_the_request_the_mode_lets_it_pass(entry: dict[str, str]) -> None:
    """So that the corpus is about the request, and not about what the mode refuses anyway."""
    policy = replace(policy_of(None, AccessMode(entry["mode"])), options=_UNFILTERED)
    assert judge(entry["sql"].encode(), policy).allowed or entry["mode"] == "read_only"


_UNFILTERED = frozenset({GrantOption.UNFILTERED_WRITES})


def refused(sql: str, policy: Policy) -> Verdict:
    verdict = judge(sql.encode(), policy)
    assert not verdict.allowed
    return verdict


def test_the_caret_stands_at_what_was_not_asked_for() -> None:
    sql = "UPDATE app.orders SET a = 'ä' FROM app.secret WHERE true"
    assert sql[refused(sql, policy_of(OPERATIONS)).position - 1 :].startswith("app.secret")
    sql = "SELECT 1; /* ä */ DELETE FROM orders WHERE id = 8"
    assert sql[refused(sql, policy_of(STATEMENTS)).position - 1 :].startswith("DELETE")


def test_what_to_do() -> None:
    policy = policy_of(OPERATIONS)
    assert "Write it with its schema: app.orders." in refused("SELECT * FROM orders", policy).hint
    assert "pgbastion request create" in refused("SELECT * FROM app.secret", policy).hint
    assert "update app.orders, app.stock" in refused("SELECT * FROM app.secret", policy).hint
    assert "--scope exact" in refused("SELECT app.f(1)", policy).hint
    assert "literals" in refused("SELECT * FROM app.secret", policy_of(STATEMENTS)).hint


def test_both_are_open_where_two_requests_were_granted() -> None:
    policy = policy_of(OnlyThese(STATEMENTS.statements, OPERATIONS.operations))
    for sql in (
        "DELETE FROM orders WHERE id = 7",
        "DELETE FROM app.lines WHERE id = 1",
        "PREPARE p AS DELETE FROM orders WHERE id = 7",
    ):
        assert judge(sql.encode(), policy).allowed, sql
    for sql in ("DELETE FROM orders WHERE id = 8", "SET search_path = other", "SELECT set_config('search_path', 'x', false)"):
        refused(sql, policy)
    reading = replace(policy, mode=AccessMode.READ_ONLY)
    only = statements("SELECT * FROM app.secret WHERE id = 1")
    reading = replace(reading, only=OnlyThese(only.statements, OPERATIONS.operations))
    assert judge(b"SELECT * FROM app.secret WHERE id = 1", reading).allowed
    assert judge(b"SELECT * FROM app.orders", reading).allowed
    refused("SELECT * FROM app.secret WHERE id = 2", reading)


def test_a_list_of_relations_holds_besides() -> None:
    lines = GrantedRelations(frozenset(), frozenset({("app", "lines")}))
    for mode in AccessMode:
        policy = replace(policy_of(OPERATIONS, mode), granted=lines)
        assert judge(b"SELECT * FROM app.lines", policy).allowed
        refused("SELECT * FROM app.orders", policy)
    exact = replace(policy_of(STATEMENTS, AccessMode.READ_ONLY), granted=lines)
    assert refused("SELECT * FROM app.orders WHERE name = 'ann'", exact).rule == "table-not-granted"


def test_a_target_may_list_functions() -> None:
    policy = replace(policy_of(OPERATIONS), allowed_functions=frozenset({"app.f"}))
    assert judge(b"UPDATE app.orders SET a = app.f(a) WHERE id = 2", policy).allowed
    refused("UPDATE app.orders SET a = app.g(a) WHERE id = 2", policy)


def test_settings_at_the_beginning_of_a_session() -> None:
    for mode in AccessMode:
        exact, plain = policy_of(STATEMENTS, mode), policy_of(OPERATIONS, mode)
        assert (judge_setting("search_path", "public", plain) is None) == (mode is AccessMode.READ_ONLY)
        assert judge_setting("search_path", "public", exact) is not None
        for name, value in (("timezone", "UTC"), ("datestyle", "ISO"), ("extra_float_digits", "3"), ("statement_timeout", "5")):
            assert judge_setting(name, value, exact) is None


def test_verdicts_go_by_the_exact_text() -> None:
    """What is remembered for a shape would let another literal through."""
    in_force = PolicyInForce(policy_of(STATEMENTS), 100, 100_000, 1000)
    assert in_force.judge(b"DELETE FROM orders WHERE id = 7").verdict.allowed
    assert not in_force.shapes
    assert in_force.by_shape(b"DELETE FROM orders WHERE id = 8") is None
    shared = PolicyInForce(policy_of(OPERATIONS), 100, 100_000, 1000)
    assert shared.judge(b"DELETE FROM app.lines WHERE id = 7").verdict.allowed
    assert shared.by_shape(b"DELETE FROM app.lines WHERE id = 8") is not None


def test_verdicts_of_one_request_are_not_anothers() -> None:
    policies = [policy_of(only) for only in (None, OPERATIONS, STATEMENTS, OnlyThese(), statements("SELECT 2"))]
    assert len({policy.revision for policy in policies}) == len(policies)
    refused("SELECT * FROM app.orders", policies[3])


@pytest.mark.parametrize("only", [OPERATIONS, STATEMENTS, OnlyThese(STATEMENTS.statements, OPERATIONS.operations)])
def test_a_judging_child_is_told(only: OnlyThese) -> None:
    frame = encode_request(b"SELECT 1", policy_of(only))
    assert Requests().decode(frame[LENGTH.size :]) == (b"SELECT 1", policy_of(only))


def test_a_statement_too_deep_to_compare_is_refused() -> None:
    deep = "SELECT " + "-" * 2 + " \n" + "NOT " * 3000 + "true"
    assert not judge(deep.encode(), policy_of(STATEMENTS)).allowed
