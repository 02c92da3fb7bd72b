"""The table of rules is whole, says no more than there is, and its examples are true."""

import ast
import json
from pathlib import Path

import pytest

from gateway.services import policy_rules
from gateway.services.policy_rules import RULES, Ask, Rule
from gateway.statements.catalog import Catalog, build_catalog
from gateway.statements.catalog_rows import CatalogRows
from gateway.statements.granted_relations import GrantedRelations
from gateway.statements.policy import Policy, judge, judge_setting, parse_options
from tests.core.test_policy_corpus import entries, refusal_of

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "read-only.md"
_MAKERS = {"Refusal": 0, "_refuse": 0, "refused": 0, "Verdict": 1, "refuse": 1, "refuse_now": 1}


def rules_in_source() -> set[str]:
    """Every rule id that is written down in a call that makes a refusal."""
    found = set()
    for ring in ("statements", "judging", "session"):
        for file in (ROOT / "gateway" / ring).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if not isinstance(node, ast.Call):
                    continue
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if name == "unknown_name":
                    found.add(f"{ast.literal_eval(node.args[0])}-not-listed")
                place = _MAKERS.get(name)
                if name == "Verdict" and ast.unparse(node.args[0]) == "True":
                    continue
                if place is not None and len(node.args) > place:
                    rule = node.args[place]
                    if (
                        isinstance(rule, ast.Constant)
                        and isinstance(rule.value, str)
                        and " " not in rule.value
                        and "-" in rule.value
                    ):
                        found.add(rule.value)
    return found


def test_every_rule_in_the_source_is_in_the_table_and_no_other() -> None:
    ids = [rule.id for rule in RULES]
    assert len(ids) == len(set(ids))
    assert rules_in_source() - {"-c"} == set(ids)


def test_every_rule_of_the_corpus_is_in_the_table() -> None:
    found = {refusal_of(step, entry.policy) for entry in entries() for step in entry.steps} - {None}
    assert found <= {rule.id for rule in RULES}
    assert len(found) > 20


_FUNCTION = ("20001", "public", "f", "f", "1", "1", "23", "plpgsql", None, "false", None)


def database(rule: Rule) -> Catalog:
    """One that holds what `rule.given` says, in the shape of the gateway's own questions."""
    rows: dict[str, list[tuple[str | None, ...]]] = {"path": [("me", "me", '"$user", public', "app")], "functions": [_FUNCTION]}
    match rule.id:
        case "view-not-allowed":
            rows["views"] = [("public", "v", " SELECT public.f(1) AS f;", None)]
        case "row-policy":
            rows["row_policies"] = [("public", "orders", "mine", "public.f(1) = 1")]
        case "planned-expression":
            rows["planned_expressions"] = [("public", "orders", "by_f", "public.f(1)")]
        case "foreign-table":
            rows["foreign_tables"] = [("public", "far", "far", "postgres_fdw")]
        case "user-type":
            rows["types"] = [("20002", "public", "watched", "b", "U", "false", "0", "0", "0", "20001", "f", None)]
            rows["columns"] = [("20003", "public", "orders", "a", "20002")]
        case "cast-not-listed":
            rows["casts"] = [("23", "int4", "25", "text", "e", "f", "20001", "f")]
        case "comparison-not-listed":
            rows["operator_classes"] = [("25", "text", "20001", "f")]
    catalog = build_catalog(CatalogRows.from_answers(rows), 18)
    return catalog.as_stale() if rule.id == "catalog-stale" else catalog


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_an_example_is_refused_by_its_rule(rule: Rule) -> None:
    if rule.ask is Ask.REMARK:
        return
    policy = Policy(
        rule.mode,
        catalog=database(rule) if rule.given else None,
        options=rule.options,
        max_changed_rows=rule.max_changed_rows,
        hide_activity=rule.id == "activity-hidden",
        metered=rule.id == "rows-uncounted",
        granted=GrantedRelations(frozenset({"public"}), frozenset()) if rule.id == "table-not-granted" else None,
    )
    if rule.ask is Ask.STARTUP:
        name, _, value = rule.example.partition("=")
        verdict = parse_options(value) if name == "options" else judge_setting(name, value, policy)
    else:
        verdict = judge(rule.example.encode(), policy)
    assert verdict is not None
    assert not isinstance(verdict, tuple)
    assert (verdict.allowed, verdict.rule, verdict.sqlstate) == (False, rule.id, rule.sqlstate)


def test_the_document_has_the_table_as_it_is() -> None:
    _, _, rest = DOCUMENT.read_text().partition("<!-- rules: begin -->\n")
    table, end, _ = rest.partition("<!-- rules: end -->")
    assert end
    assert table == policy_rules.as_markdown(), "write it anew: pgbastion policy rules --markdown"


def test_json_can_carry_it() -> None:
    assert json.dumps([policy_rules.shown(rule.example) for rule in RULES])
