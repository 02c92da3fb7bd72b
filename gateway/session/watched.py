"""A statement that is watched until it is certain what it did: upstream commits nothing of it before we say so.

Rules. One at a time: what is behind it is held until it is `done`. It starts when nothing that could run is owed, so that no
other reply can be taken for its own. An Execute goes as it came, with a Flush; the client's Sync is among what is held. A Query
goes as Parse, Bind, Describe, Execute and Flush under the empty names, and its one entry stays at the ledger's head until
ReadyForQuery, as a Query's does; our Sync follows when its tag is known, and the tag goes to the client when upstream has
committed (PostgreSQL itself says CommandComplete of a Query after its commit). A tag over the ceiling is never relayed: a poison
(see `denial`) follows in its place, so that PostgreSQL rolls back what an error there rolls back.
"""

from dataclasses import replace
from typing import Final

from gateway.session.conversation import Conversation
from gateway.session.ledger import QUERY, Entry
from gateway.session.verdicts import Judged
from gateway.statements.in_session import in_portions, over_row_ceiling
from gateway.statements.verdict import Verdict
from gateway.wire.backend import rows_of_tag
from gateway.wire.errors import ProtocolViolation
from gateway.wire.frontend import FLUSH, SYNC, build_parse, message

#: Command tags whose number tells changed rows.
_COUNTED: Final = frozenset((b"INSERT", b"UPDATE", b"DELETE", b"MERGE"))
_BIND: Final = message(b"B", bytes(8))  # the empty portal to the empty statement, without values, results as text
_EXECUTE: Final = message(b"E", bytes(5))
_DESCRIBE_PORTAL: Final = message(b"D", b"P\0")
_CLOSE_PORTAL: Final = message(b"C", b"P\0")  # a Query leaves none behind, but where it failed

#: Run with the read-only mode lifted up to the next Sync, and what upstream says of it.
LIFT: Final = build_parse(b"", b"SET LOCAL transaction_read_only = off") + _BIND + _EXECUTE
LIFT_REPLIES: Final = b"12C"
LIFT_TAG: Final = b"SET\0"


def in_parts(sql: bytes) -> bytes:
    """A Query's text as messages that commit nothing."""
    return build_parse(b"", sql) + _BIND + _DESCRIBE_PORTAL + _EXECUTE + FLUSH


def changed_rows(tag: bytes) -> int:
    """How many rows a CommandComplete (its body) tells to be changed. Raises ProtocolViolation."""
    if tag[:-1].partition(b" ")[0] not in _COUNTED:
        return 0
    rows = rows_of_tag(tag)
    if rows is None:
        raise ProtocolViolation("a CommandComplete without the number of rows")
    return rows


class Watched:
    """`ceiling`: how many rows it may change; None: it is watched for another reason. `lifts`: `LIFT` went before it."""

    __slots__ = ("_ceiling", "_next", "_shared", "_synced", "_tag", "_verdict", "done", "entry", "lifts")

    def __init__(self, shared: Conversation, entry: Entry, judged: Judged, ceiling: int | None, *, lifts: bool = False) -> None:
        self._shared = shared
        self._verdict = replace(judged.verdict, row_ceiling=ceiling or 0)
        self._ceiling = ceiling
        self._next = b""  # what shall go upstream
        self._synced = entry.kind != QUERY  # whether the Sync behind it is sent, or is the client's
        self._tag = b""  # kept back from the client
        self.entry: Final = entry
        self.lifts: Final = lifts
        self.done = False

    def take(self) -> bytes:
        """What goes upstream now, before anything that is held."""
        out, self._next = self._next, b""
        return out

    def answered(self, kind: int) -> None:
        """A reply to one of the messages that stand for a Query. Raises ProtocolViolation."""
        if kind not in (b"3" if self._tag else b"12n"):
            raise ProtocolViolation(f"unexpected message {chr(kind)!r}")

    def completed(self, tag: bytes) -> bool:
        """Its CommandComplete. True: it is kept back. Raises ProtocolViolation."""
        if self._tag:
            raise ProtocolViolation("a second CommandComplete")
        rows = changed_rows(tag)
        if self._ceiling is not None and rows > self._ceiling:
            self._refuse(over_row_ceiling(self._verdict, rows), rows)
            return True
        if self.entry.kind == QUERY:
            self._tag = tag
            self._next = _CLOSE_PORTAL
            self._sync()
            return True
        self.done = True
        return False

    def suspended(self) -> None:
        """It stopped at the row limit of its Execute: its rows are changed, and it does not say how many."""
        self._refuse(in_portions(self._verdict), None)

    def failed(self) -> None:
        """Upstream said ERROR where its reply was due."""
        self._tag = b""
        self._sync()

    def lost(self) -> None:
        """An error before it took it along. It was an inserted statement's, or the client's, whose Sync is still to come."""
        self.done = True
        if self.lifts:
            self._sync()
            self._shared.ledger.sync_sent()

    def ready(self) -> bytes:
        """ReadyForQuery came for it: what the client gets before that. Raises ProtocolViolation."""
        if not self._synced:
            raise ProtocolViolation("ReadyForQuery before its Sync")
        self.done = True
        return message(b"C", self._tag) if self._tag else b""

    def _sync(self) -> None:
        if not self._synced:
            self._synced = True
            self._next += SYNC

    def _refuse(self, verdict: Verdict, rows: int | None) -> None:
        shared = self._shared
        said = {"rule": verdict.rule, "sqlstate": verdict.sqlstate, "message": verdict.message}
        shared.event("refused", {**said, "statement": self.entry.statement_id, "rows": rows, "ceiling": self._ceiling})
        self.entry.refusal = refusal = shared.refuse_verdict(verdict)
        self._next = refusal.as_parse()
        if self.entry.kind == QUERY:
            self._sync()
        else:
            self.done = True


def reported(shared: Conversation, entry: Entry, tag: bytes) -> None:
    """A statement completed whose ceiling is not enforced: the audit tells when it was over it."""
    judged = entry.judged
    if judged is not None and judged.verdict.row_ceiling and (rows := changed_rows(tag)) > judged.verdict.row_ceiling:
        shared.event(
            "row_ceiling_reported",
            {"statement": entry.statement_id, "rows": rows, "ceiling": judged.verdict.row_ceiling},
        )
