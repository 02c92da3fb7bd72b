"""The permanent corpus, both halves: what must be refused is refused, what honest people and tools send passes."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.access_mode import AccessMode
from gateway.statements.policy import Policy, judge, judge_parameter_types, judge_setting, parse_options

_FOLDER = Path(__file__).parent.parent / "policy"


@dataclass(frozen=True)
class Entry:
    id: str
    expect: str
    why: str
    steps: list[dict]
    policy: Policy


def entries() -> list[Entry]:
    found = []
    for name in ("corpus.jsonl", "own.jsonl"):
        for line in (_FOLDER / name).read_text().splitlines():
            fields = json.loads(line)
            if "database" in fields:
                continue  # these need a catalog: tests/policy/test_policy_database.py
            policy = Policy(AccessMode.READ_ONLY, server_major=fields.get("server_major", 18))
            found.append(Entry(fields["id"], fields["expect"], fields["why"], fields["steps"], policy))
    return found


def step_sql(step: dict) -> bytes | None:
    if "sql" in step:
        return step["sql"].encode()
    if "hex" in step:
        return bytes.fromhex(step["hex"])
    if "repeat" in step:
        return "".join(text * times for text, times in step["repeat"]).encode()
    return None


def refusal_of(step: dict, policy: Policy) -> str | None:
    """The rule that refuses a step, or None."""
    sql = step_sql(step)
    if sql is not None:
        verdict = judge(sql, policy)
        if not verdict.allowed:
            return verdict.rule
        types = judge_parameter_types(step.get("oids", []), policy)
        return types.rule if types else None
    for name, value in step["startup"].items():
        pairs = parse_options(value) if name == "options" else ((name, value),)
        if not isinstance(pairs, tuple):
            return pairs.rule
        for pair in pairs:
            refused = judge_setting(*pair, policy)
            if refused is not None:
                return refused.rule
    return None


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.id)
def test_corpus(entry: Entry) -> None:
    rules = [refusal_of(step, entry.policy) for step in entry.steps]
    assert "internal-error" not in rules
    if entry.expect == "refuse":
        assert any(rules), f"passes, but {entry.why}"
    else:
        assert not any(rules), f"refused by {rules}, but {entry.why}"


def test_every_refusal_says_what_to_do() -> None:
    for entry in entries():
        for step in entry.steps:
            sql = step_sql(step)
            if sql is None:
                continue
            verdict = judge(sql, entry.policy)
            if verdict.allowed:
                assert (verdict.rule, verdict.sqlstate, verdict.message) == ("allowed", "", "")
                continue
            assert len(verdict.sqlstate) == 5, entry.id
            assert verdict.message, entry.id
            assert 0 <= verdict.position <= len(sql.decode("utf-8", "replace")) + 1, entry.id
            if verdict.rule != "syntax-error":
                assert verdict.hint, entry.id
                assert verdict.rule in verdict.message, entry.id
