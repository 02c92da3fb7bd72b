"""Refusals that a session makes on the policy's behalf: the text was allowed, but what the session knows forbids it.

Each takes the verdict that allowed the text and answers the one that refuses it, with the same facts.
"""

from dataclasses import replace
from typing import Final

from gateway.statements.refusal import READ_WRITE_HINT, TEMPORARY_HINT, Refusal
from gateway.statements.verdict import Verdict

_HINT_IN_TRANSACTION: Final = (
    "Create and drop temporary tables outside of a transaction block (COMMIT first); filling and reading them may stand in one."
)
_HINT_OVER: Final = (
    "Nothing was changed. Narrow the WHERE clause, or change the rows in portions; an admin can raise the ceiling of the grant."
)
_HINT_CUT: Final = "What you have read is not all of it. Use LIMIT, export less at a time, or ask an admin for more."
_HINT_UNCOUNTED: Final = "Let the statement run to its end (no fetch size), so that its rows can be counted before it counts."


def not_made_here(verdict: Verdict, name: str) -> Verdict:
    """A read-only session would write to `name`, which is no temporary table that it made."""
    what = f"writing to {name}, which is no temporary table of this session,"
    return _refused(
        verdict,
        Refusal(
            "write-statement", "25006", f"{what} is not allowed in a read-only session", f"{TEMPORARY_HINT} {READ_WRITE_HINT}"
        ),
    )


def hides(verdict: Verdict, name: str) -> Verdict:
    """A temporary table of the session's has the name of a table that the database has got since."""
    words = f'the temporary table "{name}" of this session hides the table that this statement was judged by'
    hint = f"Write the table's name with its schema, or drop the temporary table (DROP TABLE pg_temp.{name})."
    return _refused(verdict, Refusal("temporary-table-form", "25006", words, hint))


def temporary_in_transaction(verdict: Verdict) -> Verdict:
    """A text that lifts the read-only mode for itself came within a transaction block."""
    words = "in a read-only session temporary tables cannot be made or dropped inside a transaction block"
    return _refused(verdict, Refusal("temporary-table-in-transaction", "25006", words, _HINT_IN_TRANSACTION))


def over_row_ceiling(verdict: Verdict, rows: int) -> Verdict:
    """What the statement did is rolled back: it changed `rows` rows."""
    words = f"the statement changed {rows} rows, more than the {verdict.row_ceiling} that this grant allows: it was rolled back"
    return _refused(verdict, Refusal("row-ceiling", "54000", words, _HINT_OVER))


def in_portions(verdict: Verdict) -> Verdict:
    """Execute with a row limit of a text under a ceiling: its count comes too late."""
    words = "a statement under a ceiling of changed rows cannot be executed in portions"
    return _refused(verdict, Refusal("row-ceiling-uncounted", "54000", words, _HINT_UNCOUNTED))


def cut(verdict: Verdict, rule: str, grant: str, limit: int, resets: str) -> Verdict:
    """Its reply was longer than the grant allows. `rule`: by which limit."""
    hint = f"{_HINT_CUT}{_again(resets)}"
    match rule:
        case "max-rows":
            words = f"the statement has more than the {limit} rows that grant {grant} lets it show: the result was cut here"
            return _refused(verdict, Refusal("max-rows", "54000", words, hint))
        case "max-bytes":
            words = f"the statement's rows have more than the {limit} bytes that grant {grant} allows: the result was cut here"
            return _refused(verdict, Refusal("max-bytes", "54000", words, hint))
        case _:
            words = f"{_day(grant, limit)}: the result was cut here"
            return _refused(verdict, Refusal("max-bytes-per-day", "54000", words, hint))


def day_is_over(verdict: Verdict, grant: str, limit: int, resets: str) -> Verdict:
    """Nothing that shows rows begins any more, up to the end of the day."""
    hint = f"Ask an admin for more.{_again(resets)}"
    return _refused(verdict, Refusal("max-bytes-per-day", "54000", _day(grant, limit), hint))


def day_is_unknown(verdict: Verdict, grant: str) -> Verdict:
    """Who sums up the bytes of the day does not answer: then it is as if they were used up."""
    words = f"it is not known at the moment how much grant {grant} has let you read today"
    return _refused(verdict, Refusal("bytes-of-day-unknown", "55000", words, "Try again in a moment."))


def _day(grant: str, limit: int) -> str:
    return f"grant {grant} lets you read {limit} bytes a day, which are used up"


def _again(resets: str) -> str:
    return f" The count begins anew at {resets}." if resets else ""


def _refused(verdict: Verdict, refusal: Refusal) -> Verdict:
    return replace(
        verdict,
        allowed=False,
        rule=refusal.rule,
        sqlstate=refusal.sqlstate,
        message=f"{refusal.message} (rule {refusal.rule})",
        hint=refusal.hint,
        position=0,
        edits=(),
        notice="",
        node="",
        row_ceiling=0,
        lifts_read_only=False,
        reported="",
        temporary_made=(),
        temporary_used=(),
        not_temporary=(),
        metered=False,
    )
