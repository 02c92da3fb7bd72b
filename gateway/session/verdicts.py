"""Verdicts remembered by exact text and by shape, for all sessions under one policy. Bounded by entries and by bytes."""

from typing import Final

from gateway.access_mode import GrantOption
from gateway.audit.events import beginning_of, statement_fragment
from gateway.audit.redaction import may_hold_password
from gateway.session.tally import Known
from gateway.statements.policy import Policy, judge
from gateway.statements.shape import MAX_BYTES, kept_like, kept_shape
from gateway.statements.verdict import Verdict

#: Kinds whose text hides what it runs: that was judged before, perhaps by another policy.
_NAME_USERS: Final = frozenset({"execute", "fetch", "move", "..."})

_MANY: Final = 100

#: How the kinds of statements begin that may change functions, types, views ... What a function does in a SELECT is not seen.
_CATALOG_CHANGERS: Final = (
    "create",
    "alter",
    "drop",
    "comment",
    "commit prepared",
    "import foreign schema",
    "reassign owned",
    "security label",
    "select into",
    "do",
    "call",
    "...",
)


class Judged:
    """A text with its verdict and the audit fragment that tells of both. Shared between sessions; never changed."""

    __slots__ = (
        "ceiling",
        "changes_catalog",
        "executes",
        "executes_names",
        "fragment",
        "passes",
        "policy",
        "sql",
        "statements",
        "types",
        "verdict",
    )

    def __init__(
        self, sql: bytes, verdict: Verdict, fragment: bytes, policy: Policy | None, types: tuple[int, ...] = ()
    ) -> None:
        """`types`: what a Parse declared of its parameters, where users' types are among them."""
        self.sql = sql
        self.verdict = verdict
        self.fragment = fragment
        self.policy = policy
        kinds = verdict.facts.kind.split("; ")
        #: How many there are in the text, or rather more.
        self.statements = len(kinds) if "..." not in kinds else _MANY
        self.types = types
        self.executes_names = not _NAME_USERS.isdisjoint(kinds)
        #: Prepared statements that it runs, but for those that it prepares itself.
        self.executes = _executed(verdict.facts.names)
        #: May change what is in the database besides rows.
        self.changes_catalog = verdict.allowed and any(kind.startswith(_CATALOG_CHANGERS) for kind in kinds)
        if verdict.lifts_read_only:
            self.changes_catalog = False  # temporary tables are the session's own
        #: How many rows it may change before it is rolled back; 0: any number.
        self.ceiling = 0 if policy is not None and GrantOption.REPORT_ONLY in policy.options else verdict.row_ceiling
        #: Allowed as it stands, whatever the session's state.
        self.passes = verdict.allowed and not (
            verdict.edits
            or verdict.facts.names
            or self.executes_names
            or types
            or self.changes_catalog
            or verdict.row_ceiling
            or verdict.metered
            or verdict.lifts_read_only
            or verdict.temporary_made
            or verdict.temporary_used
            or verdict.not_temporary
            or verdict.addressed is not None
        )

    def for_text(self, sql: bytes, fragment: bytes) -> "Judged":
        """The same verdict for another text."""
        other = Judged.__new__(Judged)
        other.sql, other.fragment, other.verdict, other.policy = sql, fragment, self.verdict, self.policy
        other.passes, other.executes_names = self.passes, self.executes_names
        other.types, other.executes, other.changes_catalog = self.types, self.executes, self.changes_catalog
        other.ceiling, other.statements = self.ceiling, self.statements
        return other

    def with_types(self, types: tuple[int, ...]) -> "Judged":
        """The same text in a Parse that declares these."""
        return Judged(self.sql, self.verdict, self.fragment, self.policy, types)


def _executed(names: tuple[str, ...]) -> tuple[bytes, ...]:
    known: set[str] = set()
    found = []
    for change in names:
        if change.startswith("+"):
            known.add(change[1:])
        elif change.startswith("=") and change[1:] not in known:
            found.append(change[1:].encode())
    return tuple(found)


_AFTER_TEXT: Final = b',"kind":'


class PolicyInForce(Known):
    """One policy and what it already said. `remembered` is read directly on the hot path."""

    __slots__ = (
        "_bytes",
        "_bytes_of_shapes",
        "_max_bytes",
        "_max_entries",
        "audit_bytes",
        "policy",
    )

    def __init__(self, policy: Policy, max_entries: int, max_bytes: int, audit_bytes: int) -> None:
        """`audit_bytes`: how much of a text the audit keeps."""
        # The audit keeps all of a text that is taken by its shape, and no limit refuses it.
        super().__init__(min(MAX_BYTES, audit_bytes, policy.max_statement_bytes))
        self.policy = policy
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self.audit_bytes = audit_bytes
        self._bytes = self._bytes_of_shapes = 0

    def judge(self, sql: bytes) -> Judged:
        """Parse and decide now; only for texts that `policy.is_small` calls small."""
        verdict = judge(sql, self.policy)
        judged = self.remember(sql, verdict)
        shape = kept_shape(sql, verdict) if judged.passes and len(sql) <= self.shape_bytes else None
        if shape is not None and shape not in self.shapes and not may_hold_password(shape):
            self._keep(shape, judged)
        return judged

    def by_shape(self, sql: bytes) -> tuple[Judged, bytes] | None:
        """A passing text that differs from this one in nothing but the values of literals, and this one's audit fragment."""
        like = kept_like(self.shapes, sql) if len(sql) <= self.shape_bytes else None
        # What the audit would mask is outside of strings in no kept shape, and never half in a string.
        if like is None or (b"'" in sql and may_hold_password(sql)):
            return None
        # As JSON a plain text is itself, but for tabs and newlines.
        text = sql.replace(b"\n", b"\\n").replace(b"\t", b"\\t")
        return like[0], b'"sql":"%b","sql_bytes":%d,"truncated":false,"redacted":false%b' % (text, len(sql), like[1])

    def _keep(self, shape: bytes, judged: Judged) -> None:
        # A text that has a shape is plain: the first such key in its fragment is ours.
        tail = judged.fragment[judged.fragment.index(_AFTER_TEXT) :]
        self.shapes[shape] = judged, tail, shape
        self._bytes_of_shapes += len(shape) + len(tail) + len(judged.sql) + len(judged.fragment)
        while self._bytes_of_shapes > self._max_bytes or len(self.shapes) > self._max_entries:
            oldest = next(iter(self.shapes))
            gone, tail, _ = self.shapes.pop(oldest)
            self._bytes_of_shapes -= len(oldest) + len(tail) + len(gone.sql) + len(gone.fragment)

    def remember(self, sql: bytes, verdict: Verdict) -> Judged:
        size = len(sql) if len(sql) > self.audit_bytes else None
        fragment = statement_fragment(beginning_of(sql, self.audit_bytes), verdict, self.audit_bytes, size)
        judged = Judged(sql, verdict, fragment, self.policy)
        size = 2 * len(sql) + len(judged.fragment)
        too_long = len(sql) > self.policy.max_statement_bytes  # nobody asks for it
        if not too_long and size * 16 <= self._max_bytes and sql not in self.remembered:
            self._bytes += size
            self.remembered[sql] = judged
            self._evict()
        return judged

    def _evict(self) -> None:
        while self._bytes > self._max_bytes or len(self.remembered) > self._max_entries:
            oldest = next(iter(self.remembered))
            gone = self.remembered.pop(oldest)
            self._bytes -= 2 * len(oldest) + len(gone.fragment)
