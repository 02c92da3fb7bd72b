"""U, and what of X, S, K needs a server that lies: whatever upstream does, the client reads one clear FATAL and nothing leaks."""

import struct
import time
from collections.abc import Callable

import pytest

from gateway.access.model import TlsMode
from tests.support.gateway import RunningGateway
from tests.support.hostile import (
    AUTHENTICATED,
    KEY,
    LOGIN,
    PASSWORD,
    PROCESS_ID,
    SSL_CODE,
    Guest,
    error,
    hostile,
    ready,
    row,
    status,
    victim_of,
)
from tests.support.wire import SYNC, RawClient, Refused, cancel_request, copy_data, packet, query, text

HUGE_ROW = 64 * 1024 * 1024
_WORDS = "role hostile_ro at 10.9.8.7 has password canary-7c1f"


def refusal_of(gateway: RunningGateway, script: Callable[[Guest], None], **more: object) -> Refused:
    """What a client reads when the gateway meets this server."""
    with hostile(script) as server:
        victim = victim_of(gateway, server.port, **more)  # type: ignore[arg-type]
        with pytest.raises(Refused) as caught:
            victim.log_in()
        said = caught.value.error.body.decode()
        for secret in (_WORDS, "canary", PASSWORD, LOGIN, "127.0.0.1", str(server.port), "somewhere"):
            assert secret not in said, said
        assert caught.value.error.severity == "FATAL"
        record = gateway.wait_for_event(event="upstream_refused", target=victim.target)
        assert record["user"] == victim.person.name
        return caught.value


def test_an_honest_server_is_let_in(gateway: RunningGateway) -> None:
    """The fake itself is sound: a session over it works, and carries the person's name upstream."""

    def honest(guest: Guest) -> None:
        guest.log_in()
        guest.serve_selects()

    with hostile(honest) as server:
        victim = victim_of(gateway, server.port)
        with victim.log_in() as client:
            assert client.value("SELECT 1") == "1"
        assert server.guests[0].parameters["application_name"].startswith(f"{victim.person.name}/")
        assert server.guests[0].parameters["default_transaction_read_only"] == "on"


def test_u01_clear_bytes_behind_the_answer_to_the_tls_request(gateway: RunningGateway) -> None:
    """They never pass for part of the encrypted stream: the handshake fails."""

    def inject(guest: Guest) -> None:
        guest.first_packet()
        guest.send(b"S", AUTHENTICATED, ready())
        guest.until_gone()

    assert refusal_of(gateway, inject, tls=TlsMode.REQUIRE).sqlstate == "08001"


@pytest.mark.parametrize("answer", [b"N", b"E" + error("XX000", _WORDS)[1:]])
def test_u02_no_tls(gateway: RunningGateway, answer: bytes) -> None:
    """Refused; an error sent before TLS is never shown to the client."""

    def refuse(guest: Guest) -> None:
        assert guest.first_packet() == SSL_CODE
        guest.send(answer)
        guest.until_gone()

    assert refusal_of(gateway, refuse, tls=TlsMode.REQUIRE).sqlstate == "08001"


def _spoil(**changes: Callable[[str], str]) -> Callable[[Guest], None]:
    def script(guest: Guest) -> None:
        guest.first_packet()
        guest.scram(**changes)
        guest.send(AUTHENTICATED, guest.reports(), ready())
        guest.until_gone()

    return script


def test_u03_wrong_scram(gateway: RunningGateway) -> None:
    """A nonce that is not ours, one of 1 MB, a broken salt, a wrong or missing server signature: refused."""
    assert refusal_of(gateway, _spoil(spoil=lambda s: "r=foreign" + s[s.index(",s=") :])).sqlstate == "08001"
    assert refusal_of(gateway, _spoil(spoil=lambda s: s.replace(",s=", "x" * 1_000_000 + ",s="))).sqlstate == "08001"
    assert refusal_of(gateway, _spoil(spoil=lambda s: s.replace(",s=", ",s=%%%"))).sqlstate == "08001"
    assert refusal_of(gateway, _spoil(final=lambda _: "v=" + "A" * 43 + "=")).sqlstate == "08001"
    assert refusal_of(gateway, _spoil(final=lambda _: "e=other-error")).sqlstate == "08001"


