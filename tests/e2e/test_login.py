"""A: who are you? Known and unknown, right and wrong must look alike until the proof."""

import base64
import os
import signal
import statistics
import struct
import time
from datetime import UTC, datetime, timedelta

import pytest
from scramp import ScramClient

from gateway.services import allowlist, users
from tests.support import wire
from tests.support.gateway import WHY, ListMode, Person, RunningGateway, running_gateway
from tests.support.hostile import Guest, hostile, victim_of
from tests.support.oracle import Twins
from tests.support.upstream import Database
from tests.support.wire import Message, Place, RawClient, Refused, packet, sasl_initial, startup, text

UNKNOWN_LOGINS = 200  # the catalogue has 10,000
SALTS = 100  # the catalogue has 1,000
TIMED_LOGINS = 400  # of each kind
LARGEST_AUC = 0.70  # a coin is 0.5; the catalogue's goal is 0.55 over 10,000 logins on a quiet machine


def attempt(place: Place, user: str, database: str, password: str) -> list[Message]:
    """A whole login; every message up to the end or ReadyForQuery."""
    try:
        place.log_in(user, password, database).close()
    except Refused as refused:
        return refused.answer
    raise AssertionError("it was let in")


def challenge(client: RawClient, user: str, database: str) -> dict[str, str]:
    """The attributes of the server's first SCRAM message."""
    client.send(startup(user, database))
    client.read()
    client.send(sasl_initial("SCRAM-SHA-256", b"n,,n=,r=rOprNGfwEbeRWgbNEkqO"))
    return dict(part.split("=", 1) for part in client.read().body[4:].decode().split(","))  # type: ignore[misc]


def test_a01_unknown_users(gateway: RunningGateway) -> None:
    """SCRAM as for anybody, then 28P01; upstream is never dialled."""
    with hostile(lambda guest: guest.log_in()) as server:
        victim = victim_of(gateway, server.port)
        for number in range(UNKNOWN_LOGINS):
            answer = attempt(victim.place, f"nobody{number}", victim.target, victim.person.password)
            assert [m.kind for m in answer] == ["R", "R", "E"]
            assert answer[-1].sqlstate == "28P01"
        assert server.guests == []
    time.sleep(0.1)
    records = gateway.events(event="login_failed", database=victim.target)
    assert len(records) == UNKNOWN_LOGINS
    assert {record["reason"] for record in records} == {"unknown-user"}


def test_a02_every_wrong_login_looks_the_same(gateway: RunningGateway, shared_database: Database) -> None:
    """Known, unknown, disabled, expired, without a grant, refused by address: one transcript, whatever the target."""
    store = gateway.admin.store
    known, target = gateway.analyst(shared_database)
    disabled, expired, without, elsewhere = (gateway.person(known.name[:-1] + letter) for letter in "wxyz")
    gateway.admin.change(users.disable_user(store, name=disabled.name, **WHY))
    gateway.admin.change(
        users.set_user_expiry(store, name=expired.name, valid_until=datetime.now(UTC) + timedelta(seconds=1), **WHY)
    )
    gateway.admin.change(allowlist.set_list_mode(store, level=allowlist.OfUser(elsewhere.name), mode=ListMode.RESTRICT, **WHY))
    unknown = Person(known.name[:-1] + "u", "wrong")
    time.sleep(1.3)
    place = Place(gateway.host, gateway.port, gateway.ca_file)
    shapes = set()
    for person in (known, unknown, disabled, expired, without, elsewhere):
        for database in (target, "no_such_target"):
            answer = attempt(place, person.name, database, "wrong password")
            first = dict(part.split("=", 1) for part in answer[1].body[4:].decode().split(","))
            shapes.add(
                (
                    tuple((m.kind, len(m.body)) for m in answer),
                    first["i"],
                    len(base64.b64decode(first["s"])),
                    len(first["r"]),
                    answer[-1].body.replace(person.name.encode(), b"?"),
                )
            )
    assert len(shapes) == 1, shapes


def test_a05_mock_salts() -> None:
    """The same for one name on every worker and after a restart; different for every name."""
    two = {"host": "127.0.0.1", "port": 0, "workers": 2, "drain_seconds": 1.0}
    with running_gateway(listen=two, limits={"max_pending_per_address": 500}) as running:
        place = Place(running.host, running.port, running.ca_file)

        def salt(name: str) -> str:
            with place.tls() as client:
                return challenge(client, name, "x")["s"]

        of_one_name = {salt("nobody") for _ in range(24)}  # connections spread over the workers
        killed = running.worker_pids()[0]
        os.kill(killed, signal.SIGKILL)
        deadline = time.monotonic() + 5
        while killed in running.worker_pids() or len(running.worker_pids()) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(1)
        of_one_name |= {salt("nobody") for _ in range(8)}
        assert len(of_one_name) == 1
        assert len({salt(f"nobody{number}") for number in range(SALTS)}) == SALTS


