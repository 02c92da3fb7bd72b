"""A person's own password, changed in a session of theirs, as psql's \\password does it.

Such a text never goes upstream: what is changed is the verifier that the gateway knows the person by, whether they name
themselves or the database role that CURRENT_USER shows. The shell around the session has it changed (`ChangeOwnPassword`) while
the Query and all behind it are held; then upstream is sent a Query without any text in its place, so that its reply has the
right place and the right status, and the client reads `ALTER ROLE`. It is done when it is done: no transaction takes it back,
and so it is refused inside of one.
"""

from dataclasses import dataclass
from typing import Final

from gateway.secret import Secret
from gateway.session.conversation import Conversation
from gateway.session.effects import ChangeOwnPassword
from gateway.session.holding import HoldStream
from gateway.session.verdicts import Judged
from gateway.statements.password_change import KIND, PasswordChange, password_change
from gateway.statements.verdict import Facts, Verdict
from gateway.wire import sqlstate

TAG: Final = b"ALTER ROLE"
CHANGED: Final = Verdict(True, "own-password", Facts(KIND))

_PREFIX: Final = "SCRAM-SHA-256$"
_HOW: Final = "Use psql's \\password, or: pgbastion passwd"


def refused(rule: str, message: str, hint: str = "", code: str = sqlstate.INSUFFICIENT_PRIVILEGE) -> Verdict:
    return Verdict(False, rule, Facts(KIND), code, f"{message} (rule {rule})", hint)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of the change that this text asked for."""

    sql: bytes
    verdict: Verdict


class OwnPassword:
    __slots__ = ("_outcome", "_shared")

    def __init__(self, shared: Conversation) -> None:
        self._shared = shared
        self._outcome: _Outcome | None = None

    def conclude(self, asked: ChangeOwnPassword, verdict: Verdict) -> None:
        """`CHANGED`, or why not: for the message that is held."""
        self._outcome = _Outcome(asked.sql, verdict)

    def of_query(self, judged: Judged) -> Verdict | None:
        """What is to be said of a Query that the policy refuses. None: it is not about the person's own password.

        Raises HoldStream until it is changed, or is not.
        """
        shared = self._shared
        if judged.verdict.facts.kind != KIND or shared.ledger.skipping or shared.audit_sqlstate:
            return None
        change = password_change(judged.sql)
        if change is None or change.role not in ("", shared.facts.user, shared.facts.login):
            return None
        outcome, self._outcome = self._outcome, None
        if outcome is not None and outcome.sql == judged.sql:
            return outcome.verdict
        verifier = self._verifier(change)
        if isinstance(verifier, Verdict):
            return verifier
        if shared.ledger.group_runs or shared.ledger.copy_in:
            return _IN_TRANSACTION
        if shared.ledger.owes_but_closes:
            raise HoldStream(None)
        if not shared.idle:
            return _IN_TRANSACTION
        raise HoldStream(None, effect=ChangeOwnPassword(judged.sql, verifier))

    def _verifier(self, change: PasswordChange) -> Secret | Verdict:
        password = change.password
        if not self._shared.facts.by_password:
            text = "your password can only be changed in a session that you logged in to with it"
            return refused("own-password-not-shown", text, "Connect with your own password.")
        if password is None or not password.reveal():
            return refused("own-password-empty", "your password cannot be taken away", _HOW)
        if password.reveal().startswith("md5") and len(password.reveal()) == 35:
            hint = "Send SET password_encryption = 'scram-sha-256', then \\password again; or use: pgbastion passwd"
            return refused("own-password-md5", "an md5 hash is no password here", hint)
        if not password.reveal().startswith(_PREFIX):
            text = "a password must not be sent as plain text: it would be in logs and histories"
            return refused("own-password-in-clear", text, f"Take another one now. {_HOW}")
        return password


_IN_TRANSACTION: Final = refused(
    "own-password-in-transaction",
    "your password cannot be changed within a transaction",
    "End the transaction first: it could not take the change back.",
    "25001",
)
