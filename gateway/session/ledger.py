"""Which replies upstream still owes, in order. (Documentation: "Extended Query" and "Pipelining".)

Rules. Every message that upstream answers leaves one entry when it is forwarded. A Query's entry stays until ReadyForQuery; an
extended message's until its own completion. An error in the extended protocol takes with it every entry up to the next Sync, and
if that Sync is not sent yet, everything until it is sent is *skipped* by upstream and leaves no entry. While COPY IN runs, Sync
and Flush are swallowed by upstream until CopyDone or CopyFail.

Before a message of the client's, some of ours may stand (INSERTED), whose replies are for us alone. So may a whole group of ours,
with its Sync, that puts the session's name right (NAMING), sent while nothing is owed; its one entry stays until ReadyForQuery.
"""

from typing import Final

from gateway.session.denial import Refusal
from gateway.session.verdicts import Judged

QUERY: Final = 1
PARSE: Final = 2
BIND: Final = 3
DESCRIBE: Final = 4
EXECUTE: Final = 5
CLOSE: Final = 6
SYNC: Final = 7
COPY_END: Final = 8
CLOSE_PORTAL: Final = 9
INSERTED: Final = 10
NAMING: Final = 11

#: These run nothing, and no COPY can begin with them.
_DEFINITIONS: Final = frozenset((PARSE, BIND, DESCRIBE, CLOSE, CLOSE_PORTAL))
_RUNS: Final = frozenset((QUERY, EXECUTE))
_GROUP_ENDS: Final = frozenset((SYNC, QUERY, NAMING))
_CLOSES: Final = frozenset((CLOSE, CLOSE_PORTAL))
#: Where one of these is due, replies to what we INSERTED may come.
BESIDE_INSERTED: Final = _CLOSES | {INSERTED}


class Entry:
    """One owed reply. `statement_id` is the audit's (0: not audited), `started` monotonic seconds, `rows` as the tags say.

    Of a Bind, `name` is the portal's, `judged` the statement's and `parameters` how many values were bound. Of what we INSERTED,
    `name` has the types of the replies that are due, and `parameters` tells how many have come. Of a NAMING, `parameters` is the
    number of the attempt; of a Query, how many statements it has. Of a Query that was answered by the
    gateway, `name` is the command's tag: upstream got an empty text.
    """

    __slots__ = ("judged", "kind", "name", "parameters", "refusal", "rows", "sqlstate", "started", "statement_id")

    def __init__(
        self,
        kind: int,
        statement_id: int = 0,
        started: float = 0.0,
        refusal: Refusal | None = None,
        name: bytes = b"",
        judged: Judged | None = None,
        parameters: int = 0,
    ) -> None:
        self.kind = kind
        self.statement_id = statement_id
        self.started = started
        self.refusal = refusal
        self.name = name
        self.judged = judged
        self.parameters = parameters
        self.rows: int | None = None
        self.sqlstate = ""


#: Entries without any facts of their own are shared.
SYNC_ENTRY: Final = Entry(SYNC)
DESCRIBE_ENTRY: Final = Entry(DESCRIBE)
COPY_END_ENTRY: Final = Entry(COPY_END)


class Lifted:
    """The group that is being sent began with our lifting of the read-only mode, for the sake of this text alone."""

    __slots__ = ("executed", "sql")

    def __init__(self, sql: bytes) -> None:
        self.sql = sql
        self.executed = False


