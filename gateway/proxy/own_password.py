"""A worker's errands for who changes their own password: tell the rules, and have the clerk, which alone changes the store,
write it down.
"""

from collections.abc import Mapping
from typing import Final

from gateway.access.model import Lease
from gateway.access.user_rules import write_password_rules
from gateway.bus.lines import CLERK, BusUnavailable, Payload
from gateway.proxy.worker import Worker
from gateway.session.effects import ChangeOwnPassword
from gateway.session.own_password import CHANGED, refused
from gateway.session.startup_settings import Wishes
from gateway.session.welcome import NOTHING_MORE, PASSWORD_COMMAND, PASSWORD_RULES
from gateway.settings import Settings
from gateway.statements.verdict import Verdict

_SECONDS: Final = 3.0


def password_rules(wishes: Wishes, settings: Settings) -> Mapping[str, str]:
    """What the password command is told, since a verifier does not show what kind of password it is of."""
    if wishes.application_name != PASSWORD_COMMAND:
        return NOTHING_MORE
    return {PASSWORD_RULES: write_password_rules(settings.users.rules)}


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
