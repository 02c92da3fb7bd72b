"""M: messages after login whose headers or insides lie."""

import struct
import time
from pathlib import Path

import pytest

from gateway.access_mode import AccessMode
from tests.support import wire
from tests.support.oracle import Answer, Twins, kinds, play, same
from tests.support.truth import upstream_checksum
from tests.support.wire import SYNC, RawClient, bind, execute, packet, parse, query, text

CLIENT_TYPES = b"QPBDECHSFXdcfp"
TRICKLE_SECONDS = 1.0


def fate(client: RawClient, data: bytes) -> list[Answer]:
    """What comes until the peer closes, or until it is ready again after a Sync and a Query."""
    return play(client, [data, wire.SYNC, wire.query("SELECT 'the end of the script'")])


def both(twins: Twins, data: bytes) -> list[Answer]:
    with twins.direct() as direct:
        expected = fate(direct, data)
    with twins.through() as through:
        assert fate(through, data) == expected
    return expected


@pytest.mark.parametrize("kind", sorted(set(range(256)) - set(CLIENT_TYPES)))
def test_m01_other_types(reader: Twins, kind: int) -> None:
    """What only servers send, and what nobody sends: FATAL 08P01, closed."""
    with reader.through() as client:
        assert fate(client, bytes((kind,)) + struct.pack(">I", 4)) == [("E", "FATAL 08P01"), ("EOF", "")]


def test_m01_other_types_in_postgresql(reader: Twins) -> None:
    for kind in b"\0\xffTRZKv12~":
        assert both(reader, bytes((kind,)) + struct.pack(">I", 4)) == [("E", "FATAL 08P01"), ("EOF", "")]


@pytest.mark.parametrize("length", [0, 1, 2, 3])
def test_m02_lengths_that_are_none(reader: Twins, length: int) -> None:
    """Closed without a word."""
    for kind in CLIENT_TYPES:
        if kind != ord("p"):
            assert both(reader, bytes((kind,)) + struct.pack(">I", length)) == [("EOF", "")], chr(kind)


@pytest.mark.parametrize("length", [0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x40000000])
def test_m03_lengths_beyond_all_bounds(reader: Twins, length: int) -> None:
    """Refused at the header; nothing is allocated for them."""
    for kind in CLIENT_TYPES:
        with reader.through() as client:
            assert fate(client, bytes((kind,)) + struct.pack(">I", length) + b"x" * 100) in (
                [("EOF", "")],
                [("E", "FATAL 08P01"), ("EOF", "")],
            ), chr(kind)


def test_m03_a_gigabyte_announced_and_trickled(reader: Twins) -> None:
    """More than the gateway takes: refused by name, before a byte of it is kept. Short types have PostgreSQL's own limit."""
    pid = reader.gateway.worker_pids()[0]
    before = _resident(pid)
    for kind in b"QPBF":
        with reader.through() as client:
            client.send(bytes((kind,)) + struct.pack(">I", 0x3FFFFFFE) + b"x")
            (refused,) = client.until_eof(2)
            assert (refused.severity, refused.sqlstate) == ("FATAL", "54000")
            assert "limits.max_message_bytes" in refused.said
    for kind in b"CDEHSXcf":
        assert both(reader, bytes((kind,)) + struct.pack(">I", 10_001)) == [("EOF", "")], chr(kind)
    assert _resident(pid) - before < 4 * 1024 * 1024


def test_m03_what_is_announced_is_not_allocated(reader: Twins) -> None:
    """16 MB announced, one byte at a time: memory grows by what came."""
    pid = reader.gateway.worker_pids()[0]
    before = _resident(pid)
    clients = [reader.through() for _ in range(10)]
    for client in clients:
        client.send(b"Q" + struct.pack(">I", 16 * 1024 * 1024))
    until = time.monotonic() + TRICKLE_SECONDS
    while time.monotonic() < until:
        for client in clients:
            client.send(b"x")
        time.sleep(0.05)
    assert _resident(pid) - before < 8 * 1024 * 1024
    for client in clients:
        client.close()


