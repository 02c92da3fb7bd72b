"""The compiled twins do what the pure modules do. Where they were not built, or are switched off, there is nothing to compare."""

import importlib
import json
import mmap
import struct
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.access_mode import AccessMode
from gateway.compiled import twin_of
from gateway.proxy.audit_journal import Outlet, PureJournal
from gateway.proxy.audit_lines import PureStamp
from gateway.session.tally import Traffic
from gateway.statements.shape import pure_shape_of
from gateway.wire.framing import pure_skip_rows
from tests.core.test_session_usual import STEPS, known
from tests.support.playbook import Playbook, in_force, playbook, ready
from tests.support.wire import SYNC, bind, describe, execute, packet, parse, query

pytestmark = pytest.mark.skipif(
    twin_of("gateway.proxy.steady") is None, reason="the compiled twins are not built, or not wanted"
)

_SIZE = 1 << 20
_HEADER = b"pgbastn1" + bytes(56)
_PIECES = (
    "'",
    "'",
    "''",
    "1234567890",
    "1999999999",
    "2147483648",
    "9999999999",
    "0000000001",
    "12345678901",
    "float(",
    "#",
    "{",
)
_TEXTS = st.lists(st.sampled_from([*_PIECES, *"ab_.19 05-*/()=,;'\"\\$%|\n\t\r\0é"]), max_size=40).map("".join).map(str.encode)


def journal() -> mmap.mmap:
    mapping = mmap.mmap(-1, _SIZE)
    mapping[: len(_HEADER)] = _HEADER
    return mapping


@given(_TEXTS)
@settings(max_examples=3000, deadline=None)
def test_shapes(sql: bytes) -> None:
    shape_of = importlib.import_module("gateway.statements.shape_c").shape_of
    assert shape_of(sql) == pure_shape_of(sql)
    assert shape_of(b"x" * 4070 + sql) == pure_shape_of(b"x" * 4070 + sql)


_HEADERS = st.tuples(st.sampled_from(b"DdDdC"), st.sampled_from([0, 4, 5, 9, 300, 2**31, 2**32 - 1]), st.binary(max_size=8))


@given(st.lists(_HEADERS, max_size=6), st.integers(0, 12), st.integers(0, 12))
@settings(max_examples=2000, deadline=None)
def test_rows(messages: list[tuple[int, int, bytes]], position: int, cut: int) -> None:
    skip_rows = importlib.import_module("gateway.wire.framing_c").skip_rows
    data = b"".join(struct.pack(">BI", kind, length) + body for kind, length, body in messages)
    end = max(0, len(data) - cut)
    assert skip_rows(data, position, end) == pure_skip_rows(data, position, end)


def test_lines_and_journals() -> None:
    lines, journals = (importlib.import_module(f"gateway.proxy.audit_{name}_c") for name in ("lines", "journal"))
    stamps = lines.Stamp(3, 41), PureStamp(3, 41)
    for bodies in ([b'"a":1'], [b'"b":2', b'"c":"' + b"x" * 5000 + b'"', b'"d":3']):
        ours, pure = ([json.loads(line) for line in stamp.lines(bodies).splitlines()] for stamp in stamps)
        assert [list(line) for line in ours] == [list(line) for line in pure]
        for mine, theirs in zip(ours, pure, strict=True):
            assert mine.pop("at")[:10] == theirs.pop("at")[:10]
            assert 0 <= theirs.pop("mono") - mine.pop("mono") < 1
            assert mine == theirs
    stamps[0].look_at_the_clock()
    assert len(stamps[0].lines([b'"e":4'])) == len(stamps[1].lines([b'"e":4']))
    assert (stamps[0].seq, stamps[1].seq) == (46, 46)

    mappings = journal(), journal()
    both = journals.Journal(mappings[0]), PureJournal(mappings[1])
    for size in (10, 100_000, 900_000, 80_000, 1):
        assert both[0].put(b"y" * size) == both[1].put(b"y" * size)
        assert both[0].pending() == both[1].pending()
        assert mappings[0][:64] == mappings[1][:64]
    both[0].clear()
    both[1].clear()
    assert mappings[0][:64] == mappings[1][:64]
    both[0].put(b"z")
    assert journals.Journal(mappings[0]).pending() == b"z"
    assert int.from_bytes(mappings[0][8:16], sys.byteorder) == 65
    both[0].close()
    assert not both[0].put(b"late")


