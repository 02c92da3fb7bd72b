"""T and P: what comes before anybody has proved who they are. PostgreSQL's own answer to the same bytes is the oracle."""

import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from scramp import ScramClient

from tests.support import wire
from tests.support.gateway import RunningGateway, running_gateway
from tests.support.hostile import Guest, hostile, victim_of
from tests.support.oracle import Twins
from tests.support.wire import (
    GSS_REQUEST,
    SSL_REQUEST,
    Closed,
    Place,
    RawClient,
    Refused,
    cancel_request,
    packet,
    query,
    sasl_initial,
    startup,
    startup_of,
    text,
)

INJECTIONS = 100  # the catalogue has 1,000; ten times that in a night
ALTERNATIONS = 50
OPTIONS_SECONDS = 0.05  # of CPU, for one refusal, login and TLS included
SILENT = [("closed", "")]


def fate(client: RawClient, *data: bytes) -> list[tuple[str, str]]:
    """What the peer says to this until it closes: (type, severity and code)."""
    try:
        client.send(*data)
    except OSError:
        client.eof = True
    told = [(m.kind, f"{m.severity} {m.sqlstate}" if m.kind == "E" else "") for m in client.until_eof(15) if m.kind not in "SK"]
    return [*told, ("closed", "")]


def both_say(twins: Twins, *data: bytes) -> list[tuple[str, str]]:
    """The gateway and PostgreSQL, each inside TLS, answer alike."""
    expected = fate(twins.server.open(), *data)
    assert fate(twins.place.tls(), *data) == expected
    return expected


def still_serves(twins: Twins) -> None:
    with twins.through() as client:
        assert client.value("SELECT 1") == "1"


# -- TLS ---------------------------------------------------------------------------------------------------------------


def first_record(context: ssl.SSLContext) -> bytes:
    coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(coming, going, server_hostname="127.0.0.1").do_handshake()
    return going.read()


def _injected(place: Place, more: bytes) -> list[tuple[str, str]]:
    client = place.tcp()
    client.send(SSL_REQUEST, more)
    assert client.read_raw(1) == b"S"
    return fate(place.wrap(client))


def test_t01_startup_in_the_clear_behind_the_tls_request(reader: Twins) -> None:
    """FATAL 08P01, said inside TLS; the clear bytes are never parsed."""
    clear = startup(reader.person.name, reader.target)
    found = _injected(reader.place, clear)
    assert found == [("E", "FATAL 08P01"), ("closed", "")]
    if reader.server.ca_file is not None:
        assert _injected(reader.server, clear) in (found, found[1:])  # PostgreSQL 13 closes without a word
    still_serves(reader)


def test_t02_bytes_between_our_answer_and_the_handshake(reader: Twins) -> None:
    """Wherever the clear bytes land, the client sees a failed handshake or 08P01, and nobody is logged in by them."""
    clear = startup(reader.person.name, reader.target)
    for number in range(INJECTIONS):
        client = reader.place.tcp()
        client.send(SSL_REQUEST)
        if number % 2:
            assert client.read_raw(1) == b"S"
        time.sleep(number * 0.00002)
        client.send(clear)
        if not number % 2:
            assert client.read_raw(1) == b"S"
        with contextlib.suppress(OSError):  # the handshake failed
            assert fate(reader.place.wrap(client)) == [("E", "FATAL 08P01"), ("closed", "")]
    still_serves(reader)


def test_t04_without_tls(reader: Twins) -> None:
    """FATAL 28000 with a text that helps, before any SASL message."""
    client = reader.place.tcp()
    client.send(startup(reader.person.name, reader.target))
    (refused,) = client.until_eof()
    assert (refused.severity, refused.sqlstate) == ("FATAL", "28000")
    assert "sslmode=verify-full" in refused.fields["H"]


def test_t07_alpn(reader: Twins) -> None:
    """Direct TLS needs ALPN "postgresql": without it, or with another protocol's name, it is closed."""
    with reader.place.direct_tls() as client:
        client.send(startup(reader.person.name, reader.target))
        wire.answer_scram(client, reader.person.password)
        assert wire.welcome(client)[-1].kind == "Z"
    for alpn in ((), ("http/1.1",)):
        with contextlib.suppress(OSError):
            client = reader.place.direct_tls(alpn)
            assert fate(client, startup(reader.person.name, reader.target)) == SILENT