BAD_BODIES = {
    "bind: a parameter longer than the rest": packet("B", b"\0\0\0\0\0\1" + struct.pack(">i", 1000) + b"x\0\0"),
    "bind: a parameter of -2": packet("B", b"\0\0\0\0\0\1" + struct.pack(">i", -2) + b"\0\0"),
    "bind: a parameter of 2^31-1": packet("B", b"\0\0\0\0\0\1" + struct.pack(">i", 0x7FFFFFFF) + b"\0\0"),
    "bind: fewer parameters than counted": packet("B", b"\0\0\0\0\0\3" + struct.pack(">i", 1) + b"x\0\0"),
    "bind: formats and parameters differ": packet("B", b"\0\0\0\2\0\0\0\0\0\1" + struct.pack(">i", 1) + b"x\0\0"),
    "bind: bytes at the end": packet("B", b"\0\0\0\0\0\0\0\0extra"),
    "bind: no NUL": packet("B", b"portal"),
    "bind: 65535 formats": packet("B", b"\0\0\xff\xff"),
    "parse: no NUL": packet("P", b"\0SELECT 1"),
    "parse: fewer types than counted": packet("P", b"\0SELECT 1\0\0\2\0\0\0\0"),
    "parse: bytes at the end": packet("P", b"\0SELECT 1\0\0\0extra"),
    "execute: short": packet("E", b"\0\0\0"),
    "execute: bytes at the end": packet("E", b"\0\0\0\0\0extra"),
    "describe: unknown kind": packet("D", b"X\0"),
    "describe: no NUL": packet("D", b"Sname"),
    "describe: empty": packet("D", b""),
    "close: unknown kind": packet("C", b"X\0"),
    "close: bytes at the end": packet("C", b"S\0extra"),
    "query: no NUL": packet("Q", b"SELECT 1"),
    "query: empty": packet("Q", b""),
    "query: bytes behind the NUL": packet("Q", b"SELECT 1\0SELECT 2"),
    "query: two texts": packet("Q", b"SELECT 1\0DROP TABLE accounts\0"),
    "sync: with a body": packet("S", b"x"),
    "flush: with a body": packet("H", b"x"),
}


