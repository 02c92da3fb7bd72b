"""A worker's errand: have a person's own new password written down by the one process that changes the store, the clerk."""

from typing import Final

from gateway.access.model import Lease
from gateway.bus.lines import CLERK, BusUnavailable, Payload
from gateway.proxy.worker import Worker
from gateway.session.effects import ChangeOwnPassword
from gateway.session.own_password import CHANGED, refused
from gateway.statements.verdict import Verdict

_SECONDS: Final = 3.0


async def change_own_password(worker: Worker, session_id: str, lease: Lease, asked: ChangeOwnPassword) -> Verdict:
    """`CHANGED`, or why not. The store is asked whether the session still is who it was."""
    if lease.proof is not None:  # what is short-lived or a program's must not become a password for good
        text = "only a session that logged in with your own password can change it"
        return refused("own-password-not-shown", text, "Log in with it, or use: pgbastion passwd")
    facts: Payload = {
        "session": session_id,
        "user_id": lease.user.id,
        "user": lease.user.name,
        "credential_version": lease.user.credential_version,
        "verifier": asked.verifier.reveal(),
    }
    try:
        answer = await worker.peers.ask(CLERK, "own-password", facts, _SECONDS)
    except BusUnavailable:
        text = "the gateway could not confirm in time that your password was changed"
        return refused("own-password-unconfirmed", text, "Log in again: with the new one, or else with the old one.", "57P03")
    if answer.get("rule") is None:
        return CHANGED
    return refused(str(answer.get("rule")), str(answer.get("message")), str(answer.get("hint", "")))
