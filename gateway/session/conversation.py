"""What both directions of a relayed session share: the ledger, the names, the policy in force, and what is to be audited."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from gateway.audit.events import STATEMENT_STARTED, FieldValue, session_event, statement_ended
from gateway.session.denial import Refusal, fields_of
from gateway.session.effects import CatalogTouched, Effect
from gateway.session.ledger import EXECUTE, QUERY, Entry, Ledger
from gateway.session.names import NOTHING_NAMED, Names
from gateway.session.startup_settings import label_of
from gateway.session.tally import Progress, Tally
from gateway.session.verdicts import Judged, PolicyInForce
from gateway.statements.policy import Policy
from gateway.statements.verdict import Verdict
from gateway.wire.backend import ErrorFields

if TYPE_CHECKING:
    from gateway.session.volume import Volume
    from gateway.session.watched import Watched


@dataclass(frozen=True, slots=True)
class Facts:
    """Fixed when relaying begins; one object for sessions that are alike. `pinned` are the settings that may never change.

    `new_nonce` makes what nobody can predict, 16 hex digits: part of every poison's mark.
    `login`: the database role that it is upstream. `by_password`: the person showed their own password to begin it.
    """

    user: str
    target: str
    pinned: dict[str, str]
    new_nonce: Callable[[], str]
    max_message_bytes: int
    max_prepared_statements: int
    inline_bytes: int
    login: str = ""
    by_password: bool = True


@dataclass(frozen=True, slots=True)
class Naming:
    """Of a session that was opened ahead: what RESET makes of its name, and the messages that put it right."""

    reset_name: str
    name_again: bytes


_NONE: Final[frozenset[str]] = frozenset()  # each empty one made anew takes 216 bytes


class Beside(Protocol):
    """Who relays beside the ledger."""

    def settle(self) -> None:
        """Tell the ledger what is owed: somebody else is about to look."""
        ...


class Adviser(Protocol):
    def way_out(self, judged: Judged) -> str | None:
        """How a text that was refused can be asked for, "" if it cannot; None: seek it first (see `SeekWayOut`)."""
        ...


class Conversation(Progress):
    """`records` (audit bodies) and `effects` are emptied by the shell after each call into either side."""

    __slots__ = (
        "_marks",
        "_nonce",
        "adviser",
        "audit_sqlstate",
        "beside",
        "catalog_touched",
        "effects",
        "facts",
        "first_policy",
        "ledger",
        "lists_changed",
        "name_lost",
        "naming",
        "portals",
        "prepared",
        "records",
        "session_id",
        "temporary",
        "unnamed_is_ours",
        "upstream_fatal",
        "volume",
        "watched",
    )

    def __init__(
        self,
        facts: Facts,
        session_id: str,
        in_force: PolicyInForce,
        short_fragment: bytes,
        rest_fragment: bytes = b"",
        tally: Tally | None = None,
        naming: Naming | None = None,
    ) -> None:
        self.facts = facts
        self.session_id = session_id
        self.naming = naming
        super().__init__(in_force, tally or Tally(), short_fragment, rest_fragment)
        self.first_policy: Policy | None = in_force.policy
        self.lists_changed = False  # since the session began: more of the policy than what is in the database
        self.catalog_touched = False  # by DDL, in a transaction that may not be over
        self.ledger: Final = Ledger()
        self.prepared: Names[Judged] = NOTHING_NAMED  # type: ignore[assignment]
        self.portals: Names[Entry] = NOTHING_NAMED  # type: ignore[assignment]
        self.records: list[bytes] = []
        self.effects: Sequence[Effect] = ()
        self.volume: Volume | None = None  # of a grant that limits what is sent; its policy is `metered`
        self.watched: Watched | None = None  # see there: one statement, with all behind it on hold
        #: the temporary tables that the session made, whether or not they still are
        self.temporary: frozenset[str] = _NONE
        self.unnamed_is_ours = False  # at upstream the unnamed statement may be one that the client did not prepare
        self.name_lost = False  # upstream's application_name was reset to that of a session that waits
        self.upstream_fatal = ""  # the code of a FATAL that upstream already told the client
        self.audit_sqlstate = ""  # set by the shell while the audit cannot be written: statements are refused with it
        self._marks = 0
        self._nonce = ""  # most sessions need none
        self.beside: Beside | None = None
        self.adviser: Adviser | None = None

    def let_go(self) -> None:
        """The session is over, and so is the way back to it."""
        self.beside = self.adviser = None

    def adopt(self, in_force: PolicyInForce) -> None:
        """Judge by this from now on, also what is prepared already."""
        before, policy = self.in_force.policy, in_force.policy
        if policy is not before:
            self.lists_changed = self.lists_changed or replace(policy, catalog=before.catalog) != before
            self.first_policy = None  # it may come back; what was judged in between does not
        self.in_force = in_force

    @property
    def label(self) -> str:
        """What upstream's application_name begins with."""
        return label_of(self.facts.user, self.session_id)

    @property
    def nonce(self) -> str:
        """The session's own, unpredictable."""
        self._nonce = nonce = self._nonce or self.facts.new_nonce()
        return nonce

    @property
    def busy(self) -> bool:
        """Upstream owes an answer."""
        self.settle()
        return self.ledger.busy and not self.ledger.owes_only_name

    @property
    def idle(self) -> bool:
        """Nothing that matters is owed, and upstream is in no transaction: none of a block, none of a group without its Sync."""
        ledger = self.ledger
        return self.status == b"I" and not (ledger.copy_in or ledger.skipping or ledger.owes_but_closes)

    def settle(self) -> None:
        """The ledger is about to be looked at."""
        if self.beside is not None:
            self.beside.settle()

    def will_define(self) -> None:
        """A name is about to be given a meaning, for the first time perhaps."""
        if self.prepared is NOTHING_NAMED:
            self.prepared, self.portals = Names(), Names()

    def transaction_over(self) -> None:
        """Upstream is idle: portals end with their transaction, and what DDL did can be seen now."""
        self.portals.all_dropped()
        if self.catalog_touched:
            self.catalog_touched = False
            self.ask(CatalogTouched())

    def ask(self, effect: Effect) -> None:
        """Something of the shell."""
        self.effects = (*self.effects, effect)

    def way_out(self, judged: Judged) -> str | None:
        """What the hint of a refusal tells besides."""
        return self.adviser.way_out(judged) if self.adviser is not None else ""

    def refuse(self, fields: ErrorFields, rule: str) -> Refusal:
        """A refusal that is not about a text, with its own audit event."""
        if not self.audit_sqlstate:
            self.event("refused", {"rule": rule, "sqlstate": fields.sqlstate, "message": fields.message})
        return self._marked(fields, rule)

    def answer(self, fields: ErrorFields) -> Refusal:
        """What upstream would say by itself: no refusal to speak of."""
        return self._marked(fields, "absent")

    def _marked(self, fields: ErrorFields, rule: str) -> Refusal:
        self._marks += 1
        return Refusal(fields, rule, f"pgbastion_denied_{self.nonce}_{self._marks}".encode())

    def refuse_verdict(self, verdict: Verdict, way_out: str = "") -> Refusal:
        """The text's own audit record tells of it. `way_out`: is told behind the verdict's hint."""
        self.tally.denied += 1
        return self._marked(fields_of(verdict, self.facts.target, way_out), verdict.rule)

    def started(self, text: bytes, phase: str, parameters: int) -> int:
        """Record that a text (its audit fragment) is about to leave, or was refused; returns its number in the session."""
        self.tally.statements += 1
        self.statements = number = self.statements + 1
        self.records.append(STATEMENT_STARTED[phase] % (self.short, self.rest, number, parameters, text))
        return number

    def ended(self, entry: Entry, now: float, outcome: str) -> None:
        if entry.statement_id:
            microseconds = int((now - entry.started) * 1_000_000)
            self.records.append(
                statement_ended(self.short, entry.statement_id, microseconds, entry.rows, entry.sqlstate, outcome)
            )

    def event(self, name: str, fields: Mapping[str, FieldValue]) -> None:
        self.records.append(session_event(name, self.short + self.rest, fields))

    def abandon_all(self, now: float) -> None:
        """The session ends while upstream still owes replies: nobody will learn how these statements went."""
        self.settle()
        for entry in self.ledger.queue:
            if entry.kind in (QUERY, EXECUTE):
                self.ended(entry, now, "unknown")
        self.ledger.queue.clear()
