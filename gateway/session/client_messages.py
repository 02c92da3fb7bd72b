"""One whole client message at a time: judge it, enter it in the ledger, say what goes upstream instead of it (None: itself).

(Documentation: "Message Flow". What PostgreSQL answers to malformed bodies: an ERROR 08P01, and the session lives.)
"""

from collections.abc import Callable
from typing import Final

from gateway.audit.events import statement_fragment
from gateway.session.addressed import NO_PARAMETERS, AddressedStatements, bind_entry
from gateway.session.bound_values import BoundValues
from gateway.session.careful import Careful
from gateway.session.conversation import Conversation
from gateway.session.deciding import Deciding
from gateway.session.effects import GoOn
from gateway.session.holding import AN_UNKNOWN, VALUES_AT_ONCE, VALUES_BOUND, HoldStream
from gateway.session.ledger import BIND, CLOSE, CLOSE_PORTAL, DESCRIBE_ENTRY, EXECUTE, PARSE, QUERY, Entry
from gateway.session.names import UNSETTLED
from gateway.session.own_password import TAG, OwnPassword
from gateway.session.refusals import error, named_by_sql
from gateway.session.verdicts import Judged
from gateway.statements.catalog import FIRST_USER_OID
from gateway.statements.verdict import Verdict
from gateway.wire import sqlstate
from gateway.wire.backend import ErrorFields
from gateway.wire.errors import BadMessage, ProtocolViolation
from gateway.wire.frontend import (
    BindHead,
    build_parse,
    build_query,
    check_bind_values,
    message,
    read_bind_head,
    read_execute,
    read_kind_and_name,
    read_parse,
    read_query,
)

_QUERY: Final = ord("Q")
_STATEMENT: Final = ord("S")


