"""Trails read back: every record once, in order, from either end, in pages, whatever the files went through."""

import fcntl
import json
import struct
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.trails import files
from gateway.trails.filters import Filter
from gateway.trails.records import Record
from gateway.trails.search import Cursor, CursorError, Page, find_end, search_trail
from gateway.trails.stream import Order
from tests.trails.writing import BEGIN, Writer

NEWEST, OLDEST = Order.NEWEST_FIRST, Order.OLDEST_FIRST


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that some records do what gigabytes would."""
    monkeypatch.setattr(files, "BLOCK_BYTES", 512)
    monkeypatch.setattr(files, "_PROBE_BYTES", 300)


def pages(directory: Path, wanted: Filter, order: Order, limit: int) -> list[Page]:
    found, cursor = [], None
    while True:
        page = search_trail(directory, wanted, order=order, limit=limit, cursor=cursor)
        assert len(page.records) <= limit
        found.append(page)
        if page.next is None:
            return found
        cursor = Cursor.decode(page.next.encode(), order)
        assert len(found) < 10_000


def everything(directory: Path, wanted: Filter | None = None, order: Order = OLDEST, limit: int = 7) -> list[Record]:
    return [record for page in pages(directory, wanted or Filter(), order, limit) for record in page.records]


def numbers(records: list[Record]) -> list[Any]:
    return [record.fields["n"] for record in records if "n" in record.fields]


def test_nothing_yet(tmp_path: Path) -> None:
    for order in Order:
        assert everything(tmp_path, order=order) == []
        assert everything(tmp_path / "none", order=order) == []


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_all_sources_and_rotated_files_in_the_order_of_time(tmp_path: Path, limit: int) -> None:
    writers = [Writer(tmp_path, source) for source in ("0", "1", "12", "admin")]
    for n in range(60):
        writer = writers[n % 4]
        writer.at = BEGIN + timedelta(seconds=n)
        writer.write({"n": n, "event": "x"}, seconds=0)
        if n % 11 == 5:
            writer.rotate()
    assert numbers(everything(tmp_path, order=OLDEST, limit=limit)) == list(range(60))
    assert numbers(everything(tmp_path, order=NEWEST, limit=limit)) == list(range(59, -1, -1))


@pytest.mark.usefixtures("small_blocks")
def test_pages_go_on_while_more_is_written(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.write(*({"n": n} for n in range(50)))
    first = search_trail(tmp_path, Filter(), order=NEWEST, limit=10)
    writer.write(*({"n": n} for n in range(50, 80)))
    writer.rotate()
    Writer(tmp_path, "1").write({"n": 1000}, seconds=500)
    writer.write({"n": 80})
    second = search_trail(tmp_path, Filter(), order=NEWEST, limit=100, cursor=first.next)
    assert numbers([*first.records, *second.records]) == list(range(49, -1, -1))


@pytest.mark.usefixtures("small_blocks")
def test_the_end_of_an_oldest_first_search_is_where_the_next_one_begins(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.write(*({"n": n} for n in range(30)))
    page = search_trail(tmp_path, Filter(), order=OLDEST, limit=100)
    assert page.next is None
    for end in (page.end, find_end(tmp_path)):
        assert search_trail(tmp_path, Filter(), order=OLDEST, cursor=end).records == ()
    writer.write({"n": 30})
    writer.rotate()
    writer.write({"n": 31})
    Writer(tmp_path, "1").write({"n": 32}, seconds=600)
    for end in (page.end, Cursor.decode(page.end.encode(), OLDEST)):
        assert numbers(list(search_trail(tmp_path, Filter(), order=OLDEST, cursor=end).records)) == [30, 31, 32]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("order", Order)
def test_a_clock_that_is_set_back_neither_hides_nor_repeats(tmp_path: Path, order: Order) -> None:
    one, other = Writer(tmp_path, "0"), Writer(tmp_path, "1")
    for n in range(40):
        if n == 15:
            one.at -= timedelta(hours=3)
        one.write({"n": n})
        other.write({"m": n})
        if n == 25:
            one.rotate()
    found = everything(tmp_path, order=order)
    assert sorted(numbers(found)) == list(range(40))
    assert numbers(found) == (list(range(40)) if order is OLDEST else list(range(39, -1, -1)))
    assert len(found) == 80


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("order", Order)
def test_records_written_again_after_a_failed_sync_are_shown_once(tmp_path: Path, order: Order) -> None:
    writer = Writer(tmp_path)
    writer.write(*({"n": n} for n in range(20)))
    again = b"".join(writer.path.read_bytes().splitlines(keepends=True)[12:])
    writer.rotate()
    writer.raw(again)
    writer.write({"n": 20})
    assert sorted(numbers(everything(tmp_path, order=order))) == list(range(21))


FOREIGN = [b"[]\n", b"{}\n", b"null\n", b'{"at":1,"seq":2}\n', b"\xff\xfe\n", b"[" * 5_000 + b"\n", b"\n", b'{"at":"2026\n']


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("line", FOREIGN)
def test_foreign_and_torn_lines_end_nothing_and_are_said(tmp_path: Path, order: Order, line: bytes) -> None:
    writer = Writer(tmp_path)
    writer.write({"n": 1})
    writer.raw(line)
    writer.write({"n": 2})
    writer.raw(b'{"at":"9999-12-31')  # just being written
    (page,) = pages(tmp_path, Filter(), order, 10)
    assert sorted(numbers(list(page.records))) == [1, 2]
    assert page.faults == ("audit-0.jsonl: 1 line torn or not a record, left out",)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("order", Order)
def test_records_longer_than_a_block(tmp_path: Path, order: Order) -> None:
    writer = Writer(tmp_path)
    writer.write(*({"n": n, "text": "y" * (5000 if n % 3 else 5)} for n in range(12)))
    assert sorted(numbers(everything(tmp_path, order=order, limit=2))) == list(range(12))


def test_a_line_is_given_as_it_was_written(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.write({"sql": "select 'é\x1b[31m'"})
    (record,) = everything(tmp_path)
    assert record.line.encode() + b"\n" == writer.path.read_bytes()
    assert (record.source, record.seq) == ("0", 1)


def test_files_that_were_closed_before_are_not_opened_but_nothing_is_missed(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.write({"n": 1})
    writer.rotate()
    (old,) = tmp_path.glob("audit-0-*-1.jsonl")
    writer.at += timedelta(days=30)
    writer.write({"n": 2})
    writer.rotate()
    writer.at += timedelta(days=30)
    writer.write({"n": 3})
    old.chmod(0)
    for order in Order:
        assert numbers(everything(tmp_path, Filter(since=BEGIN + timedelta(days=25)), order=order)) in ([2, 3], [3, 2])
    assert numbers(everything(tmp_path, Filter(until=BEGIN + timedelta(days=35)), order=NEWEST)) == [2, 1]


@pytest.mark.parametrize("order", Order)
def test_what_a_killed_worker_left_in_its_journal_is_found(tmp_path: Path, order: Order) -> None:
    writer = Writer(tmp_path)
    writer.write(*({"n": n} for n in range(1, 8)))
    written = writer.path.read_bytes().splitlines(keepends=True)
    writer.path.write_bytes(b"".join(written[:4]))  # it was killed while it drained
    lines = b"".join(written[2:])
    journal = b"pgbastn1" + struct.pack("=Q", 64 + len(lines)) + bytes(48) + lines + b'{"at":"what an older life left\n'
    (tmp_path / "audit-0.journal").write_bytes(journal.ljust(65536, b"\0"))
    assert sorted(numbers(everything(tmp_path, order=order, limit=2))) == [1, 2, 3, 4, 5, 6, 7]
    with writer.path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # a worker lives, and drains it itself
        assert sorted(numbers(everything(tmp_path, order=order))) == [1, 2, 3, 4]


def test_the_journal_is_read_as_it_is_written(tmp_path: Path) -> None:
    from gateway.proxy.audit_journal import open_journal

    writer = Writer(tmp_path)
    writer.write({"n": 1})
    journal = open_journal(tmp_path / "audit-0.journal")
    assert journal.put(writer.line({"n": 2}, 2))
    journal.close()
    assert numbers(everything(tmp_path)) == [1, 2]


def test_a_page_ends_when_its_time_is_up_and_the_next_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BLOCK_BYTES", 512)
    for order in Order:
        writer = Writer(tmp_path / order.value)
        writer.write(*({"n": n, "user": "ann" if n % 50 == 7 else "bob"} for n in range(300)))
        found, cursor, rounds = [], None, 0
        while True:
            page = search_trail(writer.directory, Filter(user="ann"), order=order, limit=100, cursor=cursor, seconds=0.0005)
            found += page.records
            rounds += 1
            if (cursor := page.next) is None:
                break
            assert rounds < 5000
        assert sorted(numbers(found)) == [7, 57, 107, 157, 207, 257]


@pytest.mark.parametrize("text", ["", "x", "é", "bm9uZQ", "W10", "WyJvbGRlc3RfZmlyc3QiLCBbXV0", "W" * 10_000])
def test_no_text_is_a_cursor_but_our_own(text: str) -> None:
    with pytest.raises(CursorError):
        Cursor.decode(text, OLDEST)


def test_a_cursor_fits_only_its_order(tmp_path: Path) -> None:
    text = find_end(tmp_path).encode()
    assert Cursor.decode(text, OLDEST) == find_end(tmp_path)
    with pytest.raises(CursorError):
        Cursor.decode(text, NEWEST)


def test_memory_stays_small(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    lines = b"".join(writer.line({"n": n, "user": "ann", "pad": "x" * 400}, n) for n in range(1, 60_001))
    writer.raw(lines)
    del lines
    assert writer.path.stat().st_size > 25_000_000
    tracemalloc.start()
    try:
        for order in Order:
            assert search_trail(tmp_path, Filter(user="nobody"), order=order, seconds=60).records == ()
            assert len(search_trail(tmp_path, Filter(user="ann"), order=order, limit=100).records) == 100
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


# --- filters


def statement(user: str, sql: str, verdict: str = "allowed", target: str = "shop") -> dict[str, Any]:
    return {"event": "statement", "session": f"s-{user}", "user": user, "target": target, "sql": sql, "verdict": verdict}


ADMIN = {
    "event": "admin",
    "id": "e-1",
    "actor": "os:root",
    "action": "grant.revoked",
    "object": "ann on shop",
    "object_id": "s-9",
    "reason": "Left the TEAM",
    "detail": {"user": "ann", "modes": ["read_only"], "note": None},
}
RECORDS = [
    statement("ann", "select 1"),
    statement("bob", "INSERT INTO Orders", "denied"),
    statement("bob", "select 'Straße'", target="hr"),
    {"event": "login_failed", "user": "ann", "reason": "wrong password"},
    {"event": "connection_refused", "address": "192.0.2.9"},
    {"event": "statement_end", "session": "s-ann", "user": "ann", "outcome": "ok"},
    ADMIN,
]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filter(), [0, 1, 2, 3, 4, 5, 6]),
        (Filter(user="ann"), [0, 3, 5, 6]),
        (Filter(user="os:root"), [6]),
        (Filter(target="shop"), [0, 1, 6]),
        (Filter(target="hr"), [2]),
        (Filter(session="s-bob"), [1, 2]),
        (Filter(session="s-9"), [6]),
        (Filter(event="login_failed"), [3]),
        (Filter(event="statement*"), [0, 1, 2, 5]),
        (Filter(event="grant.*"), [6]),
        (Filter(event="grant.revoked"), [6]),
        (Filter(event="admin"), [6]),
        (Filter(verdict="allowed"), [0, 2]),
        (Filter(verdict="denied"), [1]),
        (Filter(denied=True), [1, 3, 4]),
        (Filter(text="orders"), [1]),
        (Filter(text="STRASSE"), [2]),
        (Filter(text="straße"), [2]),
        (Filter(text="left the team"), [6]),
        (Filter(text="nowhere"), []),
        (Filter(user="bob", verdict="denied"), [1]),
        (Filter(since=BEGIN + timedelta(seconds=3)), [2, 3, 4, 5, 6]),
        (Filter(until=BEGIN + timedelta(seconds=3)), [0, 1]),
    ],
)
def test_filters(tmp_path: Path, wanted: Filter, found: list[int]) -> None:
    Writer(tmp_path).write(*({**record, "n": n} for n, record in enumerate(RECORDS)))
    for order in Order:
        assert sorted(numbers(everything(tmp_path, wanted, order=order))) == found


texts = st.text(st.characters(codec="utf-8"), max_size=5) | st.sampled_from(["ann", "ß", "İ", "K", "ﬀ", '"', "\\", "\n", "a"])
values = st.recursive(texts | st.integers() | st.none(), lambda inner: st.lists(inner, max_size=2))


@given(
    record=st.dictionaries(
        st.sampled_from(["user", "target", "session", "event", "verdict", "actor", "object", "detail"]), values
    ),
    wanted=st.builds(Filter, *([st.none() | texts] * 4), st.sampled_from([None, "allowed", "denied"]), st.none(), st.none())
    | st.builds(Filter, text=texts, denied=st.booleans()),
)
def test_the_quick_look_never_turns_away_what_fits(record: dict[str, Any], wanted: Filter) -> None:
    fields = {"at": "2026", "seq": 1, **record}
    for line in (json.dumps(fields, separators=(",", ":")), json.dumps(fields, separators=(",", ":")) + "\n{}"):
        if wanted.compile()(fields):
            assert wanted.screen()(line.encode())


steps = st.lists(
    st.tuples(st.sampled_from(["0", "1", "admin"]), st.sampled_from(["write", "write", "write", "rotate"]), st.integers(0, 3)),
    max_size=60,
)


@settings(deadline=None, max_examples=60)
@given(steps=steps, limit=st.integers(1, 9), user=st.sampled_from([None, "u0", "u1"]))
def test_whatever_was_written_comes_back_once_in_order(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, int]], limit: int, user: str | None
) -> None:
    directory = tmp_path_factory.mktemp("trail")
    writers: dict[str, Writer] = {}
    now, written = datetime(2026, 1, 1, tzinfo=UTC), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "BLOCK_BYTES", 128)
        patch.setattr(files, "_PROBE_BYTES", 100)
        for source, verb, seconds in steps:
            writer = writers.setdefault(source, Writer(directory, source))
            if verb == "rotate":
                if writer.path.exists():
                    writer.rotate()
                continue
            now += timedelta(seconds=seconds, microseconds=1)
            writer.at = now
            written += [(source, *each.values()) for each in writer.write({"user": f"u{seconds % 2}"}, seconds=0)]
        expected = [(row[0], row[-2]) for row in written if user in (None, row[-1])]
        wanted = Filter(user=user)
        oldest = everything(directory, wanted, order=OLDEST, limit=limit)
        newest = everything(directory, wanted, order=NEWEST, limit=limit)
    assert [(record.source, record.seq) for record in oldest] == expected
    assert [(record.source, record.seq) for record in reversed(newest)] == expected