class Shell(Outlet):
    """A session as `live` has it, as far as the short way sees: the general way, and a trail that has a journal."""

    def __init__(self, book: Playbook) -> None:
        lines, journals, steady = (
            importlib.import_module(f"gateway.proxy.{name}_c") for name in ("audit_lines", "audit_journal", "steady")
        )
        self.book = book
        self.stamp, self.at_once = lines.Stamp(0, 0), journals.Journal(journal())
        self.account, self.counters = Traffic(), Traffic()
        self.sent: list[bytes] = []
        self.unasked: dict[str, Shell] = {}
        self.drains = self.at_length = 0
        common = steady.Common(self, self.counters, self.at_once, self.stamp, self.unasked)
        self.steady = steady.Steady(self, book.shared, common, self.account, Wire(self.sent), Wire(self.sent))
        book.shared.beside = self.steady

    @property
    def at_rest(self) -> bool:
        book, shared = self.book, self.book.shared
        return (
            not (book.effects or shared.ledger.unusual or shared.ledger.busy or shared.ledger.swallowed_syncs)
            and not shared.catalog_touched
            and book.client_side.at_rest
            and book.upstream_side.at_rest
        )

    def drain_later(self) -> None:
        self.drains += 1

    def client_data_at_length(self, data: bytes) -> None:
        self._at_length(self.book.client(data))

    def upstream_data_at_length(self, data: bytes) -> None:
        self._at_length(self.book.upstream(data))

    def _at_length(self, out: bytes) -> None:
        self.at_length += 1
        if out:
            self.sent.append(out)
        if self.book.records:
            assert self.at_once.put(self.stamp.lines(self.book.records))
            self.book.records.clear()

    def feed(self, from_client: bool, data: bytes) -> bytes:
        (self.steady.client_data if from_client else self.steady.upstream_data)(data)
        out = b"".join(self.sent)
        self.sent.clear()
        return out

    def written(self) -> Iterator[object]:
        for line in self.at_once.pending().splitlines():
            record = json.loads(line)
            for clock in ("at", "mono", "worker", "seq"):
                del record[clock]
            record.pop("duration_us", None)
            yield record


class Wire:
    def __init__(self, sent: list[bytes]) -> None:
        self.write = sent.append


def state(book: Playbook) -> object:
    shared = book.shared
    shared.settle()
    owed = [
        (entry.kind, entry.statement_id, entry.name, entry.parameters, entry.refusal is None, entry.judged is None)
        for entry in shared.ledger.queue
    ]
    ledger = shared.ledger.unusual, shared.ledger.copy_in, shared.ledger.swallowed_syncs
    names = known(shared.prepared), known(shared.portals)
    return owed, ledger, names, shared.status, shared.statements, shared.tally.statements, book.end, book.client_side.on_hold


def told(records: list[bytes]) -> list[object]:
    found = [json.loads(b"{%b}" % record) for record in records]
    for record in found:
        record.pop("duration_us", None)
    return found


@given(STEPS, st.sampled_from(list(AccessMode)), st.sets(st.integers(0, 40)))
@settings(max_examples=1500, deadline=None)
def test_the_short_way_is_the_general_way(steps: list[tuple[bool, bytes]], mode: AccessMode, looks: set[int]) -> None:
    """Looking at the state in the middle (`looks`) settles what the short way has under way; it must make no difference."""
    short, general = Shell(playbook(mode)), playbook(mode)
    kept: list[bytes] = []
    for number, (from_client, data) in enumerate(steps):
        heard = general.client(data) if from_client else general.upstream(data)
        assert short.feed(from_client, data) == heard
        kept += general.records
        general.records.clear()
        if number in looks:
            assert state(short.book) == state(general)
        if general.end is not None:
            break
    assert state(short.book) == state(general)
    assert list(short.written()) == told(kept)


def exchanges() -> Iterator[tuple[bytes, bytes]]:
    rows = packet("T", b"\0\1" + b"a\0" + bytes(18)) + packet("D", b"\0\1\0\0\0\1x")
    for status in "IT":
        end = packet("C", b"SELECT 1\0") + ready(status)
        yield query("SELECT 1"), rows + end
        yield bind("s", "", [b"1"]) + execute() + SYNC, packet("2") + rows[27:] + end
        yield bind("s", "", [b"1"]) + describe("P") + execute() + SYNC, packet("2") + rows + end
        yield parse("SELECT 1") + bind("", "", []) + describe("P") + execute() + SYNC, packet("1") + packet("2") + rows + end