@pytest.mark.parametrize("bad", BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_m05_m06_bodies_that_lie(reader: Twins, bad: bytes) -> None:
    """ERROR 08P01, the rest of the group is skipped, the session lives: as PostgreSQL."""
    answer = reader.compare(same(parse("SELECT 1"), bad, bind(), execute(), SYNC, query("SELECT 2")))
    assert ("E", "ERROR 08P01") in answer
    inside = reader.compare(same(query("BEGIN"), parse("SELECT 1"), bad, SYNC, query("SELECT 1"), query("ROLLBACK")))
    assert ("E", "ERROR 25P02") in inside


def test_m05_what_lies_is_not_forwarded(reader: Twins) -> None:
    """The malformed text appears in no log of the server, and is refused in the audit."""
    secret = "SELECT 'never forwarded 5522'"
    with reader.through() as client:
        for bad in (packet("Q", secret.encode()), packet("P", b"\0" + secret.encode()), packet("Q", text(secret) + b"x\0")):
            client.send(bad, SYNC, query("SELECT 'done'"))
            answer = client.until("D")
            assert answer[0].sqlstate == "08P01"
            client.until("Z")
        reader.gateway.wait_for_event(event="refused", rule="malformed-message")
    log = reader.database.upstream.log_file
    if log is not None:
        assert "never forwarded 5522" not in log.read_text()


def test_m04_a_query_inside_a_bind(reader: Twins) -> None:
    """Lengths that would sum up past 2^32 cannot make a parameter's content pass for the next message."""
    canary = query("SELECT 'smuggled'")
    inner = struct.pack(">i", 0x7FFFFFF0) + struct.pack(">i", 0x7FFFFFF0) + canary
    answer = reader.compare(same(parse("SELECT 1"), packet("B", b"\0\0\0\0\0\2" + inner), SYNC))
    assert kinds(answer) == "1EZ"


@pytest.mark.parametrize(
    "late",
    [
        wire.startup("postgres", "postgres"),
        wire.SSL_REQUEST,
        wire.GSS_REQUEST,
        wire.cancel_request(1, b"abcd"),
        packet("p", b"x\0"),
    ],
    ids=["startup", "ssl", "gss", "cancel", "password"],
)
def test_m08_m09_packets_of_the_login_afterwards(reader: Twins, late: bytes) -> None:
    """FATAL 08P01, closed, as PostgreSQL."""
    assert both(reader, late) == [("E", "FATAL 08P01"), ("EOF", "")]


def test_m12_terminate(writer: Twins) -> None:
    """With a body, in the middle of a pipeline, inside a transaction: rolled back upstream and closed within a second."""
    admin = writer.database.superuser()
    before = upstream_checksum(admin)
    write = "INSERT INTO hr.people VALUES (998, 'x')"
    for data in (query("BEGIN") + query(write), wire.extended(write), wire.extended(write) + parse("SELECT 1")):
        for goodbye in (wire.TERMINATE, packet("X", b"with a body")):
            client = writer.through()
            client.send(data, goodbye)
            client.until_eof(2)
    deadline = time.monotonic() + 2
    backends = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app_rw' AND datname = current_database()"
    while admin.execute(backends).fetchone() != (0,):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert upstream_checksum(admin) == before


@pytest.mark.parametrize("oid", [0, 715, 957, 764, 2981, 0xFFFFFFFF])
@pytest.mark.parametrize("mode", list(AccessMode))
def test_m13_function_calls(reader: Twins, writer: Twins, mode: AccessMode, oid: int) -> None:
    """The fast path is refused in both modes, whatever the function: ERROR 0A000, ready again, nothing created."""
    twins = reader if mode is AccessMode.READ_ONLY else writer
    admin = twins.database.superuser()
    before = upstream_checksum(admin)
    call = packet("F", struct.pack(">IHHHiIH", oid, 1, 1, 1, 4, 0, 1))
    with twins.through() as client:
        answer = client.ask(call)
        assert [m.kind for m in answer] == ["E", "Z"]
        assert answer[0].sqlstate == "0A000"
        assert client.ask(packet("F", b"garbage"))[0].sqlstate == "0A000"
        assert client.value("SELECT 1") == "1"
    assert upstream_checksum(admin) == before
    reader.gateway.wait_for_event(event="refused", rule="fast-path-call", user=twins.person.name)


def test_nul_and_broken_text(reader: Twins) -> None:
    """What is no UTF-8 is an ERROR 22021, as in PostgreSQL."""
    for broken in (b"SELECT '\xff'", b"SELECT '\xed\xa0\x80'", b"SELECT '\xc0\x80'", b"SELECT '\xf5\x80\x80\x80'"):
        with reader.direct() as direct:
            assert direct.ask(query(broken))[0].sqlstate == "22021"
        with reader.through() as client:
            assert client.ask(query(broken))[0].sqlstate == "22021"
            assert client.ask(parse(broken), SYNC)[0].sqlstate == "22021"


def test_m14_many_syncs(reader: Twins) -> None:
    """100,000 Syncs: one answer each, memory flat."""
    pid = reader.gateway.worker_pids()[0]
    before = _resident(pid)
    with reader.through() as client:
        for _ in range(100):
            client.send(SYNC * 1000)
            for _ in range(1000):
                assert client.read().kind == "Z"
    assert _resident(pid) - before < 8 * 1024 * 1024


def test_terminate_splits_a_chunk(reader: Twins) -> None:
    """Nothing behind a Terminate is run."""
    with reader.through() as client:
        client.send(wire.TERMINATE, query("SELECT 'behind the end'"))
        assert client.until_eof(2) == []
    assert reader.gateway.events(sql="SELECT 'behind the end'") == []


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
