"""Why a message of the client may not pass. Refused texts are put into the audit here; allowed ones are the caller's to record."""

from dataclasses import replace

from gateway.audit.events import statement_fragment
from gateway.session.conversation import Conversation
from gateway.session.denial import RESERVED_NAME, Refusal
from gateway.session.verdicts import Judged
from gateway.statements.policy import judge_parameter_types
from gateway.statements.verdict import Facts, Verdict
from gateway.wire import sqlstate
from gateway.wire.backend import ErrorFields


class Refusals:
    """Every method answers None for what may pass."""

    __slots__ = ("_shared",)

    def __init__(self, shared: Conversation) -> None:
        self._shared = shared

    def of_text(self, judged: Judged, phase: str) -> Refusal | None:
        shared = self._shared
        if shared.audit_sqlstate:
            return self._of_anything()
        if judged.passes:
            return None
        if not judged.verdict.allowed:
            shared.started(judged.fragment, phase, 0)
            return shared.refuse_verdict(judged.verdict)
        return None

    def of_cursor(self) -> Refusal | None:
        """What SQL's DECLARE named was judged, and planned, when it was; not by lists that changed since."""
        shared = self._shared
        if shared.audit_sqlstate or shared.lists_changed:
            return self.of_unseen_text()
        return None

    def of_unseen_text(self) -> Refusal | None:
        """What SQL's PREPARE named was judged when it was; not so under a policy that came since."""
        shared = self._shared
        if shared.audit_sqlstate:
            return self._of_anything()
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
