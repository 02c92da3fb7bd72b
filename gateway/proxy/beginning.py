"""How a live session begins: what the audit reads of it, and its client."""

from typing import Final

from gateway.access.managed import ManagedMode
from gateway.access.model import Lease
from gateway.audit.events import FieldValue
from gateway.proxy.opening import Opened
from gateway.proxy.own_password import password_rules
from gateway.proxy.standing import Introduction, carried
from gateway.proxy.worker import Worker
from gateway.session.conversation import Conversation
from gateway.session.welcome import build_welcome

LONG_KEYS_MINOR: Final = 2
"""Protocol 3.2 has cancel keys of up to 256 bytes."""


def note_start(shared: Conversation, who: Introduction, lease: Lease, opened: Opened) -> None:
    """Into the conversation's records."""
    facts: dict[str, FieldValue] = {"tls": who.tls, "server": opened.server_major}
    if opened.ahead:
        facts["opened_ahead"] = True
    if lease.target.managed is not ManagedMode.OFF:
        facts["database_role"] = opened.pinned["session_authorization"]
    shared.event("session_start", facts | carried(lease))
    weak = ", ".join(opened.weaknesses(lease))
    if weak:
        shared.event("upstream_security", {"weaker": weak})


def welcome(worker: Worker, lease: Lease, opened: Opened, key: tuple[int, bytes] | None) -> bytes:
    """AuthenticationOk to ReadyForQuery. `key`: by which the client may cancel; ours, None when nothing can be cancelled."""
    more = password_rules(opened.wishes, worker.settings)
    return build_welcome(opened.welcome.statuses, lease.user.name, key, opened.wishes.notice, more)