@pytest.mark.parametrize("count", ["1", "4095", "1000000000", "-1", "4096.5", "99999999999999999999"])
def test_u04_iterations_out_of_bounds(gateway: RunningGateway, count: str) -> None:
    started = time.monotonic()
    assert refusal_of(gateway, _spoil(spoil=lambda s: s[: s.index(",i=") + 3] + count)).sqlstate == "08001"
    assert time.monotonic() - started < 3


def test_u03_no_proof_asked_for(gateway: RunningGateway) -> None:
    """A server that lets us in without a password, or wants it in clear text or as md5, is not the one we know."""

    def ask(code: int, more: bytes = b"") -> Callable[[Guest], None]:
        def script(guest: Guest) -> None:
            guest.first_packet()
            guest.send(packet("R", struct.pack(">I", code) + more))
            if code == 0:
                guest.send(guest.reports(), ready())
            guest.until_gone()

        return script

    for code, more in ((0, b""), (3, b""), (5, b"salt"), (7, b""), (99, b"")):
        assert refusal_of(gateway, ask(code, more)).sqlstate == "08001"


def _after_startup(*data: bytes) -> Callable[[Guest], None]:
    def script(guest: Guest) -> None:
        guest.first_packet()
        guest.send(*data)
        guest.until_gone()

    return script


@pytest.mark.parametrize(
    "answer",
    [
        packet("E", b""),
        packet("E", b"\0"),
        packet("E", b"SFATAL\0M" + _WORDS.encode()),
        packet("E", text("M" + _WORDS) + b"\0"),
        b"E" + struct.pack(">I", 10_000_000) + b"x" * 100_000,
        b"E" + struct.pack(">I", 3),
        b"\x00\xff\xfe" * 100,
    ],
    ids=["empty", "no fields", "unterminated", "no code", "10 MB", "length 3", "noise"],
)
def test_u05_broken_errors(gateway: RunningGateway, answer: bytes) -> None:
    assert refusal_of(gateway, _after_startup(answer)).sqlstate == "08001"


@pytest.mark.parametrize(
    "endless",
    [packet("N", b"SNOTICE\0\0"), packet("S", b"a\0b\0"), packet("K", bytes(8)), packet("R", struct.pack(">I", 11) + b"r=x")],
    ids=["notices", "settings", "keys", "challenges"],
)
def test_u06_endless_small_talk(gateway: RunningGateway, endless: bytes) -> None:
    """At most 100 messages and 64 KiB before it is ready."""

    def script(guest: Guest) -> None:
        guest.first_packet()
        guest.scram()
        guest.send(AUTHENTICATED)
        while True:
            guest.send(endless * 50)

    assert refusal_of(gateway, script).sqlstate == "08001"


@pytest.mark.parametrize(
    ("reports", "said"),
    [
        ({"standard_conforming_strings": "off"}, "did not let the gateway in"),
        ({"client_encoding": "SJIS"}, "did not let the gateway in"),
        ({"is_superuser": "on"}, "superuser"),
        ({"default_transaction_read_only": "off"}, "pooler"),
        ({"default_transaction_read_only": None}, "pooler"),
        ({"application_name": None}, "pooler"),
        ({"session_authorization": "postgres"}, "did not let the gateway in"),
    ],
)
def test_u11_s20_settings_not_in_force_at_login(gateway: RunningGateway, reports: dict[str, str | None], said: str) -> None:
    """What the gateway relies on must be reported so; a pooler and a superuser are told by name."""

    def script(guest: Guest) -> None:
        guest.log_in(**reports)
        guest.until_gone()

    refused = refusal_of(gateway, script)
    assert refused.sqlstate == "08001"
    assert said in refused.error.said


