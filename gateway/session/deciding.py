"""What is decided of a client's message: whether its text may run, by the policy in force; what upstream gets where it may not."""

from gateway.session.conversation import Conversation
from gateway.session.denial import RESERVED_NAME, Refusal
from gateway.session.holding import A_VERDICT, BYTES_JUDGED, BYTES_SOUGHT, HoldStream
from gateway.session.ledger import PARSE, QUERY, Entry
from gateway.session.names import Unsettled, names_will_change
from gateway.session.refusals import Refusals
from gateway.session.verdicts import Judged
from gateway.statements.policy import is_small, relabel
from gateway.wire.frontend import message


class Deciding:
    """A part of `Messages`, not an object of its own: each session has one.

    `in_hand` is a late verdict for the message that was held for it (so that a full memory cannot hold it again). `work`: what
    was done besides reading messages, in the units of `holding`; whoever counts a turn sets it to 0.
    """

    __slots__ = ("_refusals", "_shared", "in_hand", "work")

    def __init__(self, shared: Conversation) -> None:
        self._shared = shared
        self._refusals = Refusals(shared)
        self.in_hand: Judged | None = None
        self.work = 0

    def way_out_found(self, judged: Judged, text: str) -> None:
        """For the message that was held for it. `text`: what the hint tells besides."""
        self._refusals.way_out = judged, text

    def _judge(self, sql: bytes) -> Judged:
        in_force = self._shared.in_force
        if len(sql) > in_force.policy.max_statement_bytes:
            return in_force.judge(sql)  # refused by its length alone, so that nobody goes through it
        judged = in_force.remembered.get(sql)
        if judged is not None:
            return judged
        self.work += len(sql) // BYTES_SOUGHT
        if (like := in_force.by_shape(sql)) is not None:
            return like[0].for_text(sql, like[1])
        if self.in_hand is not None and self.in_hand.sql == sql and self.in_hand.policy is in_force.policy:
            judged, self.in_hand = self.in_hand, None
            return judged
        if self._is_small(sql):
            self.work += A_VERDICT + len(sql) // BYTES_JUDGED
            return in_force.judge(sql)
        raise HoldStream(sql)

    def _of_text(self, judged: Judged, phase: str) -> Refusal | None:
        """Of the text, and of what it runs by name, under a policy that came since that was judged."""
        lifted = self._shared.ledger.lifted
        if lifted is not None and (phase != "execute" or judged.sql != lifted.sql):
            return self._refusals.of_group()
        refusal = self._refusals.of_text(judged, phase)
        if refusal is not None or judged.passes or self._shared.in_force.policy is self._shared.first_policy:
            return refusal
        for name in judged.executes:
            known = self._shared.prepared.lookup(name)
            if isinstance(known, Judged) and len(judged.executes) > 1 and not self._is_small(known.sql):
                known = None  # one late verdict at a time
            named = self._judged(known)
            refusal = self._refusals.of_text(named, phase) if named is not None else self._refusals.of_unseen_text()
            if refusal is not None:
                return refusal
        return self._refusals.of_cursor() if judged.executes_names else None

    def _is_small(self, sql: bytes) -> bool:
        return is_small(sql, self._shared.facts.inline_bytes)

    def _of_unseen_portal(self, bound: Entry | Unsettled | None) -> Refusal | None:
        """A cursor of SQL's, unless it was bound to a statement that SQL prepared."""
        return self._refusals.of_cursor() if bound is None else self._refusals.of_unseen_text()

    def _judged(self, known: Judged | Unsettled | None) -> Judged | None:
        """What a name stands for, judged by the policy in force, which may be newer than its Parse. Raises HoldStream."""
        if known is None or (isinstance(known, Judged) and known.policy is self._shared.in_force.policy):
            return known
        if isinstance(known, Unsettled):
            raise HoldStream(None)
        judged = self._judge(known.sql)
        return self._refusals.of_types(judged, known.types) if known.types else judged

    def _of_unnamed(self) -> Refusal | None:
        """The unnamed statement: at upstream it may be ours, where the client has none."""
        if self._shared.unnamed_is_ours and self._shared.prepared.lookup(b"") is None:
            return self._refusals.of_absent("26000", "unnamed prepared statement does not exist")
        return None

    def _note_names(self, judged: Judged) -> None:
        """SQL's own PREPARE, DEALLOCATE and DISCARD work in the same name space, unseen by `names`."""
        if judged.verdict.facts.names:
            self._shared.will_define()
            names_will_change(self._shared.prepared, judged.verdict.facts.names, judged)

    def _owe(self, entry: Entry) -> None:
        if not self._shared.ledger.skipping:
            self._shared.ledger.queue.append(entry)

    def _relabelled(self, judged: Judged) -> bytes:
        return relabel(judged.sql, judged.verdict, self._shared.label)

    def _replace_malformed_query(self) -> bytes:
        """By one without any text: upstream cannot read it either, says so itself, and drops no unnamed statement for it."""
        self._owe(Entry(QUERY))
        self._shared.ledger.group_aborted()
        return message(b"Q", b"")

    def _replace_query(self, refusal: Refusal) -> bytes:
        """Upstream runs it, or skips it as it would skip the real one."""
        shared = self._shared
        if not shared.ledger.skipping:
            shared.ledger.queue.append(Entry(QUERY, refusal=refusal))
            shared.ledger.group_aborted()
            shared.prepared.will_drop(b"")
        return refusal.as_query()

    def _replace(self, refusal: Refusal, name: bytes = RESERVED_NAME) -> bytes:
        self._owe(Entry(PARSE, refusal=refusal, name=name))
        return refusal.as_parse(name)
