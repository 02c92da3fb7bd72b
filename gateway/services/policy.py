"""What the policy says about a statement: under a target's policy or the defaults, for people and for programs."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Final

from gateway.access.model import ALL_READING, Reading, Target
from gateway.access.relations import parse_schema, parse_table
from gateway.access_mode import OPTIONS_OF, AccessMode, GrantOption
from gateway.judging.judge import Judge
from gateway.services.grant_terms import Terms
from gateway.settings import Settings
from gateway.statements.granted_relations import GrantedRelations
from gateway.statements.policy import Bounds, Caps, Policy, is_small, judge, relabel
from gateway.statements.verdict import Facts, Verdict

LOWEST_MAJOR: Final = 13
HIGHEST_MAJOR: Final = 18

_LABEL: Final = "PERSON [SESSION]"
_NO_CHILD: Final = Verdict(
    False,
    "statement-too-complex",
    Facts(""),
    "54001",
    "this statement can only be judged in a process of its own, and none could be started (rule statement-too-complex)",
)


@dataclass(frozen=True, slots=True)
class Explanation:
    """A verdict, spelled out. `position`: the character that it is about, from 1; 0: none. `sent_as`: the text that would reach
    the server, where it is not the very same (a session's label in application_name, a lowered value, the schema of a temporary
    table). `row_ceiling`: how many rows it may change before it is rolled back, 0: any number, or none that are counted.
    `reported`: the rule that is against it where the grant only reports; `message` is that rule's then. `node`: what in the
    parse tree decided. `lifts_read_only`: it makes or drops a temporary table, in a transaction of its own that may write.
    """

    allowed: bool
    mode: AccessMode
    rule: str
    sqlstate: str
    message: str
    hint: str
    position: int
    kind: str
    tables: tuple[str, ...]
    functions: tuple[str, ...]
    sent_as: str | None
    notice: str
    node: str
    row_ceiling: int
    reported: str
    lifts_read_only: bool


@dataclass(frozen=True, slots=True)
class Limited:
    """What the gateway's own settings make of every policy. Without any: the defaults."""

    max_statement_bytes: int = 1024 * 1024
    caps: Caps = field(default_factory=Caps)
    bounds: Bounds = field(default_factory=Bounds)
    hide_activity: bool = False

    @classmethod
    def by(cls, settings: Settings) -> "Limited":
        return cls(
            settings.limits.max_statement_bytes,
            settings.statement_caps.caps,
            settings.limits.bounds,
            settings.policy.other_sessions == "hidden",
        )


@dataclass(frozen=True, slots=True)
class Granted:
    """What the grant adds or takes away. Without any: a plain grant."""

    options: frozenset[GrantOption] = frozenset()
    max_changed_rows: int | None = None
    statement_timeout_ms: int | None = None
    reading: Reading = ALL_READING

    @classmethod
    def by(cls, terms: Terms, mode: AccessMode) -> "Granted":
        """In this mode: options of the other one mean nothing in it."""
        reading = Reading(
            terms.max_rows,
            terms.max_bytes,
            terms.max_bytes_per_day,
            frozenset(map(parse_schema, terms.schemas)),
            frozenset(map(parse_table, terms.tables)),
        )
        options = terms.options & OPTIONS_OF[mode]
        changed = terms.max_changed_rows if mode is AccessMode.READ_WRITE else None
        return cls(options, changed, terms.statement_timeout_ms, reading)