def _proof_seconds(client: RawClient, user: str, database: str) -> float:
    """From a wrong proof's departure to its refusal."""
    client.send(startup(user, database))
    client.read()
    scram = ScramClient(["SCRAM-SHA-256"], "x", "wrong password")
    client.send(sasl_initial("SCRAM-SHA-256", scram.get_client_first().encode()))
    first = client.read().body[4:].decode()
    nonce = first.split(",")[0]
    proof = packet("p", f"c=biws,{nonce},p={base64.b64encode(bytes(32)).decode()}".encode())
    started = time.perf_counter()
    client.send(proof)
    assert client.read().sqlstate == "28P01"
    return time.perf_counter() - started


def test_a06_unknown_users_take_as_long(reader: Twins) -> None:
    """Wrong passwords of known and unknown users cannot be told apart by time. (Twice, before it counts: machines are busy.)"""
    for last in (False, True):
        known, unknown = [], []
        for number in range(TIMED_LOGINS):
            for name, times in ((reader.person.name, known), (f"u_{number:08x}", unknown)):
                with reader.place.tls() as client:
                    times.append(_proof_seconds(client, name, reader.target))
        slower = sum((a > b) + 0.5 * (a == b) for a in known for b in unknown) / (len(known) * len(unknown))
        auc = max(slower, 1 - slower)
        apart = abs(statistics.median(known) - statistics.median(unknown))
        print(f"AUC {auc:.3f}, medians {apart * 1e6:.0f} us apart")
        if auc < LARGEST_AUC and apart < 0.0005:
            return
        assert not last, (auc, apart)


FIRST = "n,,n=,r=rOprNGfwEbeRWgbNEkqO"
MALFORMED_FIRST = {
    "empty": b"",
    "no header": b"x",
    "no nonce": b"n,,n=user",
    "unprintable nonce": b"n,,n=user,r=a\x01b",
    "NUL": b"n,,n=user,r=a\0b",
    "mandatory extension": b"n,,m=x,n=user,r=abc",
    "authorization identity": b"n,a=postgres,n=user,r=abc",
    "binding without PLUS": b"p=tls-server-end-point,,n=,r=abc",
    "unknown flag": b"x,,n=,r=abc",
    "too long": b"n,,n=,r=" + b"a" * 1100,
    "reversed": b"n,,r=abc,n=",
}


def _fate_of_first(place: Place, user: str, database: str, first: bytes) -> list[tuple[str, str]]:
    client = place.open()
    client.send(startup(user, database))
    client.read()
    client.send(sasl_initial("SCRAM-SHA-256", first))
    return [(m.kind, f"{m.severity} {m.sqlstate}" if m.kind == "E" else "") for m in client.quiet(1.0)]


@pytest.mark.parametrize("first", MALFORMED_FIRST.values(), ids=MALFORMED_FIRST.keys())
def test_a07_malformed_first_messages(reader: Twins, first: bytes) -> None:
    """The code that PostgreSQL gives."""
    expected = _fate_of_first(reader.server, "app_ro", reader.database.name, first)
    assert _fate_of_first(reader.place, reader.person.name, reader.target, first) == expected


MALFORMED_FINAL = {
    "empty": "",
    "no proof": "c=biws,{nonce}",
    "bad base64": "c=biws,{nonce},p=%%%",
    "short proof": "c=biws,{nonce},p=AAAA",
    "long proof": "c=biws,{nonce},p=" + "A" * 1100,
    "wrong proof": "c=biws,{nonce},p=" + "A" * 43 + "=",
    "other nonce": "c=biws,r=other,p=" + "A" * 43 + "=",
    "longer nonce": "c=biws,{nonce}x,p=" + "A" * 43 + "=",
    "wrong binding": "c=eSws,{nonce},p=" + "A" * 43 + "=",
    "binding of nothing": "c=,{nonce},p=" + "A" * 43 + "=",
    "NUL": "c=biws,{nonce}\0,p=" + "A" * 43 + "=",
    "after the proof": "c=biws,{nonce},p=" + "A" * 43 + "=,x=1",
    "extension": "c=biws,{nonce},x=1,p=" + "A" * 43 + "=",
}


def _fate_of_final(place: Place, user: str, database: str, final: str) -> list[tuple[str, str]]:
    client = place.open()
    client.send(startup(user, database))
    client.read()
    client.send(sasl_initial("SCRAM-SHA-256", FIRST.encode()))
    nonce = client.read().body[4:].decode().split(",")[0]
    client.send(packet("p", final.replace("{nonce}", nonce).encode()))
    return [(m.kind, f"{m.severity} {m.sqlstate}" if m.kind == "E" else "") for m in client.quiet(1.0)]