class Ledger:
    """`queue` is read directly by the relay's hot loops; it changes only there and here.

    `unusual`: upstream skips, or its read-only mode is lifted, so that no short cut may be taken.
    """

    __slots__ = ("copy_in", "lifted", "queue", "skipping", "swallowed_syncs", "unusual")

    def __init__(self) -> None:
        self.queue: list[Entry] = []  # short: a deque would cost each session 700 bytes more
        self.skipping = False
        self.copy_in = False
        self.swallowed_syncs = 0
        self.lifted: Lifted | None = None
        self.unusual = False

    @property
    def busy(self) -> bool:
        return bool(self.queue) or self.copy_in

    @property
    def owes_only_name(self) -> bool:
        """What upstream runs is nothing of the client's."""
        return not self.copy_in and all(entry.kind == NAMING for entry in self.queue)

    @property
    def runs_nothing(self) -> bool:
        """Nothing that is owed can run a statement or begin a COPY."""
        return not self.copy_in and all(entry.kind in _DEFINITIONS for entry in self.queue)

    @property
    def last_run(self) -> Entry | None:
        """Of what is owed, the last that is no mere definition."""
        return next((entry for entry in reversed(self.queue) if entry.kind not in _DEFINITIONS), None)

    @property
    def first_run(self) -> Entry | None:
        """Of what is owed, the first that runs something of the client's."""
        return next((entry for entry in self.queue if entry.kind in _RUNS), None)

    @property
    def group_is_open(self) -> bool:
        """Something that is owed was sent behind the last Sync. (What was answered already is not known here.)"""
        return bool(self.queue) and self.queue[-1].kind not in _GROUP_ENDS

    @property
    def group_runs(self) -> bool:
        """As `group_is_open`, but for Closes, which begin no transaction (drivers send them before the next Parse)."""
        for entry in reversed(self.queue):
            if entry.kind not in _CLOSES:
                return entry.kind not in _GROUP_ENDS
        return False

    @property
    def owes_but_closes(self) -> bool:
        return any(entry.kind not in _CLOSES for entry in self.queue)

    def lift(self, sql: bytes) -> None:
        self.lifted = Lifted(sql)
        self.unusual = True

    def group_aborted(self) -> None:
        """A Query that will fail was sent: it ends what the group before it began."""
        self.lifted = None
        self.unusual = self.skipping

    def sync_sent(self) -> None:
        if self.copy_in:
            self.swallowed_syncs += 1
            return
        self.lifted = None
        self.skipping = self.unusual = False
        self.queue.append(SYNC_ENTRY)

    def copy_end_sent(self) -> None:
        """CopyDone or CopyFail left: it ends a COPY that upstream has announced, or one whose announcement is on its way."""
        if self.copy_in:
            self.copy_in = False
        elif self.queue:
            self.queue.append(COPY_END_ENTRY)

    def copy_in_started(self) -> None:
        """CopyInResponse for the head: what was sent behind it, up to the first CopyDone or CopyFail, feeds the COPY."""
        kept = self.queue[:1]
        self.copy_in = True
        seen = 1
        for entry in self.queue[1:]:
            seen += 1
            if entry.kind == COPY_END:
                self.copy_in = False
                break
            if entry.kind == SYNC:
                self.swallowed_syncs += 1
            else:
                kept.append(entry)
        self.queue[:seen] = kept

    def popped(self) -> None:
        """After a head left: stray ends of COPY are answered by nothing."""
        while self.queue and self.queue[0].kind == COPY_END:
            del self.queue[0]

    def fail(self) -> list[Entry]:
        """An ERROR in the extended protocol: returns the entries that it takes with it, the failed one first."""
        self.copy_in = False
        ends = next((at for at, entry in enumerate(self.queue) if entry.kind == SYNC), len(self.queue))
        lost = self.queue[:ends]
        del self.queue[:ends]
        if not self.queue:
            self.skipping = self.unusual = True
        return lost

    def absorb_surplus_ready(self) -> bool:
        """Whether a ReadyForQuery that nobody waits for is explained by a Sync that a failing COPY may have left unread."""
        if self.swallowed_syncs:
            self.swallowed_syncs -= 1
            return True
        return False

    def settled(self) -> None:
        """A statement behind them was answered (or their COPY succeeded): no doubt is left about earlier Syncs."""
        self.swallowed_syncs = 0