@pytest.mark.parametrize(("request_", "reply"), list(exchanges()))
def test_what_is_usual_takes_the_short_way(request_: bytes, reply: bytes) -> None:
    shell = Shell(playbook())
    for data, answer in ((query("SELECT 1"), None), (parse("SELECT 1", "s") + SYNC, packet("1") + ready())):
        shell.feed(True, data)
        shell.feed(False, answer or packet("C", b"SELECT 0\0") + ready())
    before = shell.at_length
    for _ in range(3):
        assert shell.feed(True, request_) == request_
        assert shell.feed(False, reply) == reply
    assert shell.at_length == before
    assert shell.drains == 1
    for counted in (shell.account, shell.counters):
        assert (counted.bytes_in, counted.bytes_out) == (3 * len(request_), 3 * len(reply))


def test_nothing_takes_the_short_way_while_rights_are_in_doubt() -> None:
    """Neither a request nor a reply: the general way asks first."""
    shell, answer = Shell(playbook()), packet("C", b"SELECT 0\0") + ready()
    for _ in range(2):
        shell.feed(True, query("SELECT 1"))
        shell.feed(False, answer)
    before = shell.at_length
    shell.feed(True, query("SELECT 1"))
    assert shell.at_length == before
    shell.unasked["s"] = shell
    shell.feed(False, answer)
    shell.feed(True, query("SELECT 1"))
    shell.unasked.clear()
    shell.feed(False, answer)
    assert shell.at_length == before + 3
    shell.feed(True, query("SELECT 1"))
    assert shell.at_length == before + 3


def test_another_policy_is_asked_from_then_on() -> None:
    shell = Shell(playbook())
    shell.feed(True, query("SELECT 1"))
    shell.feed(False, packet("C", b"SELECT 0\0") + ready())
    shell.book.shared.adopt(in_force(AccessMode.READ_WRITE))
    before = shell.at_length
    shell.feed(True, query("SELECT 1"))
    assert shell.at_length == before + 1, "the new policy has not judged this text yet"


def test_texts_that_differ_in_literals_take_the_short_way_whatever_came_between() -> None:
    shell = Shell(playbook())
    numbers, names = (f"SELECT * FROM t WHERE a = {number}" for number in range(9)), (f"SELECT '{name}'" for name in "abcdefgh")
    done = packet("C", b"SELECT 0\0") + ready()

    def at_length(text: str) -> int:
        before = shell.at_length
        assert shell.feed(True, query(text)) == query(text)
        assert shell.feed(False, done) == done
        assert list(shell.written())[-2]["sql"] == text  # type: ignore[index]
        return shell.at_length - before

    assert [at_length(next(numbers)), at_length(next(names)), at_length("SELECT 1 -- a")] == [2, 2, 2], "each is judged once"
    for text in (*(next(numbers) for _ in range(3)), next(names), next(numbers), "SELECT 1 -- a", next(numbers), next(names)):
        assert at_length(text) == 0
    assert at_length("SELECT 'a\nb'") == 2, "a newline is written in another way"
    shell.book.shared.adopt(in_force(AccessMode.READ_WRITE))
    assert at_length(next(names)) == 2, "the new policy has not judged this text yet"


def test_without_room_in_the_journal_or_with_a_broken_trail_the_general_way_has_its_turn() -> None:
    shell = Shell(playbook())
    shell.feed(True, query("SELECT 1"))
    shell.feed(False, packet("C", b"SELECT 0\0") + ready())
    kept = shell.at_once
    assert kept.put(b"x" * (_SIZE - 64 - len(kept.pending()) - 100))
    before, seq = shell.at_length, shell.stamp.seq
    with pytest.raises(AssertionError):
        shell.feed(True, query("SELECT 1"))
    assert shell.at_length == before + 1
    assert shell.stamp.seq == seq + 1
    kept.clear()
    shell.feed(False, packet("C", b"SELECT 0\0") + ready())
    shell.at_once, before = None, kept.pending()
    with pytest.raises(AttributeError):
        shell.feed(True, query("SELECT 1"))
    assert kept.pending() == before, "nothing is written beside a trail that does not write"
