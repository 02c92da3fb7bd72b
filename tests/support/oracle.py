"""The differential oracle: the same script to the gateway and straight to PostgreSQL, and the answers compared.

A script is a list of steps. Where a step holds a text that the gateway must refuse, PostgreSQL gets a syntax error in its place:
that is what a denial has to look like in everything but its words and its code.
"""

import contextlib
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.access_mode import AccessMode
from tests.support import wire
from tests.support.gateway import Person, RunningGateway
from tests.support.upstream import Database
from tests.support.wire import Closed, Message, Place, RawClient

#: What PostgreSQL is given in place of a refused text.
BROKEN = "blocked_here is no statement"
_OURS = re.compile(r"\(rule [a-z0-9-]+\)$")


@dataclass(frozen=True, slots=True)
class Step:
    """One message or several, as the gateway gets them and as PostgreSQL does. `pause`: let replies come before going on."""

    gateway: bytes
    direct: bytes
    pause: float = 0.0


def same(*data: bytes, pause: float = 0.0) -> Step:
    return Step(b"".join(data), b"".join(data), pause)


def blocked_query(sql: str) -> Step:
    return Step(wire.query(sql), wire.query(BROKEN))


def blocked_parse(sql: str, name: str = "") -> Step:
    return Step(wire.parse(sql, name), wire.parse(BROKEN, name))


def blocked_call() -> Step:
    """The fast path is refused, and runs nothing."""
    return Step(wire.packet("F", bytes(4) + bytes(2) + bytes(2) + bytes(2)), wire.query(BROKEN))


#: One answer, without what may differ: (type, what counts of its content).
Answer = tuple[str, str]

_END_MARK = "the end of the script"


def finish() -> Step:
    """Whatever state the script left: out of COPY, out of the skipped messages, out of the transaction, and a row that says so."""
    return same(wire.copy_fail(), wire.SYNC, wire.query("ROLLBACK"), wire.query(f"SELECT '{_END_MARK}'"))


def play(client: RawClient, steps: Sequence[bytes], pauses: Sequence[float] = ()) -> list[Answer]:
    """Send all and read until the end mark or EOF. `pauses`: how long to listen after each step, at most."""
    client.transcript.clear()
    try:
        for place, step in enumerate(steps):
            client.send(step)
            if place < len(pauses) and pauses[place]:
                client.quiet(pauses[place])
    except OSError:
        pass  # closed on us: what was said before counts
    deadline = time.monotonic() + wire.PATIENCE_SECONDS
    with contextlib.suppress(Closed):
        while not _ended(client.transcript):
            client.read(max(deadline - time.monotonic(), 0))
    told = [answer for message in client.transcript if (answer := reduce(message)) is not None]
    return [*told, ("EOF", "")] if client.eof else told


def _ended(transcript: Sequence[Message]) -> bool:
    end = _END_MARK.encode()
    return (
        len(transcript) > 2
        and transcript[-1].kind == "Z"
        and any(message.kind == "D" and message.body.endswith(end) for message in transcript[-3:])
    )


def reduce(message: Message) -> Answer | None:
    """None: not compared (what the server says of itself)."""
    match message.kind:
        case "E" | "N":
            fields = message.fields
            code = fields["C"]
            if BROKEN.split()[0] in fields["M"] or _OURS.search(fields["M"]) or "by the fast-path protocol" in fields["M"]:
                code = "denied"
            return message.kind, f"{fields['V']} {code}"
        case "S" if message.setting[0] in ("application_name", "session_authorization"):
            return None
        case "K":
            return None
        case "A":
            return "A", message.body[4:].decode()  # without the process id
        case kind:
            return kind, message.body.decode("latin-1")


@dataclass(frozen=True)
class Twins:
    """Two ways to the same database: through the gateway as a person, and directly as the role that the gateway uses."""

    gateway: RunningGateway = field(repr=False)
    database: Database = field(repr=False)
    person: Person = field(repr=False)
    target: str
    mode: AccessMode

    @property
    def place(self) -> Place:
        return Place(self.gateway.host, self.gateway.port, self.gateway.ca_file)

    @property
    def server(self) -> Place:
        upstream = self.database.upstream
        return Place(upstream.host, upstream.port, upstream.ca_file if upstream.has_tls else None)

    def through(self, **parameters: str) -> RawClient:
        suffix = ":rw" if self.mode is AccessMode.READ_WRITE else ""
        return self.place.log_in(self.person.name, self.person.password, self.target + suffix, **parameters)

    def direct(self, **parameters: str) -> RawClient:
        read_only = self.mode is AccessMode.READ_ONLY
        login = self.database.app_ro if read_only else self.database.app_rw
        pinned = {
            "client_encoding": "UTF8",
            "standard_conforming_strings": "on",
            "default_transaction_read_only": "on" if read_only else "off",
        }
        return self.server.log_in(login.name, login.password.reveal(), self.database.name, **parameters, **pinned)

    def compare(self, *steps: Step, split: Sequence[int] = ()) -> list[Answer]:
        """Both answers are equal; returns them. `split`: cut the bytes to the gateway at these offsets."""
        script = [*steps, finish()]
        with self.direct() as direct:
            expected = play(direct, [step.direct for step in script], [step.pause for step in script])
        with self.through() as through:
            if split:
                whole = b"".join(step.gateway for step in script)
                through.send_split(whole, *split)
                found = play(through, [])
            else:
                found = play(through, [step.gateway for step in script], [step.pause for step in script])
        assert found == expected, f"\nthrough the gateway: {found}\nPostgreSQL:          {expected}"
        return expected


def kinds(answers: Sequence[Answer]) -> str:
    """The types, without the end mark's own part: "12CZ"."""
    letters = "".join(kind if kind != "EOF" else "!" for kind, _ in answers if kind != "S")
    return re.sub("ZN?CZTDCZ$", "", letters)
