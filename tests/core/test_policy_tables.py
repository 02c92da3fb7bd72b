"""Grants that open only some relations: the corpus of what passes and what does not, and what is said of it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.access_mode import AccessMode, GrantOption
from gateway.statements.catalog import build_catalog
from gateway.statements.catalog_rows import CatalogRows
from gateway.statements.catalogue import SYSTEM_RELATIONS
from gateway.statements.granted_relations import GrantedRelations
from gateway.statements.policy import Policy, judge
from gateway.statements.verdict import Verdict

GRANTED = GrantedRelations(frozenset({"reports"}), frozenset({("app", "orders"), ("Sales", "Orders 2030")}))
ENTRIES = [json.loads(line) for line in (Path(__file__).parent.parent / "policy" / "tables.jsonl").read_text().splitlines()]


def policy_of(mode: AccessMode, granted: GrantedRelations | None = GRANTED) -> Policy:
    options = frozenset({GrantOption.UNFILTERED_WRITES}) if mode is AccessMode.READ_WRITE else frozenset()
    return Policy(mode, server_major=16, granted=granted, options=options)


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry["id"] for entry in ENTRIES])
def test_corpus(entry: dict[str, str]) -> None:
    verdict = judge(entry["sql"].encode(), policy_of(AccessMode(entry["mode"])))
    assert verdict.rule != "internal-error"
    assert verdict.allowed == (entry["expect"] == "allow"), f"{verdict.rule}: {verdict.message}, but {entry['why']}"
    if not verdict.allowed and "table_to_xml" not in entry["sql"]:
        assert (verdict.rule, verdict.sqlstate) == ("table-not-granted", "42501")
        assert verdict.position > 0
        assert verdict.hint


@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if entry["expect"] == "refuse"], ids=lambda entry: entry["id"])
def test_only_the_grant_refuses_it(entry: dict[str, str]) -> None:
    if "_to_xml" in entry["sql"]:
        return
    assert judge(entry["sql"].encode(), policy_of(AccessMode(entry["mode"]), None)).allowed


def refusal(sql: str, granted: GrantedRelations = GRANTED, **more: object) -> Verdict:
    verdict = judge(sql.encode(), replace(policy_of(AccessMode.READ_ONLY, granted), **more))
    assert not verdict.allowed
    return verdict


def test_the_caret_stands_at_the_name() -> None:
    sql = "SELECT 'ä' FROM app.orders JOIN app.secret ON true"
    assert sql[refusal(sql).position - 1 :].startswith("app.secret")


def test_what_to_do() -> None:
    assert "app.orders" in refusal("SELECT * FROM app.secret").hint
    assert "An admin" in refusal("SELECT * FROM app.secret").hint
    assert "Write it with its schema: app.orders." in refusal("SELECT * FROM orders").hint


def test_an_unqualified_name_must_be_granted_wherever_it_may_be_found() -> None:
    one, both = (
        GrantedRelations(frozenset({"public"}), frozenset()),
        GrantedRelations(frozenset({"public", "app"}), frozenset()),
    )
    policy = policy_of(AccessMode.READ_ONLY, one)
    assert judge(b"SELECT * FROM t", policy).allowed
    two = frozenset({"public", "app"})
    refusal("SELECT * FROM t", one, allowed_schemas=two)
    assert judge(b"SELECT * FROM t", replace(policy, granted=both, allowed_schemas=two)).allowed


def test_a_schema_that_does_not_exist_hides_nothing() -> None:
    """The one named after the login is on every search_path, and mostly is not there."""
    path = (("app_ro", "app_ro", '"$user", public', '"$user", public'),)
    one = GrantedRelations(frozenset({"public"}), frozenset())
    there = build_catalog(CatalogRows(path=path, schemas=(("public",), ("app_ro",))), 16)
    absent = build_catalog(CatalogRows(path=path, schemas=(("public",),)), 16)
    unknown = build_catalog(CatalogRows(path=path), 16)
    policy = policy_of(AccessMode.READ_ONLY, one)
    assert judge(b"SELECT * FROM t", replace(policy, catalog=absent)).allowed
    for catalog in (there, unknown):
        refusal("SELECT * FROM t", one, catalog=catalog)


def test_a_view_counts_by_its_own_name() -> None:
    """What it reads beneath is its owner's decision; one that is not listed is closed, even if it reads what is."""
    rows = CatalogRows(
        path=(("app_ro", "app_ro", "public", "public"),),
        views=(("app", "orders", " SELECT id FROM app.secret;", None), ("app", "open", " SELECT id FROM app.orders;", None)),
        schemas=(("public",), ("app",)),
    )
    policy = replace(policy_of(AccessMode.READ_ONLY), catalog=build_catalog(rows, 16))
    assert judge(b"SELECT * FROM app.orders", policy).allowed
    assert judge(b"SELECT * FROM app.open", policy).rule == "table-not-granted"


def test_temporary_tables_are_written_with_their_schema() -> None:
    policy = replace(policy_of(AccessMode.READ_ONLY), options=frozenset({GrantOption.TEMPORARY_TABLES}))
    allowed = (
        "CREATE TEMP TABLE scratch AS SELECT * FROM app.orders",
        "INSERT INTO scratch SELECT * FROM app.orders",
        "UPDATE scratch SET a = 1",
        "TRUNCATE scratch",
        "CREATE INDEX ON scratch (a)",
        "DROP TABLE scratch",
        "SELECT * FROM pg_temp.scratch",
    )
    for sql in allowed:
        verdict = judge(sql.encode(), policy)
        assert verdict.allowed, (sql, verdict.message)
    for sql in ("CREATE TEMP TABLE scratch AS SELECT * FROM app.secret", "INSERT INTO scratch SELECT * FROM app.secret"):
        assert judge(sql.encode(), policy).rule == "table-not-granted"
    assert "pg_temp" in judge(b"SELECT * FROM scratch", policy).hint


def test_verdicts_of_one_grant_are_not_anothers() -> None:
    policies = [
        policy_of(AccessMode.READ_ONLY, granted) for granted in (None, GRANTED, GrantedRelations(frozenset(), frozenset()))
    ]
    policies.append(replace(policies[0], metered=True))
    assert len({policy.revision for policy in policies}) == len(policies)
    assert not judge(b"SELECT * FROM app.orders", policies[2]).allowed


def test_system_relations_are_plain_names() -> None:
    assert {"pg_class", "pg_stats", "pg_stat_activity"} <= SYSTEM_RELATIONS
    assert all(name.startswith("pg_") for name in SYSTEM_RELATIONS)
