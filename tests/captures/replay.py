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
# As psql's ON_ERROR_ROLLBACK does it: one refusal in a transaction shall not be counted once for each statement after it.
_SAVE, _BACK, _END = wire.query("SAVEPOINT replay"), wire.query("ROLLBACK TO replay"), wire.query("ROLLBACK")
_KEEPS = re.compile(
    r"(?:\s|--[^\n]*\n)*(?:set\s+(?:local\s+)?transaction|commit|end|rollback|abort|savepoint|release|prepare\s+tran)", re.I
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`sqlstate` is "" for a success; `rule` the gateway's, if it was the gateway that refused. `skipped`: PostgreSQL warned that
    it left out what it was asked for (ANALYZE of a table of somebody else's), which is no success either.
    """

    sqlstate: str = ""
    rule: str = ""
    said: str = ""
    skipped: bool = False

    @property
    def fine(self) -> bool:
        return not self.sqlstate and not self.skipped


@dataclass(frozen=True, slots=True)
class Difference:
    """A statement that succeeds directly and not through the gateway. `listed`: not even with the database's functions listed."""

    script: str
    text: str
    through: Outcome
    listed: bool

    @property
    def kind(self) -> str:
        return self.through.rule or f"server: {self.through.sqlstate}"


Opener = Callable[[], RawClient]


def replay(opener: Opener, said: Sequence[Said], after: Callable[[int], None] = lambda place: None) -> list[Outcome]:
    """One outcome for each text. `after` is called with the place of each, when its answer is in."""
    found: list[Outcome] = []
    client: RawClient | None = None
    session, status = -1, "I"
    try:
        for place, one in enumerate(said):
            if client is None or client.eof or one.session != session:
                if client is not None:
                    client.close()
                client, session, status = opener(), one.session, "I"
                client.ask(wire.query(_LIMIT))
            saved = status == "T" and not _KEEPS.match(one.text)
            if saved:
                client.ask(_SAVE)
            before = status
            outcome, status = _outcome(client, one.text)
            if status == "E" and before == "T" and not client.eof:
                status = client.ask(_BACK if saved else _END)[-1].body.decode()
            found.append(outcome)
            after(place)
    finally:
        if client is not None:
            client.close()
    return found


def _outcome(client: RawClient, text: str) -> tuple[Outcome, str]:
    """Also the transaction's status afterwards."""
    client.transcript.clear()
    errors: list[Message] = []
    skipped, status = False, "I"
    try:
        client.send(wire.query(text))
        while (message := client.read(_SECONDS)).kind != "Z":
            if message.kind == "G":
                client.send(wire.copy_fail())
            elif message.kind == "E":
                errors.append(message)
            elif message.kind == "N":
                skipped |= message.said.startswith("skipping ") or "skipping it" in message.said
        status = message.body.decode()
    except (Closed, OSError):
        client.eof = True
    if errors:
        rule = _RULE.search(errors[0].said)
        return Outcome(errors[0].sqlstate, rule[1] if rule else "", errors[0].said), status
    return Outcome("gone", "", "the session was lost") if client.eof else Outcome(skipped=skipped), status
