"""Verdicts remembered by exact text, for all sessions under one policy. Bounded by entries and by bytes."""

from typing import Final

from gateway.audit.events import statement_fragment
from gateway.statements.policy import Policy, judge
from gateway.statements.verdict import Verdict

#: Kinds of SQL statements that define or drop prepared statements behind the back of protocol messages; "..." may hide one.
_NAME_CHANGERS: Final = frozenset({"prepare", "deallocate", "discard", "..."})

_NAME_USERS: Final = frozenset({"execute", "..."})


class Judged:
    """A text with its verdict and the audit fragment that tells of both. Shared between sessions; never changed."""

    __slots__ = ("changes_names", "executes_names", "fragment", "passes", "policy", "sql", "verdict")

    def __init__(self, sql: bytes, verdict: Verdict, fragment: bytes, policy: Policy | None) -> None:
        self.sql = sql
        self.verdict = verdict
        self.fragment = fragment
        self.policy = policy
        kinds = verdict.facts.kind.split("; ")
        self.changes_names = not _NAME_CHANGERS.isdisjoint(kinds)
        self.executes_names = not _NAME_USERS.isdisjoint(kinds)  # whose text hides what it runs
        #: Allowed as it stands, whatever the session's state.
        self.passes = verdict.allowed and not (verdict.edits or self.changes_names or self.executes_names)


class PolicyInForce:
    """One policy and what it already said. `remembered` is read directly on the hot path."""

    __slots__ = ("_audit_bytes", "_bytes", "_max_bytes", "_max_entries", "policy", "remembered")

    def __init__(self, policy: Policy, max_entries: int, max_bytes: int, audit_bytes: int) -> None:
        """`audit_bytes`: how much of a text the audit keeps."""
        self.policy = policy
        self.remembered: dict[bytes, Judged] = {}
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._audit_bytes = audit_bytes
        self._bytes = 0

    def judge(self, sql: bytes) -> Judged:
        """Parse and decide now; only for texts that `policy.is_small` calls small."""
        return self.remember(sql, judge(sql, self.policy))

    def remember(self, sql: bytes, verdict: Verdict) -> Judged:
        text = sql.decode("utf-8", "backslashreplace")
        judged = Judged(sql, verdict, statement_fragment(text, verdict, self._audit_bytes), self.policy)
        size = 2 * len(sql) + len(judged.fragment)
        if size * 16 <= self._max_bytes and sql not in self.remembered:
            self._bytes += size
            self.remembered[sql] = judged
            self._evict()
        return judged

    def _evict(self) -> None:
        while self._bytes > self._max_bytes or len(self.remembered) > self._max_entries:
            oldest = next(iter(self.remembered))
            gone = self.remembered.pop(oldest)
            self._bytes -= 2 * len(oldest) + len(gone.fragment)
