"""Temporary tables in read-only sessions: both halves, and what is said to the server in place of a text."""

import re

import pytest

from gateway.access_mode import AccessMode, GrantOption
from gateway.statements.in_session import not_made_here, temporary_in_transaction
from gateway.statements.policy import Policy, judge, relabel
from gateway.statements.shape import kept_shape
from tests.core.granted import Granted, granted
from tests.core.test_policy_corpus import entries, refusal_of, step_sql

TEMPORARY = Policy(AccessMode.READ_ONLY, options=frozenset({GrantOption.TEMPORARY_TABLES}))
PLAIN = Policy(AccessMode.READ_ONLY)


@pytest.mark.parametrize("entry", granted("temp") + granted("plain"), ids=lambda entry: entry.id)
def test_granted(entry: Granted) -> None:
    verdict = entry.verdict
    if entry.expect == "refuse":
        assert (verdict.allowed, verdict.rule) == (False, entry.rule), f"{verdict}, but {entry.why}"
        assert verdict.hint
        assert (verdict.lifts_read_only, verdict.temporary_made, verdict.temporary_used, verdict.edits) == (False, (), (), ())
        return
    assert verdict.allowed, f"{verdict.message}, but {entry.why}"
    assert verdict.lifts_read_only == entry.lifts
    assert verdict.temporary_made == tuple(entry.made)
    assert verdict.temporary_used == tuple(entry.used)
    assert relabel(entry.sql.encode(), verdict, "").decode() == (entry.sent_as or entry.sql)
    assert {f"pg_temp.{name}" for name in (*entry.made, *entry.used)} <= set(verdict.facts.tables)


@pytest.mark.parametrize("entry", granted("temp"), ids=lambda entry: entry.id)
def test_what_is_sent_in_place_of_a_text_needs_no_other_look(entry: Granted) -> None:
    """Judged again, the text that the server gets is allowed, names each target with its schema, and is not edited again."""
    verdict = entry.verdict
    if not verdict.allowed:
        return
    again = judge(relabel(entry.sql.encode(), verdict, ""), TEMPORARY)
    assert again.allowed
    assert again.temporary_used == ()
    assert (again.lifts_read_only, again.temporary_made) == (verdict.lifts_read_only, verdict.temporary_made)


@pytest.mark.parametrize("entry", granted("temp"), ids=lambda entry: entry.id)
def test_without_the_option_nothing_of_it_is_allowed(entry: Granted) -> None:
    verdict = judge(entry.sql.encode(), PLAIN)
    if entry.lifts or entry.used or entry.made:
        assert not verdict.allowed
        assert verdict.rule in ("write-statement", "select-into")
        if re.match(r"CREATE\s+(LOCAL\s+)?TEMP|SELECT.*INTO TEMP", entry.sql):
            assert "--option temporary-tables" in verdict.hint


def test_the_option_changes_nothing_else() -> None:
    """Every text of the corpora: what is refused without temporary tables is refused with them, but for those; and the reverse."""
    changed = set()
    for entry in entries():
        plain = entry.policy
        other = Policy(plain.mode, server_major=plain.server_major, options=TEMPORARY.options)
        for step in entry.steps:
            sql = step_sql(step)
            if sql is None or refusal_of(step, plain) == refusal_of(step, other):
                continue
            verdict = judge(sql, other)
            if verdict.allowed:
                assert verdict.temporary_made or verdict.temporary_used or verdict.lifts_read_only or "pg_temp" in sql.decode()
                changed.add(sql)
            else:
                assert not judge(sql, plain).allowed, sql
    assert changed


def test_no_allowed_text_names_a_real_table_as_its_target() -> None:
    """In every form of a write, with every way to write a name: it goes to pg_temp, or it is refused."""
    forms = (
        "INSERT INTO {} VALUES (1)",
        "INSERT INTO {} AS q SELECT 1",
        "UPDATE {} SET a = 1",
        "UPDATE ONLY {} q SET a = 1",
        "DELETE FROM {}",
        "DELETE FROM {} * USING u",
        "MERGE INTO {} q USING u ON true WHEN MATCHED THEN DELETE",
        "COPY {} FROM STDIN",
        "TRUNCATE {}",
        "TRUNCATE a, {}, b",
        "ANALYZE {}",
        "ANALYZE VERBOSE a, {} (b)",
        "CREATE INDEX ON {} (a)",
        "DROP TABLE {}",
        "DROP TABLE IF EXISTS a, {}",
        "WITH q AS (INSERT INTO {} VALUES (1) RETURNING 1) SELECT 1",
        "WITH q AS (DELETE FROM {} RETURNING 1) INSERT INTO z SELECT 1",
        "PREPARE p AS DELETE FROM {}",
        "EXPLAIN ANALYZE UPDATE {} SET a = 1",
    )
    for form in forms:
        for name in ("t", '"T t"', "Folded", 'U&"\\0074"', '"a""b"', "pg_temp.t", 'pg_temp."T t"', "PG_TEMP.t", "  t"):
            text = form.format(name)
            verdict = judge(text.encode(), TEMPORARY)
            assert verdict.allowed, text
            sent = relabel(text.encode(), verdict, "").decode()
            assert judge(sent.encode(), TEMPORARY).temporary_used == (), sent
        for name in (
            "public.t",
            '"pg_temp ".t',
            "pg_temp_1.t",
            "pg_toast_temp_1.t",
            '"PG_TEMP".t',
            "db.pg_temp.t",
            "pg_catalog.t",
        ):
            text = form.format(name)
            verdict = judge(text.encode(), TEMPORARY)
            assert not verdict.allowed, text
            assert verdict.rule == "write-statement", (text, verdict.rule)


def test_what_is_edited_is_not_remembered_for_its_shape() -> None:
    for text, kept in ((b"INSERT INTO t VALUES (1)", False), (b"SELECT a FROM t WHERE b = 1", True)):
        verdict = judge(text, TEMPORARY)
        assert verdict.allowed
        assert (kept_shape(text, verdict) is not None) == kept


def test_what_the_session_refuses_has_the_words_of_its_rule() -> None:
    verdict = judge(b"INSERT INTO orders VALUES (1)", TEMPORARY)
    refused = not_made_here(verdict, "orders")
    assert (refused.allowed, refused.rule, refused.sqlstate) == (False, "write-statement", "25006")
    assert "orders" in refused.message
    assert "CREATE TEMP TABLE" in refused.hint
    assert refused.edits == refused.temporary_used == ()
    inside = temporary_in_transaction(judge(b"CREATE TEMP TABLE x (a int)", TEMPORARY))
    assert (inside.allowed, inside.rule, inside.lifts_read_only) == (False, "temporary-table-in-transaction", False)
    assert inside.temporary_made == ()
