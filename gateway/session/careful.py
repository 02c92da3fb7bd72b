"""Texts that may pass, but not just so: under a row ceiling, or with the read-only mode lifted for them.

Rules for lifting. A text that makes a temporary table in a read-only session runs outside of a transaction block only, behind our
LIFT and in the same implicit transaction, which ends at the next Sync. As a Query both are one `Watched` exchange, and all else is
held. In an extended group LIFT is put before its first message, when that is a Parse or Bind of such a text and upstream is
idle; from there to the group's Sync only that one text may be bound and executed, and that once: everything else is refused. LIFT
stands under the empty name, which SQL cannot EXECUTE; and a Bind to it that the client's own Parse does not account for never
leaves (`unnamed_is_ours`). So nothing else can run while the mode is lifted, and no client can run LIFT.
"""

from typing import Final

from gateway.access_mode import AccessMode, GrantOption
from gateway.session.conversation import Conversation
from gateway.session.denial import Refusal
from gateway.session.holding import HoldStream
from gateway.session.ledger import COPY_END, INSERTED, SYNC, Entry
from gateway.session.refusals import Refusals, error, named_by_sql
from gateway.session.verdicts import Judged
from gateway.session.watched import LIFT, LIFT_REPLIES, Watched, in_parts
from gateway.wire import sqlstate
from gateway.wire.frontend import FLUSH, build_parse, build_query, message, read_execute

_SEVERAL: Final = "; "  # in the kinds of a text with several statements


class Careful:
    """Its questions raise HoldStream as long as the answer depends on replies that are owed; they change nothing then."""

    __slots__ = ("_flushed_for", "_refusals", "_shared")

    def __init__(self, shared: Conversation, refusals: Refusals) -> None:
        self._shared = shared
        self._refusals = refusals
        self._flushed_for: Entry | None = None

    def of_query(self, judged: Judged) -> Refusal | None:
        """Whether a Query of this text must be refused in the session's state."""
        shared = self._shared
        ledger = shared.ledger
        if ledger.skipping:
            return None
        if self._is_metered(judged) and (refusal := self._refusals.of_day(judged, "query")) is not None:
            return refusal
        if not judged.verdict.lifts_read_only:
            return self._when_nothing_runs() if self.must_watch(judged) else None
        if ledger.group_runs or ledger.copy_in:
            return self._refusals.of_lifting(judged, "query")
        if ledger.owes_but_closes:
            raise HoldStream(None)
        return self._refusals.of_lifting(judged, "query") if shared.status not in (b"I", b"E") else None

    def must_watch(self, judged: Judged) -> bool:
        """Whether such a Query is sent by `send_query`. Where a transaction has failed upstream says so by itself."""
        return bool(judged.ceiling) or self._is_metered(judged) or (judged.verdict.lifts_read_only and self._shared.idle)

    def send_query(self, entry: Entry, judged: Judged, sql: bytes) -> HoldStream:
        shared = self._shared
        lifts = judged.verdict.lifts_read_only
        if lifts:
            shared.ledger.queue.append(Entry(INSERTED, name=LIFT_REPLIES))
        shared.ledger.queue.append(entry)
        meter = shared.volume.of_statement() if shared.volume is not None and judged.verdict.metered else None
        if _SEVERAL in judged.verdict.facts.kind:  # cannot go in parts; read-only, where nothing needs to be taken back
            shared.watched = Watched(shared, entry, judged, None, meter=meter, whole=True)
            return HoldStream(None, build_query(sql), passed=True)
        shared.unnamed_is_ours = True
        shared.watched = Watched(shared, entry, judged, judged.ceiling or None, lifts=lifts, meter=meter)
        return HoldStream(None, LIFT + in_parts(sql) if lifts else in_parts(sql), passed=True)

    def lifting(self, judged: Judged, sql: bytes = b"") -> bytes:
        """What goes before a Parse or Bind of a text that lifts: LIFT, where the group begins with it, or nothing.

        `sql`: of a Bind to the unnamed statement the text to forward: LIFT takes its place, so it is parsed again.
        """
        shared = self._shared
        ledger = shared.ledger
        if ledger.lifted is not None or ledger.skipping or ledger.group_runs:
            return b""
        if ledger.owes_but_closes:
            raise HoldStream(None)
        if not shared.idle:
            return b""
        ledger.lift(judged.sql)
        shared.unnamed_is_ours = True
        if not sql:
            shared.prepared.dropped(b"")
            ledger.queue.append(Entry(INSERTED, name=LIFT_REPLIES))
            return LIFT
        ledger.queue.append(Entry(INSERTED, name=LIFT_REPLIES + b"1"))
        return LIFT + build_parse(b"", sql, judged.types)

    def of_execute(self, judged: Judged | None, portal: bytes) -> Refusal | None:
        """Whether an Execute of this text (None: one that SQL prepared, unseen) must be refused in the session's state."""
        ledger = self._shared.ledger
        if ledger.skipping:
            return None
        if judged is not None and judged.verdict.lifts_read_only:
            if ledger.lifted is None:
                return self._refusals.of_lifting(judged, "execute")
            return self._refusals.of_group() if ledger.lifted.executed else None
        metered = self._is_metered(judged)
        if metered and (refusal := self._refusals.of_day(judged or named_by_sql(portal), "execute")) is not None:
            return refusal
        return self._when_nothing_runs() if metered or self._ceiling(judged) else None

    def send_execute(self, entry: Entry, judged: Judged, body: bytes, bound: Entry | None, *, seen: bool) -> None:
        """It is in the ledger. `bound`: the Bind of its portal; None: a cursor that SQL declared. `seen`: its text is known.

        Raises HoldStream where what is behind it must wait.
        """
        shared = self._shared
        if shared.ledger.lifted is not None:
            shared.ledger.lifted.executed = True
            return
        ceiling = self._ceiling(judged if seen else None) if bound is not None else 0
        meter = None
        if shared.volume is not None and self._is_metered(judged if seen else None):
            volume = shared.volume
            meter = volume.of_statement() if bound is None else volume.of_portal(read_execute(body), bound, shared.portals)
        if ceiling or meter is not None:
            shared.watched = Watched(shared, entry, judged, ceiling or None, meter=meter)
            raise HoldStream(None, message(b"E", body) + FLUSH, passed=True)

    def _is_metered(self, judged: Judged | None) -> bool:
        """Whether its rows are counted (None: those of a text that SQL prepared, unseen)."""
        if self._shared.volume is None:
            return False
        return judged.verdict.metered if judged is not None else self._shared.in_force.policy.metered

    def _ceiling(self, judged: Judged | None) -> int:
        if judged is not None:
            return judged.ceiling
        policy = self._shared.in_force.policy
        if policy.mode is AccessMode.READ_ONLY or GrantOption.REPORT_ONLY in policy.options:
            return 0
        return policy.max_changed_rows or 0

    def _when_nothing_runs(self) -> Refusal | None:
        ledger = self._shared.ledger
        if ledger.copy_in:
            text = "a statement whose rows are counted cannot be sent within a COPY"
            return self._shared.refuse(error(sqlstate.PROGRAM_LIMIT, text, "End the COPY first."), "row-ceiling-uncounted")
        if ledger.runs_nothing:
            return None
        last = ledger.last_run
        # What has no Sync behind it is answered when it is asked for, once.
        flush = ledger.group_is_open and last is not None and last.kind != SYNC
        if flush and last is self._flushed_for and last is not None and last.kind != COPY_END:
            flush = False
        self._flushed_for = last
        raise HoldStream(None, FLUSH if flush else b"")
