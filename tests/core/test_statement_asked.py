"""What a file of SQL needs, and that it lets exactly that through: of generated statements, and of all corpora."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random

import pytest

from gateway.access_mode import AccessMode
from gateway.statements.asked import MAX_BYTES, MAX_STATEMENTS, Derived, NotDerived, derive
from gateway.statements.only_these import COMMANDS, OnlyThese
from gateway.statements.policy import Policy, judge
from gateway.statements.sameness import digests
from tests.generated.grammar import Grammar, grammar
from tests.generated.queries import Honest
from tests.generated.scripts import honest_script
from tests.generated.spelling import respelled

CORPORA = Path(__file__).parents[1] / "policy"
RO, RW = AccessMode.READ_ONLY, AccessMode.READ_WRITE
COUNT = 50


def derived(*texts: str, exact: bool = False) -> Derived:
    found = derive(texts, Policy, exact=exact)
    assert isinstance(found, Derived), found
    return found


def not_derived(*texts: str, exact: bool = False) -> NotDerived:
    found = derive(texts, Policy, exact=exact)
    assert isinstance(found, NotDerived), found
    return found


def allows(found: Derived, text: str, only: OnlyThese | None = None) -> bool:
    verdict = judge(text.encode(), Policy(found.mode, only=only or found.only))
    assert verdict.rule != "internal-error", text
    return verdict.allowed


def check_operations(texts: list[str]) -> bool:
    """Whether they could be asked for; if so: all that is open is needed, and all of it passes."""
    found = derive(texts, Policy, exact=False)
    if isinstance(found, NotDerived):
        return False
    assert all(allows(found, text) for text in texts)
    assert found.mode is RW or all(each.not_read_only == "" for each in found.statements)
    operations = found.only.operations
    assert operations == {each for statement in found.statements for each in statement.operations}
    for each in operations:
        command, schema, name = each
        others = {(command, schema, f"{name}x"), (command, f"{schema}x", name)}
        others |= {(other, schema, name) for other in COMMANDS if other != command}
        less = OnlyThese(operations=(operations - {each}) | others)
        assert not all(allows(found, text, less) for text in texts), (texts, each)
    return True


def check_exact(texts: list[str]) -> bool:
    found = derive(texts, Policy, exact=True)
    if isinstance(found, NotDerived):
        return False
    assert all(allows(found, text) for text in texts)
    return True


@cache
def qualified() -> Grammar:
    """All tables are written with their schemas."""
    found = grammar("business", 16, xml=True)
    tables = tuple(
        each if "." in each.name or each.name.startswith("pg_") else replace(each, name=f"public.{each.name}")
        for each in found.tables
    )
    return replace(found, tables=tables)


def queries(seed: str) -> Iterator[str]:
    for number in range(COUNT):
        made = Honest(qualified(), Random(f"{seed} {number}"))
        yield str(made.query(made.random.choice((0, 1, 2)), (), None)[0])


def test_generated_scripts() -> None:
    """Queries, cursors, EXPLAIN, COPY, PREPARE, batches: what honest readers send, tables written as they like."""
    asked = 0
    for number in range(2 * COUNT):
        texts = [str(each) for each in honest_script(f"asked {number}", grammar("business", 16, xml=True), 16)]
        asked += check_operations(texts)
        check_exact(texts)
    assert asked > COUNT


def test_generated_writes() -> None:
    """The same queries inside of what changes rows."""
    asked = 0
    for number, query in enumerate(queries("writes")):
        text = (
            f"INSERT INTO app.log {query}",
            f"UPDATE app.stock SET n = 1 WHERE EXISTS ({query}) RETURNING n",
            f"DELETE FROM app.lines USING ({query}) AS gone WHERE true",
            f"WITH x AS ({query}), y AS (UPDATE app.stock SET n = 2 WHERE EXISTS (SELECT 1 FROM x) RETURNING *) SELECT * FROM y",
            f"MERGE INTO app.stock USING ({query}) q ON true WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (1)",
            f"COPY (WITH y AS (DELETE FROM app.lines WHERE EXISTS ({query}) RETURNING id) SELECT * FROM y) TO STDOUT",
        )[number % 6]
        asked += check_operations([text])
    assert asked > COUNT / 2
    assert {each.kind for each in derived("INSERT INTO app.log SELECT 1").statements} == {"insert"}


def test_of_generated_statements_no_other_passes_and_every_spelling_does() -> None:
    texts = [text for text in queries("exact") if isinstance(derive([text], Policy, exact=True), Derived)]
    assert len(texts) > COUNT / 2
    random = Random("spelling")
    for one, other in zip(texts, [*texts[1:], texts[0]], strict=True):
        found = derived(one, exact=True)
        assert allows(found, respelled(one, random))
        assert allows(found, other) is (digests(one) == digests(other))


def corpus() -> Iterator[str]:
    for name in ("corpus", "own", "granted", "tables", "only"):
        for line in (CORPORA / f"{name}.jsonl").read_text().splitlines():
            fields = json.loads(line)
            yield from (step["sql"] for step in fields.get("steps", [fields]) if "sql" in step)


def test_all_corpora() -> None:
    """Whatever is in them, also the attacks: what can be asked for is let through, and nothing is said that does not hold."""
    both = [(check_operations([text]), check_exact([text])) for text in dict.fromkeys(corpus())]
    assert sum(operations for operations, _ in both) > 200
    assert sum(exact for _, exact in both) > 500


@pytest.mark.parametrize(
    ("text", "operations"),
    [
        ("SELECT * FROM orders", "select public.orders"),
        ("SELECT * FROM a.t FOR UPDATE", "select a.t; update a.t"),
        ("UPDATE a.t SET x = 1 WHERE id = $1", "update a.t"),
        ("UPDATE a.t SET x = 1 WHERE id = 1 RETURNING *", "select a.t; update a.t"),
        ("INSERT INTO a.t SELECT * FROM a.u ON CONFLICT (id) DO UPDATE SET x = 1", "select a.u; insert a.t; update a.t"),
        ("MERGE INTO a.t USING a.u ON true WHEN MATCHED THEN DELETE", "select a.u; delete a.t; merge a.t"),
        ("TRUNCATE a.t, a.u", "truncate a.t, a.u"),
        ("BEGIN; DELETE FROM a.t WHERE id = 1; COMMIT", "delete a.t"),
        ("COPY a.t FROM STDIN", "insert a.t"),
        ("EXPLAIN ANALYZE DELETE FROM a.t WHERE id = 1", "delete a.t"),
        ("WITH x AS (SELECT * FROM a.u) SELECT * FROM x, pg_class", "select a.u"),
    ],
)
def test_operations(text: str, operations: str) -> None:
    assert derived(text).in_words == operations


@pytest.mark.parametrize(
    ("text", "exact", "rule", "says"),
    [
        ("UPDATE orders SET x = 1 WHERE id = 1", False, "operation-not-granted", "several tables"),
        ("SELECT 1", False, "no-operations", "neither read nor change"),
        ("DROP TABLE a.t", False, "operation-not-granted", "cannot be asked for as an operation"),
        ("SELECT a.f(1)", False, "operation-not-granted", "function a.f"),
        ("DELETE FROM a.t", False, "where-missing", "every row"),
        ("SELECT * FROM a.t WHERE id = $1", True, "parameter-not-exact", "not what it will run with"),
        ("COPY a.t FROM STDIN", True, "statement-not-exact", "COPY"),
        ("EXECUTE p(1)", True, "statement-not-exact", "EXECUTE"),
        ("SET search_path = a; DELETE FROM t", True, "statement-not-granted", "search_path"),
        ("BEGIN; COMMIT", True, "nothing-asked", "needs no asking"),
        ("CREATE ROLE r", True, "role-change", "database roles"),
        ("-- nothing", False, "nothing-asked", "no statement"),
        ("SELEC 1", False, "syntax-error", "SELEC"),
        ("SELECT '\0'", True, "statement-too-complex", "characters"),
        ("SELECT '\ud800'", True, "statement-too-complex", "characters"),
        ("SELECT " + "(" * 5000 + "1" + ")" * 5000, True, "statement-too-complex", "nest"),
        ("SELECT 1;" * (MAX_STATEMENTS + 1), True, "request-too-long", "more than"),
        (f"SELECT '{'x' * MAX_BYTES}'", True, "request-too-long", "longer"),
    ],
)
def test_what_cannot_be_asked_for_says_why(text: str, exact: bool, rule: str, says: str) -> None:
    found = not_derived(text, exact=exact)
    assert found.rule == rule
    assert says in found.message
    assert found.hint


def test_which_statement_and_where() -> None:
    found = not_derived("SELECT * FROM a.t", "  -- ä\n SELECT 1; /* ö */ UPDATE t SET x = 'ü' WHERE id = 1")
    assert found.statement == 3
    text = "UPDATE t SET x = 'ü' WHERE id = 1"
    assert text[found.position - 1 :].startswith("t SET")


def test_a_statement_that_was_approved_word_by_word_needs_no_where() -> None:
    found = derived("TRUNCATE a.t; DELETE FROM a.u", exact=True)
    assert found.mode is RW
    assert allows(found, "DELETE FROM a.u")
    assert [each.not_read_only for each in found.statements] == ["write-statement", "write-statement"]


def test_reading_is_asked_for_where_reading_suffices() -> None:
    assert derived("SELECT * FROM a.t").mode is RO
    assert derived("SELECT * FROM a.t; UPDATE a.u SET x = 1 WHERE id = 1").mode is RW
    several = derive(["SELECT * FROM t"], lambda mode: Policy(mode, allowed_schemas=frozenset({"a", "b"})), exact=False)
    assert isinstance(several, NotDerived)


def test_what_a_target_lists_may_be_asked_for() -> None:
    found = derive(
        ["UPDATE a.t SET x = a.f(x) WHERE id = 1"], lambda mode: Policy(mode, allowed_functions=frozenset({"a.f"})), exact=False
    )
    assert isinstance(found, Derived)
