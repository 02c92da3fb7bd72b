"""What all connections of one worker process share."""

import asyncio
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

from gateway.access.model import Target
from gateway.access_mode import AccessMode
from gateway.bus.lines import JsonValue, Payload
from gateway.judging.judge import Judge
from gateway.ports import AuditSink, Directory, Vault
from gateway.proxy.counters import Counters
from gateway.proxy.counters import Counters
from gateway.proxy.registry import Registry
from gateway.proxy.throttle import CancelThrottle, LoginThrottle
from gateway.proxy.tls import ServerTls
from gateway.proxy.upstream import UpstreamDialer
from gateway.session.verdicts import PolicyInForce
from gateway.settings import Settings
from gateway.statements.policy import Policy


class Policies:
    """One memory of verdicts per policy, shared by all sessions under it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._in_force: dict[str, PolicyInForce] = {}

    def policy_of(self, target: Target, mode: AccessMode, server_major: int) -> Policy:
        return Policy(
            mode=mode,
            allowed_functions=target.allowed_functions,
            allowed_schemas=target.allowed_schemas,
            allowed_settings=target.allowed_settings,
            server_major=server_major,
            max_statement_bytes=self._settings.limits.max_statement_bytes,
        )

    def in_force(self, policy: Policy) -> PolicyInForce:
        found = self._in_force.get(policy.revision)
        if found is None:
            limits = self._settings.policy
            if len(self._in_force) >= 1000:  # policies come and go with edits; sessions keep theirs alive
                self._in_force.clear()
            found = PolicyInForce(
                policy, limits.verdict_cache_entries, limits.verdict_cache_bytes, self._settings.audit.max_statement_bytes
            )
            self._in_force[policy.revision] = found
        return found


class Peers(Protocol):
    """How the other processes are told things: the bus."""

    def send(self, to: str, kind: str, payload: Payload) -> bool:
        """False: nobody heard it."""
        ...


@dataclass(slots=True)
class Worker:
    """`mock_secret` makes unknown users look like known ones, alike in all workers and after restarts."""

    number: int
    settings: Settings
    directory: Directory
    vault: Vault
    trail: AuditSink
    judge: Judge
    registry: Registry
    logins: LoginThrottle
    cancels: CancelThrottle
    tls: ServerTls | None
    dialer: UpstreamDialer
    policies: Policies
    peers: Peers
    mock_secret: bytes
    counters: Counters = field(default_factory=Counters)
    draining: bool = False
    pending: dict[IPv4Address | IPv6Address, int] = field(default_factory=dict)
    pending_total: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def audit(self, body: bytes) -> None:
        self.trail.append(body)

    def keep(self, task: asyncio.Task[None]) -> None:
        """Hold a reference until it is done: the event loop itself does not."""
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def login_failed(self, address: IPv4Address | IPv6Address, user: str, now: float) -> None:
        self.logins.failed(address, user, now)
        payload: dict[str, JsonValue] = {"address": str(address), "user": user}
        self.peers.send("all", "login-failed", payload)

    def enter(self, address: IPv4Address | IPv6Address) -> str:
        """Count a connection that has not logged in. Returns why it may not stay, "" when it may."""
        limits = self.settings.limits
        if self.pending_total >= limits.max_pending:
            return "too-many-pending"
        if self.pending.get(address, 0) >= limits.max_pending_per_address:
            return "too-many-pending-from-address"
        self.pending_total += 1
        self.pending[address] = self.pending.get(address, 0) + 1
        return ""

    def leave(self, address: IPv4Address | IPv6Address) -> None:
        self.pending_total -= 1
        left = self.pending[address] - 1
        if left:
            self.pending[address] = left
        else:
            del self.pending[address]
