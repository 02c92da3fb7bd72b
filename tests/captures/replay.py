"""The same texts again: directly as an ordinary role in a read-only session, and through the gateway as a superuser without
the lock.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.captures.recording import Said
from tests.support import wire
from tests.support.wire import Closed, Message, RawClient

_RULE = re.compile(r"\(rule ([a-z0-9-]+)\)$")
_SECONDS = 30.0
#: What stands in for a rule where PostgreSQL itself says no.
_LIMIT = "SET statement_timeout = '5s'"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`sqlstate` is "" for a success; `rule` the gateway's, if it was the gateway that refused."""

    sqlstate: str = ""
    rule: str = ""
    said: str = ""

    @property
    def fine(self) -> bool:
        return not self.sqlstate


@dataclass(frozen=True, slots=True)
class Difference:
    """A statement that succeeds directly and not through the gateway."""

    script: str
    text: str
    through: Outcome

    @property
    def kind(self) -> str:
        return self.through.rule or f"server: {self.through.sqlstate}"


Opener = Callable[[], RawClient]


def replay(opener: Opener, said: Sequence[Said], after: Callable[[int], None] = lambda place: None) -> list[Outcome]:
    """One outcome for each text. `after` is called with the place of each, when its answer is in."""
    found: list[Outcome] = []
    client: RawClient | None = None
    session = -1
    try:
        for place, one in enumerate(said):
            if client is None or client.eof or one.session != session:
                if client is not None:
                    client.close()
                client, session = opener(), one.session
                client.ask(wire.query(_LIMIT))
            found.append(_outcome(client, one.text))
            after(place)
    finally:
        if client is not None:
            client.close()
    return found


def _outcome(client: RawClient, text: str) -> Outcome:
    client.transcript.clear()
    errors: list[Message] = []
    try:
        client.send(wire.query(text))
        while (message := client.read(_SECONDS)).kind != "Z":
            if message.kind == "G":
                client.send(wire.copy_fail())
            elif message.kind == "E":
                errors.append(message)
    except (Closed, OSError):
        client.eof = True
    if errors:
        rule = _RULE.search(errors[0].said)
        return Outcome(errors[0].sqlstate, rule[1] if rule else "", errors[0].said)
    return Outcome("gone", "", "the session was lost") if client.eof else Outcome()