class Judging:
    """Judges small texts at once and others in a child process, which is started when the first of them comes.

    One per process or command; used from one event loop.
    """

    def __init__(self, *, max_statement_bytes: int, inline_bytes: int = 16 * 1024, timeout_seconds: float = 10.0) -> None:
        self._max_statement_bytes = max_statement_bytes
        self._inline_bytes = inline_bytes
        self._timeout_seconds = timeout_seconds
        self._judge: Judge | None = None
        self._starting = asyncio.Lock()

    async def judge(self, sql: bytes, policy: Policy) -> Verdict:
        """Never raises for a text, whatever it is."""
        answer = await self.submit(sql, policy)
        return answer if isinstance(answer, Verdict) else await answer

    async def submit(self, sql: bytes, policy: Policy) -> "Verdict | asyncio.Future[Verdict]":
        """The verdict, or a future of it while other texts are submitted."""
        if is_small(sql, self._inline_bytes) or len(sql) > policy.max_statement_bytes:
            return judge(sql, policy)
        try:
            child = await self._child()
        except (OSError, TimeoutError):
            return _NO_CHILD
        answer: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        child.submit(sql, policy, lambda verdict: None if answer.done() else answer.set_result(verdict))
        return answer

    async def close(self) -> None:
        """End the child, if there is one. Idempotent."""
        if self._judge is not None:
            await self._judge.close()

    async def _child(self) -> Judge:
        async with self._starting:
            if self._judge is None:
                starting = Judge(self._max_statement_bytes, self._timeout_seconds)
                try:
                    await starting.start()
                except (OSError, TimeoutError):
                    await starting.close()
                    raise
                self._judge = starting
            return self._judge


async def explain(judging: Judging, *, sql: str | bytes, policy: Policy) -> Explanation:
    """Whether a text may run, by which rule, and what to do. Text that is not UTF-8 is refused by name, like any other."""
    raw = sql if isinstance(sql, bytes) else sql.encode("utf-8", "surrogatepass")
    verdict = await judging.judge(raw, policy)
    return Explanation(
        allowed=verdict.allowed,
        mode=policy.mode,
        rule=verdict.rule,
        sqlstate=verdict.sqlstate,
        message=verdict.message,
        hint=verdict.hint,
        position=verdict.position,
        kind=verdict.facts.kind,
        tables=verdict.facts.tables,
        functions=verdict.facts.functions,
        sent_as=relabel(raw, verdict, _LABEL).decode("utf-8", "replace") if verdict.edits else None,
        notice=verdict.notice,
        node=verdict.node,
        row_ceiling=verdict.row_ceiling,
        reported=verdict.reported,
        lifts_read_only=verdict.lifts_read_only,
    )


def default_policy(
    mode: AccessMode,
    *,
    functions: frozenset[str] = frozenset(),
    schemas: frozenset[str] = frozenset({"public"}),
    custom_settings: frozenset[str] = frozenset(),
    server_major: int = HIGHEST_MAJOR,
    limited: Limited | None = None,
    granted: Granted | None = None,
) -> Policy:
    """The policy of a target that lists just these."""
    return _policy(mode, functions, schemas, custom_settings, server_major, limited or Limited(), granted or Granted())


def target_policy(
    target: Target,
    mode: AccessMode,
    *,
    server_major: int = HIGHEST_MAJOR,
    limited: Limited | None = None,
    granted: Granted | None = None,
) -> Policy:
    """The policy of sessions on this target. Which major its server has, only a session knows for certain."""
    lists = (target.allowed_functions, target.allowed_schemas, target.allowed_settings)
    return _policy(mode, *lists, server_major, limited or Limited(), granted or Granted())


def _policy(
    mode: AccessMode,
    functions: frozenset[str],
    schemas: frozenset[str],
    custom_settings: frozenset[str],
    server_major: int,
    limited: Limited,
    granted: Granted,
) -> Policy:
    reading = granted.reading
    return Policy(
        mode,
        functions,
        schemas,
        custom_settings,
        server_major,
        limited.max_statement_bytes,
        replace(limited.caps, statement_milliseconds=granted.statement_timeout_ms),
        options=granted.options,
        max_changed_rows=granted.max_changed_rows,
        hide_activity=limited.hide_activity,
        bounds=limited.bounds,
        metered=reading.is_metered,
        granted=GrantedRelations(reading.schemas, reading.tables) if reading.is_narrow else None,
    )
