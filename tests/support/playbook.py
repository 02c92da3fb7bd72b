"""Both sides of a session without sockets, for tests that read like transcripts."""

from dataclasses import dataclass, field

from gateway.access_mode import AccessMode
from gateway.session.client_side import ClientSide
from gateway.session.conversation import Conversation, Facts
from gateway.session.effects import Effect, End, JudgeElsewhere
from gateway.session.startup_settings import pinned_settings
from gateway.session.upstream_side import UpstreamSide
from gateway.session.verdicts import PolicyInForce
from gateway.statements.policy import Policy, judge
from tests.support.wire import packet, text

#: Replies, as PostgreSQL sends them.
PARSED, BOUND, CLOSED, NO_DATA = (packet(kind) for kind in "123n")
COPY_IN = packet("G", b"\0\0\0")


def done(tag: str) -> bytes:
    return packet("C", text(tag))


def ready(status: str = "I") -> bytes:
    return packet("Z", status.encode())


def failed(sqlstate: str, said: str = "no", severity: str = "ERROR") -> bytes:
    fields = {"S": severity, "V": severity, "C": sqlstate, "M": said}
    return packet("E", b"".join(key.encode() + text(value) for key, value in fields.items()) + b"\0")


def poison_of(sent: bytes) -> str:
    """The mark in what went upstream instead of a refused text."""
    start = sent.index(b"pgbastion_denied_")
    return sent[start : sent.index(b" ", start)].decode()


def in_force(mode: AccessMode = AccessMode.READ_ONLY, **more: frozenset[str]) -> PolicyInForce:
    return PolicyInForce(Policy(mode=mode, server_major=16, **more), 1000, 1_000_000, 1000)


@dataclass
class Playbook:
    """`client` and `upstream` feed one side and return what the other shall read."""

    shared: Conversation
    client_side: ClientSide
    upstream_side: UpstreamSide
    now: float = 0.0
    effects: list[Effect] = field(default_factory=list)
    records: list[bytes] = field(default_factory=list)

    def client(self, *data: bytes) -> bytes:
        out = self.client_side.feed(b"".join(data), self.now)
        return out + self._after()

    def upstream(self, *data: bytes) -> bytes:
        """As the shell does it: a client side that waits for replies is resumed; what leaves then is kept in `resumed`."""
        out = self.upstream_side.feed(b"".join(data), self.now)
        self._after()
        return out

    def resume(self) -> bytes:
        out = self.client_side.resume(self.now)
        return out + self._after()

    def judged(self) -> bytes:
        """Answer the oldest question for another process."""
        question = next(effect for effect in self.effects if isinstance(effect, JudgeElsewhere))
        self.effects.remove(question)
        out = self.client_side.judged(question, judge(question.sql, question.policy), self.now)
        return out + self._after()

    def _after(self) -> bytes:
        self.effects += self.shared.effects
        self.records += self.shared.records
        self.shared.effects = ()
        self.shared.records.clear()
        return b""

    @property
    def end(self) -> End | None:
        return next((effect for effect in self.effects if isinstance(effect, End)), None)

    @property
    def owed(self) -> int:
        return len(self.shared.ledger.queue)


def playbook(mode: AccessMode = AccessMode.READ_ONLY, *, inline_bytes: int = 10_000, max_names: int = 100) -> Playbook:
    facts = Facts(
        user="ada",
        target="sales",
        pinned=pinned_settings(mode, "app_ro"),
        new_nonce=lambda: "0123456789abcdef",
        max_message_bytes=1_000_000,
        max_prepared_statements=max_names,
        inline_bytes=inline_bytes,
    )
    shared = Conversation(facts, "s1", in_force(mode), b'"session":"s1"')
    return Playbook(shared, ClientSide(shared), UpstreamSide(shared))