def test_t08_another_protocol_behind_the_tls_request(reader: Twins) -> None:
    """A browser that was led here must not be understood: offering only other protocols ends in an alert, in whatever pieces."""
    for pieces in (1, 2, 40):
        client = reader.place.tcp()
        client.send(SSL_REQUEST)
        assert client.read_raw(1) == b"S"
        hello = first_record(reader.place.context(("http/1.1",)))
        step = len(hello) // pieces + 1
        for start in range(0, len(hello), step):
            client.send(hello[start : start + step])
            time.sleep(0.001)
        answer = client.sock.recv(100)
        assert (answer[0], answer[-1]) == (0x15, 120)  # alert, no_application_protocol
        assert client.sock.recv(100) == b""
    for suits in (("http/1.1", "postgresql"), ()):
        client = reader.place.tcp()
        client.send(SSL_REQUEST)
        assert client.read_raw(1) == b"S"
        with reader.place.wrap(client, suits) as client:
            client.send(startup(reader.person.name, reader.target))
            wire.answer_scram(client, reader.person.password)
            assert wire.welcome(client)[-1].kind == "Z"


def test_t08_a_first_record_that_never_comes_whole(reader: Twins) -> None:
    """Its beginning and then the end of the stream: closed at once, and not only by the deadline of the login."""
    for size in (1, 5, 50):
        client = reader.place.tcp()
        client.send(SSL_REQUEST)
        assert client.read_raw(1) == b"S"
        client.send(first_record(reader.place.context())[:size])
        client.sock.shutdown(socket.SHUT_WR)
        assert client.until_eof(2) == []
    still_serves(reader)


def test_old_tls_is_refused(reader: Twins) -> None:
    client = reader.place.tcp()
    client.send(SSL_REQUEST)
    assert client.read_raw(1) == b"S"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError, match=r"."):
        context.wrap_socket(client.sock)


# -- startup packets ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x80000000, 0x7FFFFFFF, 3, 7, 10_005])
def test_p02_impossible_lengths(reader: Twins, length: int) -> None:
    """Closed without a word, as PostgreSQL does, whatever follows and however much; nothing of it is kept."""
    head = struct.pack(">I", length)
    assert both_say(reader, head + b"x" * 100) == SILENT
    pid = reader.gateway.worker_pids()[0]
    before = _resident(pid)
    started = time.monotonic()
    for open_ in (reader.place.tcp, reader.place.tls):
        assert fate(open_(), head, bytes(10_000_000)) == SILENT
    assert time.monotonic() - started < 2
    assert _resident(pid) - before < 4 * 1024 * 1024


def test_p03_the_longest_packet(reader: Twins) -> None:
    """10,000 bytes of body are read (and the unknown setting refused), 10,001 are not."""
    for size, outcome in ((10_000, "R"), (10_001, "closed")):
        packet_ = startup(reader.person.name, reader.target, application_name="")
        room = size - (len(packet_) - 4)
        padded = startup(reader.person.name, reader.target, application_name="x" * room)
        assert len(padded) == size + 4
        client = reader.place.tls()
        client.send(padded)
        if outcome == "R":
            assert client.read().kind == "R"
        else:
            assert fate(client) == SILENT


def test_p05_every_split(reader: Twins) -> None:
    """However SSLRequest, startup and SASL messages are cut, the login is the same."""
    first = startup(reader.person.name, reader.target)
    for cut in range(1, len(SSL_REQUEST)):
        client = reader.place.tcp()
        client.send_split(SSL_REQUEST, cut)
        assert client.read_raw(1) == b"S"
        client.close()
    for cut in range(1, 120):
        client = reader.place.tls()
        client.send_split(first, min(cut, len(first) - 1), pause=0.0005)
        scram = ScramClient(["SCRAM-SHA-256"], "x", reader.person.password)
        client.read()
        client.send_split(sasl_initial("SCRAM-SHA-256", scram.get_client_first().encode()), min(cut, 60), pause=0.0005)
        scram.set_server_first(client.read().body[4:].decode())
        final = packet("p", scram.get_client_final().encode())
        client.send_split(final, min(cut, len(final) - 1), pause=0.0005)
        assert wire.welcome(client)[-1].kind == "Z", cut
        client.close()
    with reader.place.tls() as client:
        client.send_split(first, *range(1, len(first)), pause=0.0005)
        wire.answer_scram(client, reader.person.password)
        wire.welcome(client)