@pytest.mark.parametrize("final", MALFORMED_FINAL.values(), ids=MALFORMED_FINAL.keys())
def test_a07_malformed_final_messages(reader: Twins, final: str) -> None:
    expected = _fate_of_final(reader.server, "app_ro", reader.database.name, final)
    assert _fate_of_final(reader.place, reader.person.name, reader.target, final) == expected


def test_a07_an_empty_nonce(reader: Twins) -> None:
    """PostgreSQL takes one; RFC 5802 has at least one character, and so do we."""
    told = _fate_of_first(reader.place, reader.person.name, reader.target, b"n,,n=user,r=")
    assert told == [("E", "FATAL 08P01")]


def test_a07_envelopes(reader: Twins) -> None:
    """SASL messages whose own framing lies: 08P01, 28P01 or closed, as PostgreSQL does; the worker lives."""
    first = FIRST.encode()
    for body in (
        b"",
        b"SCRAM-SHA-256",
        text("SCRAM-SHA-256"),
        text("SCRAM-SHA-256") + b"\0\0",
        text("SCRAM-SHA-256") + struct.pack(">i", len(first) + 1) + first,
        text("SCRAM-SHA-256") + struct.pack(">i", len(first) - 1) + first,
        text("SCRAM-SHA-256") + struct.pack(">i", -2) + first,
        text("x" * 2000),
    ):
        fates = []
        for place, user, database in (
            (reader.server, "app_ro", reader.database.name),
            (reader.place, reader.person.name, reader.target),
        ):
            client = place.open()
            client.send(startup(user, database))
            client.read()
            client.send(packet("p", body))
            fates.append([(m.kind, m.severity, m.sqlstate) for m in client.until_eof(3)])
        assert fates[0] == fates[1], (body, fates)
    with reader.through() as client:
        assert client.value("SELECT 1") == "1"


def test_a10_the_name_inside_scram_is_ignored(reader: Twins) -> None:
    """Identity is the startup packet's user."""
    with reader.place.tls() as client:
        client.send(startup(reader.person.name, reader.target))
        client.read()
        scram = ScramClient(["SCRAM-SHA-256"], "postgres", reader.person.password)
        client.send(sasl_initial("SCRAM-SHA-256", scram.get_client_first().encode()))
        scram.set_server_first(client.read().body[4:].decode())
        client.send(packet("p", scram.get_client_final().encode()))
        wire.welcome(client)
        (told,) = [m.setting[1] for m in client.transcript if m.kind == "S" and m.setting[0] == "session_authorization"]
        assert told == reader.person.name


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1", "PLAIN", "SCRAM-SHA-256 ", "scram-sha-256", ""])
def test_a12_other_mechanisms(reader: Twins, mechanism: str) -> None:
    """Only SCRAM is offered; anything else is FATAL 08P01, as PostgreSQL says it. So are clear-text passwords."""
    for data in (sasl_initial(mechanism, FIRST.encode()), packet("p", text("my password"))):
        fates = []
        for place, user, database in (
            (reader.server, "app_ro", reader.database.name),
            (reader.place, reader.person.name, reader.target),
        ):
            client = place.open()
            client.send(startup(user, database))
            offer = client.read()
            assert b"SCRAM-SHA-256\0" in offer.body
            client.send(data)
            fates.append([(m.kind, m.severity, m.sqlstate) for m in client.until_eof(3)])
        assert fates[0] == fates[1] == [("E", "FATAL", "08P01")]


def test_a18_a_wrong_password_after_a_right_one(reader: Twins) -> None:
    """What one login leaves behind helps no other."""
    for _ in range(3):
        reader.through().close()
        answer = attempt(reader.place, reader.person.name, reader.target, reader.person.password + "x")
        assert answer[-1].sqlstate == "28P01"


def test_a20_names_are_exact(reader: Twins) -> None:
    """Another case, a blank, a letter that looks alike: other people."""
    name = reader.person.name
    for other in (name.upper(), name + " ", " " + name, name.replace("u", "\u057d", 1), name + "\u200b"):
        assert attempt(reader.place, other, reader.target, reader.person.password)[-1].sqlstate == "28P01"


def test_t11_channel_binding(reader: Twins) -> None:
    """SCRAM-SHA-256-PLUS with the hash of our certificate."""
    for open_ in (reader.place.tls, reader.place.direct_tls):
        with open_() as client:
            client.send(startup(reader.person.name, reader.target))
            wire.answer_scram(client, reader.person.password, plus=True)
            assert wire.welcome(client)[-1].kind == "Z"


