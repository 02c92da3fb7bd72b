"""Send entries, each in one way, and judge them by what the server shows: never by what the gateway says it did."""

import contextlib
import enum
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from psycopg.pq import ExecStatus

from tests.oracle.entries import Call, Entry, Query, Send, Setting, Startup, Step, TypedParse
from tests.oracle.relay import frames
from tests.oracle.watch import differences
from tests.oracle.ways import Way
from tests.oracle.world import Copy, World
from tests.support import wire
from tests.support.wire import Closed, Message, RawClient, Refused

_RULE = re.compile(r"\(rule [a-z0-9-]+\)$")
# Refusals in the server's own words: it was asked to say them, by another text. Syntax, fast path, a NUL, an encoding.
_AS_THE_SERVER_SAYS = frozenset({"42601", "0A000", "08P01", "22021"})
_BATCH = 80
_PATIENCE_SECONDS = 30.0
# What evil functions leave behind: the next entry meets the same database all the same.
_LEFTOVERS = frozenset(
    {"transaction ids", "audit", "audit_id_seq", "journal", "journal_id_seq", "s1", "files", "notifications"}
)


class Outcome(enum.StrEnum):
    REFUSED = "refused"
    RAN = "ran, nothing changed"
    STOPPED = "passed, and the server said no"
    BROKEN = "fails through the gateway, works without"
    EFFECT = "changed something"
    LEAKED = "refused, and reached the server"
    LOST = "the session was lost"
    SILENT = "no answer"


@dataclass(frozen=True, slots=True)
class Result:
    entry: Entry
    way: str
    outcome: Outcome
    detail: str = ""

    @property
    def bypass(self) -> bool:
        return self.entry.refuse and self.outcome is not Outcome.REFUSED

    @property
    def false_refusal(self) -> bool:
        right = {Outcome.RAN, Outcome.STOPPED}
        if self.entry.place.lists:
            right.add(Outcome.EFFECT)  # what an admin lists may do anything
        return not self.entry.refuse and self.outcome not in right

    @property
    def wrong(self) -> bool:
        return self.bypass or self.false_refusal

    def __str__(self) -> str:
        return f"{self.entry.id} [{self.way}] {self.outcome}: {self.detail} ({self.entry.why})"


Note = Callable[[Result], None]


def tally(results: Sequence[Result]) -> dict[tuple[str, str], list[int]]:
    """By layer and way: to be refused, wrongly passed, changed something, to be allowed, wrongly refused."""
    found: dict[tuple[str, str], list[int]] = {}
    for result in results:
        if result.entry.optional:
            continue
        row = found.setdefault((result.entry.layer, result.way), [0, 0, 0, 0, 0])
        first = 0 if result.entry.refuse else 3
        row[first] += 1
        row[first + 1] += result.wrong
        row[2] += result.entry.refuse and result.outcome is Outcome.EFFECT
    return found


@dataclass
class Heard:
    """What came back for one entry."""

    messages: list[Message] = field(default_factory=list)
    lost: bool = False
    silent: bool = False
    ended: bool = False  # properly, with a FATAL, but after the answer

    @property
    def errors(self) -> list[Message]:
        return [message for message in self.messages if message.kind == "E"]


