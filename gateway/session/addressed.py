"""Statements for the gateway itself (see `statements/addressed.py`), in a session: asked of the shell, answered by upstream.

A Query is held until the shell has the answer (`AnswerAddressed`), and then a SELECT of constants goes upstream in its place. So
is a Bind: its statement is at upstream one that only describes the columns, and the answer is prepared under a name of ours, which
is closed again behind the Bind. So a prepared statement shows what is true when it is bound, not when it was prepared.

What changes something does it then, once for each Query and Bind, whether or not the transaction around it commits; but not before
all that was sent earlier is answered, and not where upstream would run nothing: behind an error, and in a failed transaction.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias, assert_never

from gateway.session.constant_rows import Column, Kind, Row, select_of, unanswered
from gateway.session.conversation import Conversation
from gateway.session.effects import AnswerAddressed
from gateway.session.holding import HoldStream
from gateway.session.ledger import BIND, COPY_END, INSERTED, Entry
from gateway.session.verdicts import Judged
from gateway.statements.addressed import Addressed, AskAccess, GiveBack, Show, Shown
from gateway.statements.verdict import Facts, Verdict
from gateway.wire import sqlstate
from gateway.wire.frontend import FLUSH, build_parse, message

SESSION: Final = (
    Column("session"),
    Column("user_name"),
    Column("target"),
    Column("environment"),
    Column("mode"),
    Column("options", Kind.TEXTS),
    Column("started_at", Kind.INSTANT),
    Column("ends_at", Kind.INSTANT),
    Column("grant_id"),
    Column("request", Kind.INTEGER),
    Column("proof"),
    Column("address"),
    Column("statements", Kind.LARGE),
    Column("bytes_sent", Kind.LARGE),
    Column("max_changed_rows", Kind.LARGE),
    Column("max_rows", Kind.LARGE),
    Column("max_bytes", Kind.LARGE),
    Column("max_bytes_per_day", Kind.LARGE),
)
GRANTS: Final = (
    Column("target"),
    Column("environment"),
    Column("mode"),
    Column("options", Kind.TEXTS),
    Column("given_to"),
    Column("state"),
    Column("since", Kind.INSTANT),
    Column("until", Kind.INSTANT),
    Column("windows", Kind.TEXTS),
    Column("limited_to", Kind.TEXTS),
    Column("database_role"),
    Column("request", Kind.INTEGER),
    Column("grant_id"),
)
REQUESTS: Final = (
    Column("number", Kind.INTEGER),
    Column("state"),
    Column("target"),
    Column("wanted"),
    Column("mode"),
    Column("duration_seconds", Kind.INTEGER),
    Column("reason"),
    Column("ticket"),
    Column("asked_by"),
    Column("holder"),
    Column("asked_at", Kind.INSTANT),
    Column("decide_by", Kind.INSTANT),
    Column("starts_at", Kind.INSTANT),
    Column("ends_at", Kind.INSTANT),
    Column("next"),
)
#: What `SELECT pgbastion.request(...)` and `relinquish` show.
OUTCOME: Final = (
    Column("number", Kind.INTEGER),
    Column("state"),
    Column("target"),
    Column("wanted"),
    Column("ends_at", Kind.INSTANT),
    Column("next"),
)

Answer: TypeAlias = tuple[Row, ...] | Verdict
"""The rows, or why there are none."""


def columns_of(asked: Addressed) -> tuple[Column, ...]:
    match asked:
        case Show(Shown.SESSION):
            return SESSION
        case Show(Shown.GRANTS):
            return GRANTS
        case Show(Shown.REQUESTS):
            return REQUESTS
        case AskAccess() | GiveBack():
            return OUTCOME
        case Show():
            raise ValueError(asked)
    assert_never(asked)


def refused(rule: str, message: str, hint: str = "", code: str = sqlstate.INSUFFICIENT_PRIVILEGE) -> Verdict:
    return Verdict(False, rule, Facts("select"), code, f"{message} (rule {rule})", hint)


def not_answered(asked: Addressed) -> Verdict:
    """Nobody who knows has answered in time."""
    hint = "Try again in a moment."
    if isinstance(asked, AskAccess):
        hint = "SHOW pgbastion.requests tells whether it was asked for; to send it again asks for nothing twice."
    return refused("gateway-unanswered", "the gateway could not answer in time", hint, sqlstate.CANNOT_CONNECT_NOW)


FAILED: Final = refused("gateway-unanswered", "the gateway could not answer; it is logged", "", sqlstate.INTERNAL_ERROR)
TOO_MUCH: Final = refused(
    "gateway-statement",
    "these statements are too long or too tangled to be asked for here",
    "Ask for them with: pgbastion request create --sql FILE",
    sqlstate.PROGRAM_LIMIT,
)
_IN_COPY: Final = refused(
    "gateway-statement", "the gateway answers nothing within a COPY", "End the COPY first.", sqlstate.FEATURE_NOT_SUPPORTED
)
NO_PARAMETERS: Final = refused(
    "gateway-statement",
    "a statement for the gateway takes no parameters",
    "Write each value into the text as a literal; parameters ($1) cannot be used here.",
    sqlstate.FEATURE_NOT_SUPPORTED,
)


@dataclass(frozen=True, slots=True)
class _Outcome:
    sql: bytes
    answer: Answer


class AddressedStatements:
    __slots__ = ("_flushed_for", "_outcome", "_shared")

    def __init__(self, shared: Conversation) -> None:
        self._shared = shared
        self._outcome: _Outcome | None = None
        self._flushed_for: Entry | None = None

    def conclude(self, asked: AnswerAddressed, answer: Answer) -> None:
        """For the message that is held."""
        self._outcome = _Outcome(asked.sql, answer)

    def forget(self) -> None:
        """It was read again, or is gone."""
        self._outcome = None

    @staticmethod
    def described(asked: Addressed) -> bytes:
        """The text that is prepared for it, to be described alone."""
        return unanswered(columns_of(asked))

    def answered(self, judged: Judged) -> bytes | Verdict:
        """The text with the answer, or why it is refused. Raises HoldStream until it is known. Not where upstream skips."""
        asked = judged.verdict.addressed
        if asked is None:
            raise ValueError(judged.sql)
        outcome, self._outcome = self._outcome, None
        if outcome is not None and outcome.sql == judged.sql:
            if isinstance(outcome.answer, Verdict):
                return outcome.answer
            return select_of(_name(asked), columns_of(asked), outcome.answer)
        if not isinstance(asked, Show):
            if self._shared.ledger.copy_in:
                return _IN_COPY
            self._wait_for_replies()
            if self._shared.status == b"E":
                return self.described(asked)  # and upstream says why it runs nothing
        raise HoldStream(None, effect=AnswerAddressed(judged.sql, asked))

    def _wait_for_replies(self) -> None:
        """Until it is certain that upstream would run it. What has no Sync behind it is answered when it is asked for, once."""
        ledger = self._shared.ledger
        if not ledger.queue:
            return
        last = ledger.queue[-1]
        flush = ledger.group_is_open and last.kind != COPY_END and last is not self._flushed_for
        self._flushed_for = last
        raise HoldStream(None, FLUSH if flush else b"")

    def bound(self, text: bytes, body: bytes, portal: bytes, statement: bytes, entry: Entry) -> bytes:
        """The answer prepared, the client's Bind to it instead of to `statement`, the name closed again; all in the ledger."""
        name = f"pgbastion_{self._shared.nonce}_answer".encode()
        rest = body[len(portal) + len(statement) + 2 :]
        close = message(b"C", b"S" + name + b"\0")
        self._shared.ledger.queue += (Entry(INSERTED, name=b"31"), entry, Entry(INSERTED, name=b"3"))
        self._shared.will_define()
        self._shared.portals.send(portal, entry)
        return b"".join((close, build_parse(name, text), message(b"B", portal + b"\0" + name + b"\0" + rest), close))


def bind_entry(portal: bytes, judged: Judged, parameters: int) -> Entry:
    return Entry(BIND, 0, 0.0, None, portal, judged, parameters)


def _name(asked: Addressed) -> str:
    return f"pgbastion.{asked.shown}" if isinstance(asked, Show) else "pgbastion.request"