class Messages(Deciding):
    """`read` is called with each; what it may and must do for them is the methods below."""

    __slots__ = ("_careful", "_values", "addressed", "own_password")

    def __init__(self, shared: Conversation) -> None:
        super().__init__(shared)
        self._careful = Careful(shared, self._refusals)
        self.own_password = OwnPassword(shared)
        self.addressed = AddressedStatements(shared)
        self._values: BoundValues | None = None  # of the Bind that is held because it has so many

    def look_on(self, held: bytes | bytearray) -> bool:
        """At more of the message that `held` begins with, if there is more than one turn may take. True: read it again now."""
        return self._values is None or self._values.look_on_in(held)

    def read(self, kind: int, body: bytes, now: float) -> bytes | None:
        """Raises HoldStream (the message has changed nothing then) and ProtocolViolation."""
        handler = _HANDLERS.get(kind)
        if handler is None:
            raise ProtocolViolation(f"invalid frontend message type {kind}")
        try:
            return handler(self, body, now)
        except BadMessage as bad:
            refusal = self._shared.refuse(ErrorFields("ERROR", bad.sqlstate, bad.message), "malformed-message")
            return self._replace_malformed_query() if kind == _QUERY else self._replace(refusal)

    def _describe(self, body: bytes, _now: float) -> bytes | None:
        kind, name = read_kind_and_name(body)
        if kind == _STATEMENT and not name and (refusal := self._of_unnamed()) is not None:
            return self._replace(refusal)
        self._owe(DESCRIBE_ENTRY)
        return None

    def _copy_end(self, _body: bytes, _now: float) -> None:
        self._shared.ledger.copy_end_sent()

    def _flush(self, body: bytes, _now: float) -> None:
        if body and not self._shared.ledger.copy_in:
            raise BadMessage("invalid message format")

    def _query(self, body: bytes, now: float) -> bytes | None:
        shared = self._shared
        judged = self._judge(read_query(body))
        if not judged.verdict.allowed and (own := self.own_password.of_query(judged)) is not None:
            return self._query_of_password(judged, own, now)
        refusal = self._of_text(judged, "query")
        if refusal is None and not judged.passes:
            refusal = self._careful.of_query(judged)
        answer = b""
        if refusal is None and judged.verdict.addressed is not None and not shared.ledger.skipping:
            found = self.addressed.answered(judged)
            if isinstance(found, Verdict):
                refusal = self._refusals.of_answer(judged, found, "query")
            else:
                answer = found
        if refusal is not None:
            return self._replace_query(refusal)
        number = shared.started(judged.fragment, "query", 0)
        entry = Entry(QUERY, number, now, judged=judged, parameters=judged.statements)
        if shared.ledger.skipping:
            shared.ended(entry, now, "skipped")
            return None
        shared.prepared.will_drop(b"")
        self._note_names(judged)
        if not judged.passes and self._careful.must_watch(judged):
            raise self._careful.send_query(entry, judged, self._relabelled(judged))
        shared.ledger.queue.append(entry)
        if answer:
            return build_query(answer)
        return build_query(self._relabelled(judged)) if judged.verdict.edits else None

    def _query_of_password(self, judged: Judged, verdict: Verdict, now: float) -> bytes:
        """What upstream gets of it is an empty text, or what fails."""
        shared = self._shared
        text = judged.sql.decode("utf-8", "backslashreplace")
        number = shared.started(statement_fragment(text, verdict, shared.in_force.audit_bytes), "query", 0)
        if not verdict.allowed:
            return self._replace_query(shared.refuse_verdict(verdict))
        shared.ledger.queue.append(Entry(QUERY, number, now, name=TAG))
        shared.prepared.will_drop(b"")
        return build_query(b"")

    def _parse(self, body: bytes, now: float) -> bytes | None:
        shared = self._shared
        name, sql, types = read_parse(body)
        existing = shared.prepared.lookup(name) if name else None
        if existing is UNSETTLED:
            raise HoldStream(None)
        judged = self._judge(sql)
        refusal = self._of_text(judged, "parse") or self._refusals.of_definition(name, types)
        asked = judged.verdict.addressed
        if refusal is None and asked is not None and types:
            refusal = self._refusals.of_answer(judged, NO_PARAMETERS, "parse")
        if refusal is not None:
            if not name:
                shared.prepared.will_drop(b"")  # as any error in such a Parse does
            return self._replace(refusal, name)
        lifting = b""
        if not judged.passes and judged.verdict.lifts_read_only:
            lifting = self._careful.lifting(judged)
            judged = judged.with_types(types)
        elif any(oid >= FIRST_USER_OID for oid in types):
            judged = judged.with_types(types)
        entry = Entry(PARSE, shared.started(judged.fragment, "parse", 0), now, None, name, judged)
        if shared.ledger.skipping:
            shared.ended(entry, now, "skipped")
            return None
        if isinstance(existing, Judged):
            entry.judged = existing  # upstream will answer 42P05: the first text stands
        shared.ledger.queue.append(entry)
        shared.will_define()
        shared.prepared.send(name, entry.judged)
        if asked is not None:
            return build_parse(name, self.addressed.described(asked))
        if judged.verdict.edits or lifting:
            return lifting + build_parse(name, self._relabelled(judged), types)
        return None

    def _bind(self, body: bytes, now: float) -> bytes | None:
        head = read_bind_head(body)
        self.work += min(head.parameters, VALUES_AT_ONCE) // VALUES_BOUND
        if head.parameters <= VALUES_AT_ONCE:
            check_bind_values(body, head.end, head.parameters)
            return self._bind_as_read(head, body)
        self._values = values = self._values or BoundValues(head)
        try:
            if not values.look_on(body):
                raise HoldStream(None, effect=GoOn())
        except BadMessage:
            self._values = None
            raise
        instead = self._bind_as_read(head, body)
        self._values = None
        return instead

    def _bind_as_read(self, head: BindHead, body: bytes) -> bytes | None:
        shared, portal, statement, parameters = self._shared, head.portal, head.statement, head.parameters
        known = shared.prepared.lookup(statement)
        judged = self._judged(known)
        if judged is not None and judged is not known:
            shared.prepared.renew(statement, judged)
        refusal = self._of_text(judged, "execute") if judged is not None else self._refusals.of_unseen_text()
        if refusal is None and not statement:
            refusal = self._of_unnamed()
        if refusal is None and portal and len(shared.portals) >= shared.facts.max_prepared_statements:
            text = f"too many open portals (limits.max_prepared_statements is {shared.facts.max_prepared_statements})"
            refusal = shared.refuse(error(sqlstate.CONFIGURATION_LIMIT, text, "Close some of them."), "too-many-portals")
        if refusal is not None:
            return self._replace(refusal)
        if judged is not None and judged.verdict.addressed is not None and not (shared.ledger.skipping or parameters):
            return self._bind_to_answer(judged, body, portal, statement)
        lifting = b""
        if judged is not None and not judged.passes and judged.verdict.lifts_read_only:
            lifting = self._careful.lifting(judged, self._relabelled(judged) if not statement else b"")
        if not shared.ledger.skipping:
            entry = Entry(BIND, 0, 0.0, None, portal, judged, parameters)
            shared.ledger.queue.append(entry)
            shared.will_define()
            shared.portals.send(portal, entry)
        return lifting + message(b"B", body) if lifting else None

    def _bind_to_answer(self, judged: Judged, body: bytes, portal: bytes, statement: bytes) -> bytes:
        answer = self.addressed.answered(judged)
        if isinstance(answer, Verdict):
            return self._replace(self._refusals.of_answer(judged, answer, "execute"))
        return self.addressed.bound(answer, body, portal, statement, bind_entry(portal, judged, 0))

    def _execute(self, body: bytes, now: float) -> bytes | None:
        shared = self._shared
        portal = read_execute(body)
        bound = shared.portals.lookup(portal)
        if bound is UNSETTLED:
            raise HoldStream(None)
        judged = self._judged(bound.judged) if isinstance(bound, Entry) else None
        refusal = self._of_text(judged, "execute") if judged is not None else self._of_unseen_portal(bound)
        careful = not judged.passes if judged is not None else isinstance(bound, Entry) or shared.volume is not None
        if refusal is None and careful:
            refusal = self._careful.of_execute(judged, portal)
        if refusal is not None:
            return self._replace(refusal)
        seen = judged is not None
        if judged is None:
            judged = named_by_sql(portal)
            self.work += AN_UNKNOWN
        parameters = bound.parameters if isinstance(bound, Entry) else 0
        entry = Entry(EXECUTE, shared.started(judged.fragment, "execute", parameters), now, None, b"", judged)
        if shared.ledger.skipping:
            shared.ended(entry, now, "skipped")
        else:
            shared.ledger.queue.append(entry)
            self._note_names(judged)
            if careful:
                self._careful.send_execute(entry, judged, body, bound if isinstance(bound, Entry) else None, seen=seen)
        return None

    def _sync(self, _body: bytes, _now: float) -> None:
        """One with a body goes on as it is: it ends its group all the same, only with an ERROR before the reply."""
        shared = self._shared
        shared.ledger.sync_sent()
        shared.prepared.group_sent()
        shared.portals.group_sent()

    def _close(self, body: bytes, _now: float) -> None:
        kind, name = read_kind_and_name(body)
        shared = self._shared
        if shared.ledger.skipping:
            return
        shared.will_define()
        if kind == _STATEMENT:
            if shared.prepared.lookup(name) is UNSETTLED:
                raise HoldStream(None)
            shared.ledger.queue.append(Entry(CLOSE, name=name))
            shared.prepared.send(name, None)
        else:
            if shared.portals.lookup(name) is UNSETTLED:
                raise HoldStream(None)
            shared.ledger.queue.append(Entry(CLOSE_PORTAL, name=name))
            shared.portals.send(name, None)

    def _function_call(self, _body: bytes, _now: float) -> bytes:
        text = "function calls by the fast-path protocol are not supported"
        fields = error(sqlstate.FEATURE_NOT_SUPPORTED, text, "Call the function in a SELECT.")
        return self._replace_query(self._shared.refuse(fields, "fast-path-call"))


#: One table for all sessions.
_HANDLERS: Final[dict[int, Callable[[Messages, bytes, float], bytes | None]]] = {
    ord("Q"): Messages._query,
    ord("P"): Messages._parse,
    ord("B"): Messages._bind,
    ord("D"): Messages._describe,
    ord("E"): Messages._execute,
    ord("C"): Messages._close,
    ord("S"): Messages._sync,
    ord("F"): Messages._function_call,
    ord("c"): Messages._copy_end,
    ord("f"): Messages._copy_end,
    ord("H"): Messages._flush,
}
