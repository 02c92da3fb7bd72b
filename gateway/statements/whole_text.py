"""All statements of a text, judged as one: by the rules of the session's mode, and by what its grant adds or takes away."""

import re
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from gateway.statements import readonly, readwrite
from gateway.statements.addressed import RELINQUISH, REQUEST, SCHEMA, Addressed, GiveBack, Show, addressed, beside_others
from gateway.statements.inner_text import judge_inner
from gateway.statements.literals import Wording
from gateway.statements.names import Listed
from gateway.statements.only_use import OnlyRules, Surroundings
from gateway.statements.parse import RawStatement
from gateway.statements.readonly import Exceptions, Statement, Temporary, new_walk
from gateway.statements.refusal import Refusal, temporary_beside_others, uncounted_rows
from gateway.statements.settings import SettingRules
from gateway.statements.verdict import Facts, LabelEdit, ValueEdit, Verdict
from gateway.statements.walk import note_names
from gateway.statements.words import name_change, shows_rows, statement_words
from gateway.statements.write_modes import WriteRules, judge_writes

_MAX_KINDS: Final = 8
_MAX_NAMES: Final = 200
_MAX_MESSAGE: Final = 500
_BLANK: Final = re.compile(rb"(?:[\s;]|--[^\n\r]*|/\*(?:[^*/]|\*(?!/)|/(?!\*))*+\*/)*+")


@dataclass(frozen=True, slots=True)
class TextRules:
    """`writes`: of a read-write session, None in a read-only one. `exceptions`: of a read-only session with temporary tables.
    `reports_only`: what `writes` would refuse runs, and is reported. `metered`: what is sent of rows is counted. `only`:
    nothing but what an access request was granted.
    """

    listed: Listed
    server_major: int
    settings: SettingRules
    writes: WriteRules | None = None
    reports_only: bool = False
    exceptions: Exceptions | None = None
    metered: bool = False
    only: OnlyRules | None = None

    @property
    def plain(self) -> Surroundings:
        return Surroundings(self.listed, self.settings, self.writes)


@dataclass(slots=True)
class _Found:
    """What the statements of a text have come to so far. `reported`: the first refusal that is not enforced."""

    kinds: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    tables: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    edits: list[LabelEdit | ValueEdit] = field(default_factory=list)
    reported: Refusal | None = None
    counts: bool = False
    made: list[str] = field(default_factory=list)
    used: list[str] = field(default_factory=list)
    relied: set[str] = field(default_factory=set)
    lifts: bool = False
    metered: bool = False

    def facts(self) -> Facts:
        kinds = self.kinds
        words = kinds[0] if len(kinds) == 1 else "; ".join(kinds[:_MAX_KINDS] + ["..."] * (len(kinds) > _MAX_KINDS))
        return Facts(words, _some(self.tables), _some(self.functions), tuple(self.names))


def judge_statements(sql: bytes, statements: tuple[RawStatement, ...], rules: TextRules) -> Verdict:
    """The verdict on the text `sql` that `statements` were read from."""
    found, wording = _Found(), Wording(sql)
    for raw in statements:
        place = _first_word(sql, raw.start)
        ours = addressed(raw, wording, place)
        if ours is not None:
            return _for_the_gateway(sql, raw, ours if len(statements) == 1 else beside_others(place), found)
        refused = _judge_one(wording, place, raw, rules, found, alone=len(statements) == 1)
        if refused is not None:
            return _refused(sql, raw, refused, found.facts())
    by_literals = wording.looked_at or (rules.only is not None and bool(rules.only.these.statements))
    return _allowed(rules, found, any_literals=not by_literals)


def _for_the_gateway(sql: bytes, raw: RawStatement, ours: Addressed | Refusal, found: _Found) -> Verdict:
    kind = statement_words(raw.tag, raw.node)
    found.kinds.append(kind)
    if isinstance(ours, Refusal):
        return _refused(sql, raw, ours, found.facts())
    if isinstance(ours, Show):
        return Verdict(True, "gateway-statement", Facts(kind), addressed=ours)
    called = RELINQUISH if isinstance(ours, GiveBack) else REQUEST
    return Verdict(True, "gateway-statement", Facts(kind, functions=(f"{SCHEMA}.{called}",)), addressed=ours)