def test_p06_everything_in_one_segment(gateway: RunningGateway) -> None:
    """A statement behind the first SASL message is a protocol violation; upstream is not even dialled."""

    def script(guest: Guest) -> None:
        guest.log_in()
        guest.serve_selects()

    with hostile(script) as server:
        victim = victim_of(gateway, server.port)
        first = sasl_initial("SCRAM-SHA-256", b"n,,n=,r=rOprNGfwEbeRWgbNEkqO")
        for rest in (query("SELECT 1"), first + query("SELECT 1"), packet("p", b"x") + query("SELECT 1")):
            client = victim.place.tls()
            told = fate(client, startup(victim.person.name, victim.target), rest)
            assert told[-2:] == [("E", "FATAL 08P01"), ("closed", "")]
        assert server.guests == []


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (4, 0), (1234, 5681), (3, 0)])
def test_p08_other_protocols(reader: Twins, version: tuple[int, int]) -> None:
    """As PostgreSQL: closed, or FATAL 0A000, or served."""
    major, minor = version
    if version == (3, 0):
        still_serves(reader)
    else:
        both_say(reader, startup("nobody", "nothing", major=major, minor=minor))


def test_p08_broken_layouts(reader: Twins) -> None:
    head = struct.pack(">I", 3 << 16)
    for body in (b"", b"\0", b"user", b"user\0x", b"user\0x\0", b"user\0x\0database\0", b"user\0x\0\0junk\0", b"user\0\0\0"):
        both_say(reader, struct.pack(">I", 8 + len(body)) + head + body)


SEQUENCES = {
    "gss gss": (GSS_REQUEST, GSS_REQUEST),
    "gss ssl": (GSS_REQUEST, SSL_REQUEST),
    "gss gss ssl": (GSS_REQUEST, GSS_REQUEST, SSL_REQUEST),
    "alternating": (GSS_REQUEST, SSL_REQUEST) * ALTERNATIONS,
}


@pytest.mark.parametrize("requests", SEQUENCES.values(), ids=SEQUENCES.keys())
def test_p09_requests_for_encryption_in_every_order(reader: Twins, requests: tuple[bytes, ...]) -> None:
    """One answer each, then an error and the end: never a loop."""

    def answers(place: Place) -> bytes:
        client = place.tcp()
        found = b""
        for request in requests:
            try:
                client.send(request)
                found += client.read_raw(1)
            except (Closed, OSError):
                return found + b"closed"
            if found[-1:] not in (b"N",):
                return found
        return found

    ours = answers(reader.place)
    assert ours in (b"NE", b"NS")
    theirs = answers(reader.server)
    if reader.server.ca_file is not None and not theirs.startswith(b"G"):  # some servers can do GSSAPI
        assert theirs == ours


def test_p09_asked_for_again_inside_tls(reader: Twins) -> None:
    for request in (SSL_REQUEST, GSS_REQUEST):
        told = fate(reader.place.tls(), request)
        assert told == [("E", "FATAL 0A000"), ("closed", "")]
        if reader.server.ca_file is not None:
            assert fate(reader.server.open(), request) == told


@pytest.mark.parametrize("minor", [1, 2, 3, 9999])
@pytest.mark.parametrize("extensions", [0, 1, 200])
def test_p10_newer_protocols_and_unknown_extensions(reader: Twins, minor: int, extensions: int) -> None:
    """Told the newest version that we speak and every unknown option; then the session works."""
    options = {f"_pq_.option{i}": "1" for i in range(extensions)}
    with reader.through(minor=minor, **options) as client:
        offers = [message for message in client.transcript if message.kind == "v"]
        assert bool(offers) == (minor > 2 or extensions > 0)
        if offers:
            newest, count = struct.unpack_from(">II", offers[0].body)
            assert newest == 3 << 16 | 2
            assert count == extensions
            assert offers[0].body[8:] == b"".join(text(name) for name in options)
        assert len(client.key) == (32 if minor >= 2 else 4)
        assert client.value("SELECT 1") == "1"


# -- the state machine before AuthenticationOk -------------------------------------------------------------------------


def _until_step(client: RawClient, step: int, user: str, database: str, password: str) -> None:
    """0: SASL was offered; 1: challenged; 2: the proof is on its way."""
    client.send(startup(user, database))
    client.read()
    if step == 0:
        return
    scram = ScramClient(["SCRAM-SHA-256"], "x", password)
    client.send(sasl_initial("SCRAM-SHA-256", scram.get_client_first().encode()))
    challenge = client.read()
    if step == 2:
        scram.set_server_first(challenge.body[4:].decode())
        client.send(packet("p", scram.get_client_final().encode()))