def test_u11_postgresql_13_does_not_report_read_only_and_is_asked(gateway: RunningGateway) -> None:
    """What stands in for the report: the answer to the one question of the login. A later version that is silent is a pooler."""

    def answering(read_only: str) -> Callable[[Guest], None]:
        def script(guest: Guest) -> None:
            guest.first_packet()
            guest.scram()
            older = guest.reports(server_version="13.23", default_transaction_read_only=None)
            guest.send(AUTHENTICATED, older, packet("K", struct.pack(">I", PROCESS_ID) + KEY), ready())
            assert b"current_setting('default_transaction_read_only')" in guest.read().body
            guest.send(row(str(PROCESS_ID), read_only), ready())
            guest.serve_selects()

        return script

    with hostile(answering("on")) as server, victim_of(gateway, server.port).log_in() as client:
        assert client.value("SELECT 1") == "1"
    assert "pooler" in refusal_of(gateway, answering("off")).error.said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("standard_conforming_strings", "off"),
        ("client_encoding", "SJIS"),
        ("is_superuser", "on"),
        ("default_transaction_read_only", "off"),
        ("session_authorization", "postgres"),
        ("application_name", "somebody else"),
    ],
)
def test_s20_a_pinned_setting_that_changes_ends_the_session(gateway: RunningGateway, name: str, value: str) -> None:
    """When upstream reports it, nothing behind it is relayed: FATAL, closed, in the audit."""

    def script(guest: Guest) -> None:
        guest.log_in()
        guest.read()
        guest.send(status(name, value), row("after the change"), ready())
        guest.until_gone()

    with hostile(script) as server:
        victim = victim_of(gateway, server.port)
        client = victim.log_in()
        client.send(query("SELECT 1"))
        answer = client.until_eof()
        assert answer[-1].severity == "FATAL"
        assert answer[-1].sqlstate == "57P01"
        assert b"after the change" not in b"".join(message.body for message in answer)
        assert server.guests[0].closed.wait(2)
    ended = gateway.wait_for_event(event="session_end", user=victim.person.name)
    assert ended["reason"] == f"tripwire: {name}"


def test_k04_settings_that_name_us_upstream_are_rewritten(gateway: RunningGateway) -> None:
    """session_authorization shows the person, not the upstream role, at login and later."""

    def script(guest: Guest) -> None:
        guest.log_in()
        guest.read()
        guest.send(status("session_authorization", guest.parameters["user"]), row("1"), ready())
        guest.until_gone()

    with hostile(script) as server:
        victim = victim_of(gateway, server.port)
        with victim.log_in() as client:
            client.ask(query("SELECT 1"))
            told = [m.setting[1] for m in client.transcript if m.kind == "S" and m.setting[0] == "session_authorization"]
    assert told == [victim.person.name] * 2


_BREAKS = {
    "length 3": b"C" + struct.pack(">I", 3),
    "length 2 GB": b"T" + struct.pack(">I", 0x7FFFFFFF),
    "a huge error": b"E" + struct.pack(">I", 0x3FFFFFFE),
    "unknown type": packet("?", b""),
    "a surplus ReadyForQuery": ready() + ready(),
    "a bad ReadyForQuery": packet("Z", b"X"),
    "CopyBoth": packet("W", b"\0\0\0"),
    "authentication": AUTHENTICATED,
    "a key": packet("K", bytes(8)),
    "ParseComplete": packet("1"),
    "a bad ParameterStatus": packet("S", b"x"),
    "an error without a code": packet("E", b"SERROR\0\0"),
}


@pytest.mark.parametrize("broken", _BREAKS.values(), ids=_BREAKS.keys())
def test_u13_a_broken_protocol_ends_both_sides(gateway: RunningGateway, broken: bytes) -> None:
    """FATAL 08006 where a whole message boundary allows it, closed, and nothing relayed behind the breach."""

    def script(guest: Guest) -> None:
        guest.log_in()
        guest.read()
        guest.send(row("before"), broken, row("behind the breach"), ready())
        guest.until_gone()

    with hostile(script) as server:
        victim = victim_of(gateway, server.port)
        client: RawClient = victim.log_in()
        client.send(query("SELECT 1"))
        answer = client.until_eof()
        assert b"behind the breach" not in b"".join(message.body for message in answer)
        assert answer[-1].sqlstate == "08006"
        assert server.guests[0].closed.wait(2)