@dataclass
class Runner:
    """One session through the gateway to one copy, opened again where an entry ends it."""

    copy: Copy
    locked: bool = False
    _client: RawClient | None = None

    def open(self, *, locked: bool) -> RawClient:
        """`locked`: with the server's own read-only mode on."""
        if self._client is not None and (self._client.eof or self.locked != locked):
            self.close()
        if self._client is None:
            self.locked = self.copy.cluster.relay.locked = locked
            self._client = self.copy.log_in()
        return self._client

    def works_directly(self, entry: Entry) -> bool:
        """As the same superuser, without the gateway. For entries that change nothing."""
        if not entry.plain:
            return False
        with self.copy.cluster.upstream.connect(self.copy.name) as direct:
            direct.execute("SET default_transaction_read_only = on")
            for step in entry.steps:
                assert isinstance(step, Query)
                if direct.pgconn.exec_(step.sql).status in (ExecStatus.FATAL_ERROR, ExecStatus.BAD_RESPONSE):
                    return False
        return True

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def play(self, entry: Entry, steps: Sequence[Step]) -> Heard:
        """All steps; afterwards the session is as new, or gone."""
        heard = Heard()
        client = self.open(locked=self.locked)
        self.copy.cluster.relay.forget()
        for step in steps:
            if isinstance(step, Startup):
                self.close()
                try:
                    client = self._client = self.copy.log_in(step.parameters)
                except Refused as refused:
                    heard.messages += refused.answer
                    return heard
                continue
            if not self._send(client, entry, step, heard):
                break
        return heard

    def _send(self, client: RawClient, entry: Entry, step: Step, heard: Heard) -> bool:
        try:
            answered = self._put(client, step)
            while answered:
                message = client.read(_PATIENCE_SECONDS)
                heard.messages.append(message)
                if message.kind == "Z":
                    return True
                if message.kind == "G":
                    client.send(wire.copy_data(self._text(entry.copy_data)) if entry.copy_data else b"", wire.COPY_DONE)
                if message.kind == "W":
                    client.send(wire.COPY_DONE)
        except (Closed, OSError) as gone:
            heard.silent = isinstance(gone, TimeoutError)
            heard.lost = not heard.silent
            client.eof = True
            return False
        return True

    def _put(self, client: RawClient, step: Step) -> bool:
        """Send a step; will there be an answer?"""
        match step:
            case Query(sql):
                client.send(wire.query(self._text(sql)))
                return True
            case Send(data, answered):
                client.send(self._text(data) if b"@OUT@" in data and data[:1] == b"Q" else data)
                return answered
            case TypedParse(name, sql, types):
                oids = [self.copy.oid_of("regtype", kind) for kind in types]
                client.send(wire.parse(sql, name, oids))
                return False
            case Call(function, arguments):
                client.send(self._call(function, arguments))
                return True
            case Startup():
                raise AssertionError
        return True

    def _text(self, data: bytes) -> bytes:
        return data.replace(b"@OUT@", str(self.copy.cluster.out).encode())

    def _call(self, function: str, arguments: Sequence[str]) -> bytes:
        victim = str(self.copy.watch.victim.info.backend_pid)
        values = [self._text(value.replace("@victim", victim).encode()) for value in arguments]
        body = struct.pack(">IHH", self.copy.oid_of("regprocedure", function), 0, len(values))
        return wire.packet("F", body + b"".join(struct.pack(">i", len(v)) + v for v in values) + struct.pack(">H", 0))

    def reset(self, heard: Heard) -> bool:
        """Back to a session as it was opened. False: it is not usable any more."""
        client = self._client
        if heard.lost or heard.silent or client is None or client.eof:
            self.close()
            return not (heard.lost or heard.silent)
        client.transcript.clear()
        found: list[Message] = []
        try:
            client.send(wire.SYNC, wire.query("ROLLBACK"), wire.query("DISCARD ALL"), wire.query("SHOW server_version"))
            for _ in range(4):
                found = client.until("Z", _PATIENCE_SECONDS)
        except (Closed, OSError):
            heard.ended = any(message.severity == "FATAL" for message in client.transcript if message.kind == "E")
            self.close()
            return False
        return any(message.kind == "D" for message in found)


_Todo = list[tuple[Entry, Way, tuple[Step, ...]]]


def run_all(world: World, template: str, ways: Callable[[Entry], Sequence[Way]], entries: Sequence[Entry], note: Note) -> None:
    """Each entry in each way that makes sense of it; entries that need something of their own in copies of their own."""
    places: dict[Setting, list[Entry]] = {}
    for entry in entries:
        places.setdefault(entry.place, []).append(entry)
    for setting, group in places.items():
        todo = [(entry, way, steps) for entry in group for way in ways(entry) if (steps := way.steps(entry)) is not None]
        todo.sort(key=lambda check: check[1].name)  # sessions are opened anew for some ways
        while todo:
            with _session(world, template, setting) as runner:
                todo = _run_some(world, template, runner, todo, note)


@contextlib.contextmanager
def _session(world: World, template: str, setting: Setting) -> Iterator[Runner]:
    with world.copy(template, setting) as copy:
        runner = Runner(copy)
        try:
            yield runner
        finally:
            runner.close()


def _run_some(world: World, template: str, runner: Runner, todo: _Todo, note: Note) -> _Todo:
    """What is left to do in another copy: this one is not as it was."""
    watch = runner.copy.watch
    before = watch.state()
    while todo:
        batch, todo = todo[:_BATCH], todo[_BATCH:]
        results: list[Result] = []
        for place, (entry, way, steps) in enumerate(batch):
            result, dirty = judge(runner, entry, way, steps)
            results.append(result)
            if not dirty:
                continue
            after = watch.state()
            changed = differences(before, after)
            before = after
            if changed:
                results[-1] = Result(entry, way.name, Outcome.EFFECT, ", ".join(changed))
            if not set(changed) <= _LEFTOVERS:
                for told in results:
                    note(told)
                return batch[place + 1 :] + todo
        after = watch.state()
        left = differences(before, after)
        before = after
        if left:
            results = _again(world, template, batch, results, left)
            before = watch.state()  # making and dropping the other copy shows
        for told in results:
            note(told)
    return []