@pytest.mark.parametrize("step", [0, 1, 2])
def test_p14_a_second_startup_message(reader: Twins, step: int) -> None:
    """At every step FATAL 08P01; behind a right proof nobody else's session comes of it. As PostgreSQL."""
    login = reader.database.app_ro
    for other, database in (("postgres", "postgres"), (reader.person.name, "no such target"), ("", "")):
        second = startup(other, database) if other else startup_of([])
        server = reader.server.open()
        _until_step(server, step, login.name, reader.database.name, login.password.reveal())
        expected = fate(server, second)
        client = reader.place.tls()
        _until_step(client, step, reader.person.name, reader.target, reader.person.password)
        assert fate(client, second) == expected
        assert expected[-2:] == [("E", "FATAL 08P01"), ("closed", "")]
    if step == 2:
        record = reader.gateway.events(event="session_end", user=reader.person.name)[-1]
        assert record["target"] == reader.target


@pytest.mark.parametrize("step", [0, 1])
def test_p15_other_first_packets_in_the_middle_of_scram(reader: Twins, step: int) -> None:
    """FATAL 08P01, and no cancel is carried out."""
    with reader.through() as running:
        for intruder in (SSL_REQUEST, GSS_REQUEST, cancel_request(running.process_id, running.key), query("SELECT 1")):
            client = reader.place.tls()
            _until_step(client, step, reader.person.name, reader.target, reader.person.password)
            assert fate(client, intruder)[-2:] == [("E", "FATAL 08P01"), ("closed", "")]
        assert running.value("SELECT 1") == "1"


def test_p16_no_database(gateway: RunningGateway, reader: Twins) -> None:
    """Somebody who names no target learns after login which they have."""
    with pytest.raises(Refused) as caught:
        reader.place.log_in(reader.person.name, reader.person.password, "")
    assert caught.value.sqlstate == "3D000"
    assert reader.target in "".join(caught.value.error.fields.values())
    assert gateway.wait_for_event(event="session_refused", user=reader.person.name)


# -- parameters --------------------------------------------------------------------------------------------------------

_FUZZ = ["-c=", "-c", "--", "-", "-c a", "-c x=y\\", "\\" * 9000, "-c " * 3000, "-cx=" + "y" * 9000, "-F", "-S 5", "-e", "="]
_FUZZ += ["--role=postgres", "-c  session_authorization=postgres", "-c search_path=pg_temp", "x"]


def test_p17_options(reader: Twins) -> None:
    """What is not understood is refused, in no time, after login."""
    pid = reader.gateway.worker_pids()[0]
    before = _cpu_seconds(pid)
    for options in _FUZZ:
        with pytest.raises(Refused) as caught:
            reader.through(options=options)
        assert caught.value.error.severity == "FATAL"
        assert caught.value.sqlstate in ("42601", "42501", "42704", "22023"), options[:50]
    assert (_cpu_seconds(pid) - before) / len(_FUZZ) < OPTIONS_SECONDS
    with reader.through(options="-c DateStyle=German -cIntervalStyle=iso_8601 --extra-float-digits=0") as client:
        assert client.value("SHOW DateStyle") == "German, DMY"
        assert client.value("SHOW extra_float_digits") == "0"
    still_serves(reader)


REFUSED_SETTINGS = {
    "search_path": "pg_temp, public",
    "role": "postgres",
    "session_authorization": "postgres",
    "default_transaction_read_only": "off",
    "transaction_read_only": "off",
    "standard_conforming_strings": "off",
    "local_preload_libraries": "x",
    "session_preload_libraries": "x",
    "backslash_quote": "on",
    "log_statement": "none",
    "session_replication_role": "replica",
    "tenant.id": "2",
    "no_such_setting": "1",
    "zero_damaged_pages": "on",
}


def test_p18_settings(gateway: RunningGateway, reader: Twins) -> None:
    """Those on the list are passed on; all others are refused by name, and upstream is not even dialled."""
    with hostile(lambda guest: guest.log_in()) as server:
        victim = victim_of(gateway, server.port)
        for name, value in REFUSED_SETTINGS.items():
            for written in (name, name.upper()):
                with pytest.raises(Refused) as caught:
                    victim.log_in(**{written: value})
                assert (caught.value.error.severity, caught.value.sqlstate) == ("FATAL", "42501"), name
                assert name in caught.value.error.said
        for encoding in ("SJIS", "BIG5", "GBK", "GB18030", "JOHAB", "UHC", "LATIN1"):
            with pytest.raises(Refused) as caught:
                victim.log_in(client_encoding=encoding)
            assert "PGCLIENTENCODING" in caught.value.error.fields["H"]
        assert server.guests == []
    fine = {
        "application_name": "x",
        "DateStyle": "ISO, DMY",
        "IntervalStyle": "iso_8601",
        "TimeZone": "UTC",
        "extra_float_digits": "3",
        "client_encoding": "'utf-8'",
    }
    with reader.through(**fine) as client:
        assert client.value("SHOW IntervalStyle") == "iso_8601"
        assert client.value("SHOW client_encoding") == "UTF8"
        assert client.value("SHOW application_name").startswith(f"{reader.person.name}/")


