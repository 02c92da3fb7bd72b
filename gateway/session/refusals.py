"""Why a message of the client may not pass. Refused texts are put into the audit here; allowed ones are the caller's to record."""

from dataclasses import replace
from typing import Final

from gateway.audit.events import statement_fragment
from gateway.session.conversation import Conversation
from gateway.session.denial import RESERVED_NAME, Refusal
from gateway.session.effects import SeekWayOut
from gateway.session.holding import HoldStream
from gateway.session.ledger import EXECUTE, QUERY
from gateway.session.verdicts import Judged
from gateway.session.volume import DAY_UNKNOWN
from gateway.statements.in_session import day_is_over, day_is_unknown, hides, not_made_here, temporary_in_transaction
from gateway.statements.policy import judge_parameter_types
from gateway.statements.verdict import Facts, Verdict
from gateway.wire import sqlstate
from gateway.wire.backend import ErrorFields

_RUNS: Final = frozenset((QUERY, EXECUTE))


class Refusals:
    """Every method answers None for what may pass. `way_out`: of the refused text that the stream was held for, if it was."""

    __slots__ = ("_shared", "way_out")

    def __init__(self, shared: Conversation) -> None:
        self._shared = shared
        self.way_out: tuple[Judged, str] | None = None

    def of_text(self, judged: Judged, phase: str) -> Refusal | None:
        shared = self._shared
        if shared.audit_sqlstate:
            return self._of_anything()
        if judged.passes:
            return None
        if not judged.verdict.allowed:
            way_out = self._way_out(judged)
            shared.started(judged.fragment, phase, 0)
            return shared.refuse_verdict(judged.verdict, way_out)
        verdict = judged.verdict
        if verdict.temporary_used or verdict.temporary_made or verdict.not_temporary:
            return self._of_temporary(judged, phase)
        return None

    def _way_out(self, judged: Judged) -> str:
        """Raises HoldStream while nobody has looked for it, but not twice for one message."""
        found, self.way_out = self.way_out, None
        if found is not None and found[0].sql == judged.sql and found[0].policy is judged.policy:
            return found[1]
        way_out = self._shared.way_out(judged)
        if way_out is None:
            raise HoldStream(None, effect=SeekWayOut(judged))
        return way_out

    def _of_temporary(self, judged: Judged, phase: str) -> Refusal | None:
        """Raises HoldStream while it is not known whether what it uses is made."""
        shared, verdict = self._shared, judged.verdict
        for name in verdict.not_temporary:
            if name in shared.temporary:
                return self._refuse_allowed(judged, hides(verdict, name), phase)
        for name in verdict.temporary_used:
            # Where the server's own lock is lifted, the text is edited so that the name can mean nothing else (pg_temp.name).
            if name in shared.temporary and (verdict.edits or not verdict.lifts_read_only):
                continue
            if any(e.kind in _RUNS and e.judged and name in e.judged.verdict.temporary_made for e in shared.ledger.queue):
                raise HoldStream(None)
            return self._refuse_allowed(judged, not_made_here(verdict, name), phase)
        if verdict.temporary_made and len(shared.temporary) >= shared.facts.max_prepared_statements:
            text = f"too many temporary tables (limits.max_prepared_statements is {shared.facts.max_prepared_statements})"
            return shared.refuse(error(sqlstate.CONFIGURATION_LIMIT, text, "Connect again."), "too-many-temporary-tables")
        return None

    def of_day(self, judged: Judged, phase: str) -> Refusal | None:
        """A statement that shows rows, when the bytes of the day are used up."""
        volume = self._shared.volume
        passed = volume.used_up if volume is not None else None
        if passed is None:
            return None
        if passed.rule == DAY_UNKNOWN:
            return self._refuse_allowed(judged, day_is_unknown(judged.verdict, passed.grant), phase)
        return self._refuse_allowed(judged, day_is_over(judged.verdict, passed.grant, passed.limit, passed.resets), phase)

    def of_lifting(self, judged: Judged, phase: str) -> Refusal:
        """A text that lifts the read-only mode, where more than itself would run in that transaction."""
        return self._refuse_allowed(judged, temporary_in_transaction(judged.verdict), phase)

    def of_group(self) -> Refusal:
        """Something else than the text for which the read-only mode is lifted up to the next Sync."""
        text = "nothing else may run in the transaction that makes a temporary table"
        fields = error(sqlstate.READ_ONLY, text, "Send a Sync first.")
        return self._shared.refuse(fields, "temporary-table-in-transaction")

    def of_absent(self, code: str, text: str) -> Refusal:
        """What upstream would say of a name that is not there, were it not in use by us."""
        return self._shared.answer(error(code, text))

    def of_answer(self, judged: Judged, verdict: Verdict, phase: str) -> Refusal:
        """A statement for the gateway, which says no."""
        return self._refuse_allowed(judged, replace(verdict, facts=judged.verdict.facts), phase)

    def _refuse_allowed(self, judged: Judged, verdict: Verdict, phase: str) -> Refusal:
        shared = self._shared
        text = judged.sql.decode("utf-8", "backslashreplace")
        shared.started(statement_fragment(text, verdict, shared.in_force.audit_bytes), phase, 0)
        return shared.refuse_verdict(verdict)

    def of_cursor(self) -> Refusal | None:
        """What SQL's DECLARE named was judged, and planned, when it was; not by lists that changed since."""
        shared = self._shared
        if shared.audit_sqlstate or shared.lists_changed or shared.ledger.lifted is not None:
            return self.of_unseen_text()
        return None

    def of_unseen_text(self) -> Refusal | None:
        """What SQL's PREPARE named was judged when it was; not so under a policy that came since."""
        shared = self._shared
        if shared.audit_sqlstate:
            return self._of_anything()
        if shared.ledger.lifted is not None:
            return self.of_group()
        if shared.in_force.policy is shared.first_policy:
            return None
        text = "the policy changed since this statement was prepared"
        fields = error(sqlstate.INSUFFICIENT_PRIVILEGE, text, "Connect again and prepare it anew.")
        return shared.refuse(fields, "policy-changed")

    def of_definition(self, name: bytes, types: tuple[int, ...]) -> Refusal | None:
        """Of a Parse, beyond its text."""
        shared = self._shared
        if name == RESERVED_NAME:
            fields = error(sqlstate.INSUFFICIENT_PRIVILEGE, f'the statement name "{name.decode()}" is reserved')
            return shared.refuse(fields, "reserved-name")
        if name and len(shared.prepared) >= shared.facts.max_prepared_statements:
            text = f"too many prepared statements (limits.max_prepared_statements is {shared.facts.max_prepared_statements})"
            return shared.refuse(error(sqlstate.CONFIGURATION_LIMIT, text, "Close some of them."), "too-many-statements")
        verdict = judge_parameter_types(types, shared.in_force.policy) if any(types) else None
        if verdict is None:
            return None
        shared.event("refused", {"rule": verdict.rule, "sqlstate": verdict.sqlstate, "message": verdict.message})
        return shared.refuse_verdict(verdict)

    def of_types(self, judged: Judged, types: tuple[int, ...]) -> Judged:
        """`judged` as the text of a statement with these parameter types, refused where they are now."""
        verdict = judge_parameter_types(types, self._shared.in_force.policy) if judged.verdict.allowed else None
        if verdict is None:
            return judged.with_types(types)
        refused = replace(verdict, facts=judged.verdict.facts)
        text = judged.sql.decode("utf-8", "backslashreplace")
        fragment = statement_fragment(text, refused, self._shared.in_force.audit_bytes)
        return Judged(judged.sql, refused, fragment, judged.policy, types)

    def _of_anything(self) -> Refusal:
        text = "the gateway cannot write its audit trail, so it runs no statements"
        fields = error(self._shared.audit_sqlstate, text, "Tell your administrator.")
        return self._shared.refuse(fields, "audit-unavailable")


def named_by_sql(name: bytes) -> Judged:
    """Stands for a text that protocol messages did not define: SQL's PREPARE, a cursor, or nothing at all."""
    verdict = Verdict(True, "allowed", Facts("named"))
    text = f"/* the statement or cursor {name.decode('utf-8', 'replace')!r}, defined by SQL */"
    return Judged(b"", verdict, statement_fragment(text, verdict, len(text)), None)


def error(code: str, message: str, hint: str = "") -> ErrorFields:
    return ErrorFields("ERROR", code, message, hint=hint)