def test_a_denial_that_upstream_does_not_fail_ends_the_session(gateway: RunningGateway) -> None:
    """A success where the replaced statement had to fail means that upstream is not PostgreSQL: the client never sees it."""

    def script(guest: Guest) -> None:
        guest.log_in()
        assert b"DELETE" not in guest.read().body
        guest.send(packet("C", text("DELETE 7")), ready())
        guest.until_gone()

    with hostile(script) as server:
        client = victim_of(gateway, server.port).log_in()
        client.send(query("DELETE FROM accounts"))
        answer = client.until_eof()
        assert [message.sqlstate for message in answer] == ["08006"]


def test_r_a_refused_text_never_reaches_upstream(gateway: RunningGateway) -> None:
    """However it comes: whole, in pieces, behind a held text, by Parse or Query. Only its rule's name goes upstream."""

    def script(guest: Guest) -> None:
        guest.log_in()
        guest.serve_selects()

    with hostile(script) as server:
        client = victim_of(gateway, server.port).log_in()
        refused = query("DELETE FROM canary_table_4242")
        parse = packet("P", b"\0DELETE FROM canary_table_4242\0\0\0")
        client.send_split(refused + parse + SYNC, *range(1, len(refused + parse)), pause=0)
        client.send(copy_data(b"data outside of a COPY"), refused * 50, packet("F", b"canary_table_4242"))
        time.sleep(0.3)
        client.close()
        assert server.guests[0].closed.wait(2)
        assert b"canary_table_4242" not in server.guests[0].received
        assert b"write-statement" in server.guests[0].received


@pytest.mark.parametrize(("key", "works"), [(None, False), (b"", False), (bytes(range(256)), True)])
def test_c10_cancel_keys_of_every_length(gateway: RunningGateway, key: bytes | None, works: bool) -> None:
    """No key upstream, or an empty one: a session that has none. Up to 256 bytes: fine. Clients only ever get one of ours."""

    def script(guest: Guest) -> None:
        guest.log_in(key=key)
        guest.read()
        guest.until_gone()

    with hostile(script) as server:
        victim = victim_of(gateway, server.port)
        client = victim.log_in()
        assert len(client.key) == (4 if works else 0)
        assert client.key != KEY
        client.send(query("SELECT 1"))
        if works:
            time.sleep(0.2)
            with victim.place.tcp() as other:
                other.send(cancel_request(client.process_id, client.key))
                assert other.until_eof() == []
            deadline = time.monotonic() + 2
            while not server.cancels:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert server.cancels[0][1] == struct.pack(">I", PROCESS_ID) + (key or b"")
        client.close()


def test_c10_a_key_that_is_too_long(gateway: RunningGateway) -> None:
    def script(guest: Guest) -> None:
        guest.log_in(key=bytes(257))

    assert refusal_of(gateway, script).sqlstate == "08001"


def test_upstream_lost_in_the_middle_of_a_row(gateway: RunningGateway) -> None:
    """Nothing may be put into a half-sent message: the client only sees the connection close."""

    def script(guest: Guest) -> None:
        guest.log_in()
        guest.read()
        guest.send(row("x" * 5000)[:-3000])

    with hostile(script) as server:
        client = victim_of(gateway, server.port).log_in()
        client.send(query("SELECT 1"))
        assert [message.kind for message in client.until_eof()] == ["T"]


def test_u07_a_huge_row_is_streamed(gateway: RunningGateway) -> None:
    """A row of 64 MiB passes through; the gateway's memory does not hold it."""
    size = HUGE_ROW

    def script(guest: Guest) -> None:
        guest.log_in()
        guest.read()
        guest.send(b"D" + struct.pack(">IHI", size + 10, 1, size))
        for _ in range(64):
            guest.send(bytes(1024 * 1024))
        guest.send(packet("C", text("SELECT 1")), ready())
        guest.until_gone()

    with hostile(script) as server:
        client = victim_of(gateway, server.port).log_in()
        pid = gateway.worker_pids()[0]
        before = _resident(pid)
        client.send(query("SELECT 1"))
        time.sleep(1)  # the client does not read: upstream must be paused
        assert _resident(pid) - before < 16 * 1024 * 1024
        row_, *_ = client.until("Z", seconds=30)
        assert len(row_.body) == size + 6


def _resident(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096