def test_p18_ascii_clients_are_told(reader: Twins) -> None:
    """psql under LC_ALL=C asks for SQL_ASCII: it gets UTF8, and a notice that says so."""
    with reader.through(client_encoding="SQL_ASCII") as client:
        (notice,) = [message for message in client.transcript if message.kind == "N"]
        assert "UTF8" in notice.said
        assert client.value("SHOW client_encoding") == "UTF8"


@pytest.mark.parametrize("value", ["true", "1", "on", "database", "yes", "xyz"])
def test_p20_replication(gateway: RunningGateway, value: str) -> None:
    """FATAL 0A000, without an upstream connection; false-like values are fine."""
    with hostile(lambda guest: guest.log_in()) as server:
        victim = victim_of(gateway, server.port)
        with pytest.raises(Refused) as caught:
            victim.log_in(replication=value)
        assert (caught.value.error.severity, caught.value.sqlstate) == ("FATAL", "0A000")
        assert server.guests == []
        victim.log_in(replication="false").close()


NOISE = {
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.6\r\n",
    "rdp": bytes.fromhex("030000130ee000000000000100080003000000"),
    "smb": b"\xffSMBr\0\0\0\0",
    "query": query("SELECT 1"),
    "password": packet("p", b"x\0"),
}


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE.keys())
def test_p21_other_programs(reader: Twins, noise: bytes) -> None:
    """Closed without a word, and without a traceback in the log."""
    assert fate(reader.place.tcp(), noise) == SILENT
    assert "Traceback" not in "".join(reader.gateway.log)


@pytest.fixture(scope="module")
def impatient() -> Iterator[RunningGateway]:
    """One that waits a second for logins."""
    with running_gateway(limits={"pre_auth_timeout_seconds": 1.0, "max_pending_per_address": 500}) as running:
        yield running


def test_p22_come_and_gone(impatient: RunningGateway) -> None:
    """Connections that end at any step leave nothing behind, at the latest when the time for a login is over."""
    place = Place(impatient.host, impatient.port, impatient.ca_file)
    pid = impatient.worker_pids()[0]
    before = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    for number in range(200):
        client = place.tcp()
        if number % 4 == 1:
            client.send(SSL_REQUEST)
            client.reset()
        elif number % 4 == 2:
            client.send(startup("x", "y"))
            client.sock.shutdown(socket.SHUT_WR)
            client.close()
        elif number % 4 == 3:
            client.send(SSL_REQUEST[:5])
            client.reset()
        else:
            client.close()
    deadline = time.monotonic() + 5
    while len(list(Path(f"/proc/{pid}/fd").iterdir())) > before:
        assert time.monotonic() < deadline, "file descriptors are left"
        time.sleep(0.05)
    assert fate(place.tcp(), startup("x", "y"))[0] == ("E", "FATAL 28000")


def test_p22_failed_handshakes_give_their_place_back() -> None:
    """More of them than may be pending at a time do not shut the door."""
    with running_gateway(limits={"max_pending": 8, "max_pending_per_address": 8}) as running:
        place = Place(running.host, running.port, running.ca_file)
        for number in range(40):
            client = place.tcp()
            client.send(SSL_REQUEST)
            client.read_raw(1)
            client.send(b"no TLS record at all" if number % 2 else b"\x16\x03\x01\x00\x01")
            client.quiet(0.02)
            client.reset()
            time.sleep(0.01)
        with place.tls() as client:
            client.send(startup("x", "y"))
            assert client.read().kind == "R"


def test_p04_one_byte_at_a_time(impatient: RunningGateway) -> None:
    """The deadline before login is absolute: a client that goes on slowly is closed as one that is silent."""
    place = Place(impatient.host, impatient.port, impatient.ca_file)
    started = time.monotonic()
    silent, slow, inside, shaking = place.tcp(), place.tcp(), place.tls(), place.tcp()
    shaking.send(SSL_REQUEST)
    shaking.read_raw(1)
    with contextlib.suppress(OSError):
        for byte in startup("x" * 100, "y"):
            for client in (slow, inside):
                client.send(bytes((byte,)))
            time.sleep(0.1)
            if time.monotonic() - started > 4:
                break
    for client in (silent, slow, inside, shaking):
        assert client.until_eof(2) == []
    assert time.monotonic() - started < 3


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