def _again(world: World, template: str, batch: _Todo, seen: list[Result], left: list[str]) -> list[Result]:
    """A batch changed something that no probe saw: in a fresh copy, with a look at everything after each entry."""
    results: list[Result] = []
    with _session(world, template, batch[0][0].place) as runner:
        before = runner.copy.watch.state()
        for (entry, way, steps), first in zip(batch, seen, strict=True):
            judge(runner, entry, way, steps)
            after = runner.copy.watch.state()
            changed = differences(before, after)
            before = after
            results.append(Result(entry, way.name, Outcome.EFFECT, ", ".join(changed)) if changed else first)
    if not any(result.outcome is Outcome.EFFECT for result in results):
        entry, way, _ = batch[0]
        detail = f"one of {len(batch)} from here to {batch[-1][0].id} changed {', '.join(left)}, and not again"
        results[0] = Result(entry, way.name, Outcome.EFFECT, detail)
    return results


def judge(runner: Runner, entry: Entry, way: Way, steps: Sequence[Step]) -> tuple[Result, bool]:
    """Also: does something show that asks for a closer look?"""
    watch, relay = runner.copy.watch, runner.copy.cluster.relay
    runner.open(locked=way.locked)
    before = watch.probe()
    heard = runner.play(entry, steps)
    changed = differences(before, after := watch.probe())
    server_errors, reached = relay.errors, _reached(steps, relay.heard)
    usable = runner.reset(heard)
    outcome, detail = _outcome(heard, server_errors, reached, usable, entry.layer == "protocol")
    if changed:
        outcome, detail = Outcome.EFFECT, ", ".join(f"{name}: {before[name]} -> {after[name]}" for name in changed)
    elif outcome is Outcome.REFUSED and reached and len(steps) == 1:
        outcome = Outcome.LEAKED
    elif outcome is Outcome.STOPPED and not entry.refuse and way.name == "simple" and runner.works_directly(entry):
        outcome = Outcome.BROKEN
    elif outcome is Outcome.REFUSED and not entry.refuse and entry.plain and not runner.works_directly(entry):
        outcome = Outcome.STOPPED  # the server would not have had it either: newer grammar, say
    return Result(entry, way.name, outcome, detail), bool(changed) or bool(differences(before, watch.probe()))


def _outcome(heard: Heard, server_errors: int, reached: bool, usable: bool, protocol: bool) -> tuple[Outcome, str]:
    """`protocol`: messages that no client sends may end the session, as PostgreSQL itself ends it then."""
    errors = heard.errors
    said = "; ".join(f"{error.sqlstate} {error.said}" for error in errors)[:200]
    if heard.silent:
        return Outcome.SILENT, said
    ended = any(error.severity == "FATAL" for error in errors) or (heard.ended and protocol)
    if not (usable or ended):
        return Outcome.LOST, said
    ours = any(_RULE.search(error.said) for error in errors) or len(errors) > server_errors
    if ours or (errors and errors[0].sqlstate in _AS_THE_SERVER_SAYS and not reached):
        return Outcome.REFUSED, said
    return (Outcome.STOPPED, said) if errors else (Outcome.RAN, "")


def _reached(steps: Sequence[Step], heard: Sequence[tuple[str, bytes]]) -> bool:
    """Has every text of the steps come to the server as it is?"""
    texts = {body.rstrip(b"\0") if kind == "Q" else body.split(b"\0")[1] for kind, body in heard if kind in "QP"}
    wanted = [text for step in steps for text in _texts(step)]
    if any(isinstance(step, Startup) for step in steps):
        return False
    if any(isinstance(step, Call) for step in steps):
        return any(kind == "F" for kind, _ in heard)
    return all(text in texts for text in wanted)


def _texts(step: Step) -> Iterator[bytes]:
    match step:
        case Query(sql):
            yield sql
        case TypedParse(_, sql, _):
            yield sql.encode()
        case Send(data, _):
            for kind, body in frames(bytearray(data)):
                if kind == "P":
                    yield body.split(b"\0")[1]
                elif kind == "Q":
                    yield body.rstrip(b"\0")