def _bind_with(client: RawClient, mechanism: str, header: str, binding: bytes) -> Message:
    """A login whose channel binding says this; what comes instead of success."""
    scram = ScramClient(["SCRAM-SHA-256"], "x", "does not matter")
    client.read()
    bare = scram.get_client_first().removeprefix("n,,")
    client.send(sasl_initial(mechanism, (header + bare).encode()))
    first = client.read()
    if first.kind == "E":
        return first
    nonce = first.body[4:].decode().split(",")[0]
    bound = base64.b64encode(header.encode() + binding).decode()
    client.send(packet("p", f"c={bound},{nonce},p={base64.b64encode(bytes(32)).decode()}".encode()))
    return client.read()


def test_t12_wrong_channel_binding(reader: Twins) -> None:
    """ "y" although PLUS was offered, another certificate's hash, another kind of binding: refused with PostgreSQL's codes."""
    cases = [
        ("SCRAM-SHA-256", "y,,", b"", "28000"),
        ("SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,", bytes(32), "28000"),
        ("SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,", b"", "28000"),
        ("SCRAM-SHA-256-PLUS", "p=tls-unique,,", b"x", "08P01"),
        ("SCRAM-SHA-256-PLUS", "n,,", b"", "08P01"),
    ]
    for mechanism, header, binding, code in cases:
        places = [(reader.place, reader.person.name, reader.target)]
        if reader.server.ca_file is not None:
            places.append((reader.server, "app_ro", reader.database.name))
        for place, user, database in places:
            with place.tls() as client:
                client.send(startup(user, database))
                assert _bind_with(client, mechanism, header, binding).sqlstate == code, (mechanism, header)


def test_a13_throttling() -> None:
    """After too many wrong passwords the address is refused for a while, with a text; the audit has each failure."""
    with running_gateway(throttle={"free_failures": 3, "window_seconds": 2.0, "user_delay_seconds": 0.1}) as running:
        place = Place(running.host, running.port, running.ca_file)
        for _ in range(3):
            assert attempt(place, "nobody", "x", "y")[-1].sqlstate == "28P01"
        refused = attempt(place, "somebody", "x", "y")
        assert refused[-1].sqlstate == "28000"
        assert "too many failed logins" in refused[-1].said
        assert len(refused) == 1
        time.sleep(2.2)
        assert attempt(place, "nobody", "x", "y")[-1].sqlstate == "28P01"
        time.sleep(0.1)
        assert len(running.events(event="login_failed")) == 4


def test_a22_a_query_right_behind_the_proof(reader: Twins) -> None:
    """It waits for the session and then runs: nothing is lost, nothing runs before the grant is checked."""
    with reader.place.tls() as client:
        client.send(startup(reader.person.name, reader.target))
        client.read()
        scram = ScramClient(["SCRAM-SHA-256"], "x", reader.person.password)
        client.send(sasl_initial("SCRAM-SHA-256", scram.get_client_first().encode()))
        scram.set_server_first(client.read().body[4:].decode())
        client.send(packet("p", scram.get_client_final().encode()), wire.query("SELECT 'early'"))
        client.until("Z")
        answer = client.until("Z")
        assert answer[1].values == [b"early"]


def test_a22_a_long_pipeline_right_behind_the_proof(reader: Twins) -> None:
    """More than is kept for a session that is not there yet: it waits in the socket, and none of it is lost."""
    statements = 2000
    with reader.place.tls() as client:
        client.send(startup(reader.person.name, reader.target))
        client.read()
        scram = ScramClient(["SCRAM-SHA-256"], "x", reader.person.password)
        client.send(sasl_initial("SCRAM-SHA-256", scram.get_client_first().encode()))
        scram.set_server_first(client.read().body[4:].decode())
        early = wire.query("SELECT 'early' /* " + "x" * 100 + " */")
        client.send(packet("p", scram.get_client_final().encode()), early * statements)
        client.until("Z")
        for _ in range(statements):
            assert client.until("Z")[1].values == [b"early"]


def test_p23_a_client_that_leaves_right_after_its_proof(gateway: RunningGateway) -> None:
    """The upstream session that was opened for it is closed within a second."""

    def script(guest: Guest) -> None:
        guest.first_packet()
        guest.scram()
        time.sleep(0.3)  # the client leaves meanwhile
        guest.admit()
        guest.until_gone()

    with hostile(script) as server:
        victim = victim_of(gateway, server.port)
        client = victim.place.tls()
        client.send(startup(victim.person.name, victim.target))
        wire.answer_scram(client, victim.person.password)
        guest = server.wait_for_guest()
        client.reset()
        assert guest.closed.wait(1.5)
