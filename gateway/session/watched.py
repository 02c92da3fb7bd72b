"""A statement that is watched until it is certain what it did: upstream commits nothing of it before we say so.

Rules. One at a time: what is behind it is held until it is `done`. It starts when nothing that could run is owed, so that no
other reply can be taken for its own. An Execute goes as it came, with a Flush; the client's Sync is among what is held. A Query
goes as Parse, Bind, Describe, Execute and Flush under the empty names, and its one entry stays at the ledger's head until
ReadyForQuery, as a Query's does; our Sync follows when its tag is known, and the tag goes to the client when upstream has
committed (PostgreSQL itself says CommandComplete of a Query after its commit). A tag over the ceiling is never relayed: a poison
(see `denial`) follows in its place, so that PostgreSQL rolls back what an error there rolls back.

Under a limit of what may be sent (`meter`, see `volume`) the reply is *cut* before the row that would pass it: the client reads
our error, and nothing more of upstream's reply; the statement is cancelled, and a poison follows, so that PostgreSQL rolls back
also where the cancel came too late. It is done when upstream has answered and no cancel is on its way that could hit what follows.
A Query of several statements goes as it is (`whole`; only read-only sessions may send one): what follows the cut may still run,
unseen, but a transaction block that it leaves open is failed by a poison of its own.
"""

from dataclasses import replace
from typing import Final

from gateway.session.conversation import Conversation
from gateway.session.denial import Refusal
from gateway.session.effects import StopStatement
from gateway.session.ledger import QUERY, Entry
from gateway.session.verdicts import Judged
from gateway.session.volume import Meter, Passed
from gateway.statements.in_session import cut, in_portions, over_row_ceiling
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


#: What may come of a reply that was cut, besides its rows, tags and errors: of an Execute; of a Query of several statements.
_REST: Final = frozenset(b"sIHc")
_REST_OF_SEVERAL: Final = frozenset(b"TIHc")


class Watched:
    """`ceiling`: how many rows it may change; None: it is watched for another reason. `lifts`: `LIFT` went before it. `meter`:
    counts what is sent of its rows. `whole`: a Query of several statements, sent as it came.

    `answered`: nothing more comes of its reply. `done`: what is behind it may go on.
    """

    __slots__ = (
        "_cancelling",
        "_ceiling",
        "_fails_block",
        "_next",
        "_sent_before",
        "_shared",
        "_synced",
        "_tag",
        "_verdict",
        "_whole",
        "answered",
        "cut",
        "done",
        "entry",
        "lifts",
        "meter",
    )

    def __init__(
        self,
        shared: Conversation,
        entry: Entry,
        judged: Judged,
        ceiling: int | None,
        *,
        lifts: bool = False,
        meter: Meter | None = None,
        whole: bool = False,
    ) -> None:
        self._shared = shared
        self._whole = whole
        self._cancelling = False
        self._fails_block = False  # the poison that fails a transaction block was sent
        self._sent_before = meter.rows if meter is not None else 0  # of the same portal, by earlier Executes
        self.meter: Final = meter
        self.cut: Refusal | None = None  # what the client has read in place of the rest
        self.answered = False
        self._verdict = replace(judged.verdict, row_ceiling=ceiling or 0)
        self._ceiling = ceiling
        self._next = b""  # what shall go upstream
        self._synced = entry.kind != QUERY or whole  # whether the Sync behind it is sent, or is the client's
        self._tag = b""  # kept back from the client
        self.entry: Final = entry
        self.lifts: Final = lifts
        self.done = False

    def take(self) -> bytes:
        """What goes upstream now, before anything that is held."""
        out, self._next = self._next, b""
        return out

    def reply_to_part(self, kind: int) -> None:
        """A reply to one of the messages that stand for a Query. Raises ProtocolViolation."""
        if self._whole or kind not in (b"3" if self._tag else b"12n"):
            raise ProtocolViolation(f"unexpected message {chr(kind)!r}")

    def completed(self, tag: bytes) -> bool:
        """Its CommandComplete. True: it is kept back. Raises ProtocolViolation."""
        if self.cut is not None:
            return True
        if self._whole:
            if self.meter is not None:
                self.meter.restart()
            return False
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
        self._is_answered()
        return False

    def suspended(self) -> bool:
        """It stopped at the row limit of its Execute. True: it is kept back.

        Under a ceiling its rows are changed, and it does not say how many.
        """
        if self._ceiling is None:
            return False
        self._refuse(in_portions(self._verdict), None)
        return True

    def take_row(self, size: int) -> bytes | None:
        """A DataRow or CopyData of so many bytes. None: it may go; else what the client gets instead of it and all behind it."""
        if self.cut is not None:
            return b""
        passed = self.meter.take(size) if self.meter is not None else None
        return self._cut(passed).message() if passed is not None else None

    def _cut(self, passed: Passed) -> Refusal:
        shared, entry, meter = self._shared, self.entry, self.meter
        verdict = cut(self._verdict, passed.rule, passed.grant, passed.limit, passed.resets)
        entry.rows = (entry.rows or 0) + (meter.rows - self._sent_before if meter is not None else 0)
        said = {"rule": verdict.rule, "sqlstate": verdict.sqlstate, "message": verdict.message}
        shared.event("cut", {**said, "statement": entry.statement_id, "rows": entry.rows, "limit": passed.limit})
        self.cut = entry.refusal = refusal = shared.refuse_verdict(verdict)
        self._tag = b""
        self._cancelling = True
        shared.ask(StopStatement())
        if self._whole:
            entry.sqlstate = verdict.sqlstate
        else:
            self._next += refusal.as_parse()
            self._sync()
        return refusal

    def cut_rest(self, kind: int) -> None:
        """A message of the reply's rest that tells nothing. Raises ProtocolViolation."""
        if kind not in (_REST_OF_SEVERAL if self._whole else _REST):
            raise ProtocolViolation(f"unexpected message {chr(kind)!r}")

    def fails_block(self, status: bytes) -> bool:
        """ReadyForQuery came for it: whether a transaction block is to be failed before the client may read of it."""
        if not self._whole or self.cut is None or status != b"T":
            return False
        if self._fails_block:
            raise ProtocolViolation("a success where a replaced statement had to fail")
        self._fails_block = True
        self._next += self.cut.as_query()
        return True

    def cancel_over(self) -> None:
        """No cancel of ours is on its way any more."""
        self._cancelling = False
        self.done = self.answered

    def _is_answered(self) -> None:
        self.answered = True
        self.done = not self._cancelling

    def failed(self) -> None:
        """Upstream said ERROR where its reply was due."""
        self._tag = b""
        self._sync()

    def lost(self) -> None:
        """An error took it along: an inserted statement's, the client's, or our poison's. The client's Sync is still to come."""
        self._is_answered()
        if self.lifts:
            self._sync()
            self._shared.ledger.sync_sent()

    def ready(self) -> bytes:
        """ReadyForQuery came for it: what the client gets before that. Raises ProtocolViolation."""
        if not self._synced:
            raise ProtocolViolation("ReadyForQuery before its Sync")
        self._is_answered()
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
