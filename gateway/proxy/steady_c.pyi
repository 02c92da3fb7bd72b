import asyncio

from gateway.proxy.account import Account
from gateway.proxy.audit_journal_c import Journal
from gateway.proxy.audit_lines_c import Stamp
from gateway.proxy.audit_trail import AuditTrail
from gateway.proxy.counters import Counters
from gateway.proxy.live import LiveSession
from gateway.proxy.registry import Session
from gateway.session.conversation import Conversation

class Common:
    def __init__(
        self, trail: AuditTrail, counters: Counters, journal: Journal, stamp: Stamp, unasked: dict[str, Session]
    ) -> None: ...

class Steady:
    def __init__(
        self,
        session: LiveSession,
        shared: Conversation,
        common: Common,
        account: Account,
        client: asyncio.Transport,
        upstream: asyncio.Transport,
    ) -> None: ...
    def client_data(self, data: bytes) -> None: ...
    def upstream_data(self, data: bytes) -> None: ...
    def settle(self) -> None: ...
