"""What grants take from read-write sessions: objects, unfiltered changes, rows that nobody counts; or only a report of it."""

from itertools import product

import pytest

from gateway.access_mode import AccessMode, GrantOption
from gateway.statements.in_session import in_portions, over_row_ceiling
from gateway.statements.policy import Policy, judge
from gateway.statements.shape import kept_shape
from gateway.statements.verdict import Verdict
from tests.core.granted import Granted, granted

RULES = {"ddl-not-granted", "where-missing", "row-ceiling-uncounted"}
ENTRIES = [each for prefix in ("where", "ddl", "ceiling", "report") for each in granted(prefix)]
EVERY = [
    Policy(AccessMode.READ_WRITE, options=frozenset(options), max_changed_rows=ceiling)
    for ddl, where, report, ceiling in product((0, 1), (0, 1), (0, 1), (None, 10))
    for options in [
        [
            *[GrantOption.NO_DDL] * ddl,
            *[GrantOption.UNFILTERED_WRITES] * where,
            *[GrantOption.REPORT_ONLY] * report,
        ]
    ]
]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_granted(entry: Granted) -> None:
    verdict = entry.verdict
    if entry.expect == "refuse":
        assert (verdict.allowed, verdict.rule) == (False, entry.rule), entry.why
        assert verdict.hint or verdict.rule == "syntax-error"
        assert verdict.position > 0 or verdict.rule == "syntax-error"
        assert verdict.row_ceiling == 0
        return
    assert verdict.allowed, f"{verdict.message}, but {entry.why}"
    assert verdict.reported == (entry.rule if entry.expect == "report" else "")
    assert verdict.message.endswith(f"(rule {entry.rule})" if entry.expect == "report" else "")
    assert bool(verdict.message) == (entry.expect == "report")
    assert verdict.row_ceiling == entry.row_ceiling
    assert not verdict.lifts_read_only


def _tells(policy: Policy, text: str) -> Verdict:
    return judge(text.encode(), policy)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_report_only_refuses_no_less_and_no_more_than_it_says(entry: Granted) -> None:
    """Under every combination: what is refused by a grant's own rule is what report-only reports, and nothing else changes."""
    for enforced in (policy for policy in EVERY if GrantOption.REPORT_ONLY not in policy.options):
        policy = Policy(
            enforced.mode,
            options=enforced.options | {GrantOption.REPORT_ONLY},
            max_changed_rows=enforced.max_changed_rows,
        )
        strict, lenient = judge(entry.sql.encode(), enforced), judge(entry.sql.encode(), policy)
        if lenient.allowed:
            assert strict.allowed == (lenient.reported == "")
            assert lenient.reported in RULES | {""}
            if lenient.reported:
                assert (strict.rule, strict.message, strict.node) == (lenient.reported, lenient.message, lenient.node)
        else:
            assert not strict.allowed
            assert lenient.rule not in RULES


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_a_wider_grant_allows_no_less(entry: Granted) -> None:
    """Taking no-ddl away, adding unfiltered-writes, lifting the ceiling: what passed before passes after."""
    for narrow in EVERY:
        if not judge(entry.sql.encode(), narrow).allowed:
            continue
        for options, ceiling in (
            (narrow.options - {GrantOption.NO_DDL}, narrow.max_changed_rows),
            (narrow.options | {GrantOption.UNFILTERED_WRITES}, narrow.max_changed_rows),
            (narrow.options, None),
        ):
            wide = Policy(AccessMode.READ_WRITE, options=frozenset(options), max_changed_rows=ceiling)
            assert judge(entry.sql.encode(), wide).allowed, (narrow.options, options)


def test_every_form_of_a_change_inside_another_is_seen() -> None:
    """Each place where a statement can stand in another: a change without WHERE is found there."""
    for change in ("DELETE FROM t", "UPDATE t SET a = 1"):
        for place in (
            "WITH g AS ({}) SELECT 1",
            "WITH g AS ({}), h AS (SELECT 1) INSERT INTO u SELECT 1",
            "EXPLAIN ANALYZE {}",
            "EXPLAIN (VERBOSE, ANALYZE true) WITH g AS ({}) SELECT 1",
            "PREPARE p AS {}",
            "PREPARE p AS WITH g AS ({}) SELECT 1",
            "COPY ({} RETURNING a) TO STDOUT",
            "CREATE TABLE x AS WITH g AS ({} RETURNING a) SELECT * FROM g",
            "WITH g AS ({} RETURNING a) SELECT * INTO x FROM g",
            "EXPLAIN ANALYZE CREATE TABLE x AS WITH g AS ({} RETURNING a) SELECT * FROM g",
            "WITH RECURSIVE g AS (WITH h AS ({} RETURNING a) SELECT * FROM h) SELECT * FROM g",
        ):
            text = place.format(change)
            assert _tells(Policy(AccessMode.READ_WRITE), text).rule == "where-missing", text
            counted = Policy(AccessMode.READ_WRITE, options=frozenset({GrantOption.UNFILTERED_WRITES}), max_changed_rows=9)
            verdict = _tells(counted, text)
            assert verdict.rule == "row-ceiling-uncounted" or text.startswith("PREPARE p AS " + change[:6]), text


def test_the_position_is_the_table_s() -> None:
    verdict = _tells(Policy(AccessMode.READ_WRITE), "SELECT 'é'; DELETE FROM t")
    assert verdict.position == len("SELECT 'é'; DELETE FROM ") + 1
    assert verdict.node == "DeleteStmt"


def test_a_verdict_under_a_ceiling_holds_for_its_shape() -> None:
    policy = Policy(AccessMode.READ_WRITE, max_changed_rows=5)
    kept = _tells(policy, "UPDATE t SET a = 1 WHERE b = 2")
    assert kept_shape(b"UPDATE t SET a = 1 WHERE b = 2", kept) == b"UPDATE t SET a = 0 WHERE b = 0"
    assert kept.row_ceiling == 5
    assert _tells(policy, "UPDATE t SET a = 77 WHERE b = 9") == kept


def test_each_option_and_ceiling_has_its_own_revision() -> None:
    assert len({policy.revision for policy in EVERY}) == len(EVERY)


def test_what_the_session_refuses_has_the_words_of_its_rule() -> None:
    verdict = _tells(Policy(AccessMode.READ_WRITE, max_changed_rows=5), "UPDATE t SET a = 1 WHERE b = 2")
    over, portions = over_row_ceiling(verdict, 1234), in_portions(verdict)
    assert (over.allowed, over.rule, over.sqlstate, over.row_ceiling) == (False, "row-ceiling", "54000", 0)
    assert "1234" in over.message
    assert " 5 " in over.message
    assert "rolled back" in over.message
    assert over.hint
    assert over.facts == verdict.facts
    assert (portions.allowed, portions.rule, portions.sqlstate) == (False, "row-ceiling-uncounted", "54000")