def _judge_one(
    wording: Wording, place: int, raw: RawStatement, rules: TextRules, found: _Found, *, alone: bool
) -> Refusal | None:
    only = rules.only
    among = only is not None and only.has(raw, wording)
    by: TextRules | Surroundings = rules
    if only is not None:
        by = only.exactly if among else only.otherwise
    walk = new_walk(by.listed, rules.server_major, wording, by.settings)
    if rules.writes is None:
        walk.inner = partial(judge_inner, settings=by.settings)
    temporary = Temporary() if rules.exceptions is not None else None
    statement = Statement(raw, wording, place, by.settings, walk, exceptions=rules.exceptions, temporary=temporary)
    refused = readonly.judge_statement(statement) if rules.writes is None else readwrite.judge_statement(statement)
    found.kinds.append(statement_words(raw.tag, raw.node))
    if (change := name_change(raw.tag, raw.node)) is not None:
        found.names.append(change)
    if refused is None and only is not None and not among:
        refused = only.judge(raw, place)
    if refused is None and by.writes is not None:
        refused = _judge_write(statement, by.writes, found, reports_only=rules.reports_only, alone=alone)
    if refused is None and temporary is not None:
        found.made += temporary.made
        found.used += temporary.used + walk.written
        found.relied |= walk.relied
        found.lifts = found.lifts or temporary.lifts
        if temporary.lifts and not alone:
            refused = temporary_beside_others(place)
    if refused is None and rules.metered and shows_rows(raw.tag, raw.node):
        found.metered = True
    if refused is None and found.metered and rules.writes is not None and not alone:
        # Cut in the middle, the others' changes could not be taken back for certain.
        refused = uncounted_rows(place)
    if refused is not None:
        note_names(raw.node, walk)
    found.tables |= walk.tables - walk.ctes
    found.functions |= walk.functions
    found.edits.extend(statement.edits)
    return refused


def _judge_write(statement: Statement, writes: WriteRules, found: _Found, *, reports_only: bool, alone: bool) -> Refusal | None:
    """What the grant's own rules enforce. What they only report is noted."""
    raw = statement.raw
    refused, counts = judge_writes(raw.tag, raw.node, statement.wording, writes, alone=alone)
    found.counts = found.counts or (counts and alone)
    if refused is not None and reports_only:
        found.reported = found.reported or refused
        return None
    return refused


def _refused(sql: bytes, raw: RawStatement, refused: Refusal, facts: Facts) -> Verdict:
    offset = refused.offset
    if offset is None and refused.rule in _AT_THE_START:
        offset = _first_word(sql, raw.start)
    position = 0 if offset is None else len(sql[:offset].decode("utf-8", "replace")) + 1
    return Verdict(
        False,
        refused.rule,
        facts,
        refused.sqlstate,
        with_rule(refused.message, refused.rule),
        refused.hint,
        position,
        node=refused.node or raw.tag,
    )


#: Rules whose node may have no place of its own.
_AT_THE_START: Final = frozenset({"ddl-not-granted", "where-missing", "row-ceiling-uncounted", "temporary-table-form"})


def _allowed(rules: TextRules, found: _Found, *, any_literals: bool) -> Verdict:
    if not (found.edits or found.reported or found.counts or found.made or found.used or found.relied or found.lifts):
        return Verdict(True, "allowed", found.facts(), any_literals=any_literals, metered=found.metered)  # nearly always
    lowered = any(isinstance(edit, ValueEdit) and edit.text.isdecimal() for edit in found.edits)
    ceiling = rules.writes.max_rows if rules.writes is not None else None
    reported = found.reported
    return Verdict(
        True,
        "allowed",
        found.facts(),
        message=with_rule(reported.message, reported.rule) if reported is not None else "",
        edits=tuple(found.edits),
        notice="a value above this gateway's cap was lowered to it" if lowered else "",
        node=reported.node if reported is not None else "",
        row_ceiling=(ceiling or 0) if found.counts else 0,
        lifts_read_only=found.lifts,
        reported=reported.rule if reported is not None else "",
        temporary_made=tuple(dict.fromkeys(found.made)),
        temporary_used=tuple(dict.fromkeys(found.used)),
        not_temporary=tuple(sorted(found.relied)),
        any_literals=any_literals,
        metered=found.metered,
    )


def _some(names: set[str]) -> tuple[str, ...]:
    return tuple(sorted(names)[:_MAX_NAMES]) if names else ()


def _first_word(sql: bytes, start: int) -> int:
    """Past blanks and comments: where people see the statement start."""
    if sql[start : start + 1].isalpha():
        return start  # nearly always
    found = _BLANK.match(sql, start)
    return found.end() if found else start


def with_rule(message: str, rule: str) -> str:
    return f"{short(message)} (rule {rule})"


def short(message: str) -> str:
    """Names in SET and what stands near a syntax error may be as long as the text itself."""
    return message if len(message) <= _MAX_MESSAGE else message[:_MAX_MESSAGE] + "..."
