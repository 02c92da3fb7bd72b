"""SCRAM against an independent client, and both ends against a peer that cheats.

(Our client's independent servers are PostgreSQL itself and tests/support/hostile.py: scramp's insists on a name inside of SCRAM,
where PostgreSQL's clients send none.)
"""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scramp import ScramClient as PeerClient
from scramp import ScramException

from gateway.access.verifiers import make_verifier, parse_verifier, saslprep
from gateway.session.login import Login, Proved, WrongPassword
from gateway.wire.errors import ProtocolViolation
from gateway.wire.scram import SCRAM, SCRAM_PLUS, ScramClient, ScramServer, ServerKeys, derive_client_keys
from gateway.wire.startup import StartupMessage
from tests.support import wire

SALT = bytes(range(16))
PASSWORD = "correct horse"
BINDING = bytes(range(32))


def server_keys(password: str = PASSWORD) -> ServerKeys:
    verifier = parse_verifier(make_verifier(password, SALT))
    return ServerKeys(verifier.iterations, verifier.salt, verifier.stored_key, verifier.server_key)


def peer(password: str = PASSWORD, *, plus: bool = False) -> PeerClient:
    binding = ("tls-server-end-point", BINDING) if plus else None
    return PeerClient([SCRAM_PLUS if plus else SCRAM], "ada", password, channel_binding=binding)


@pytest.mark.parametrize("plus", [False, True])
def test_our_server_and_an_independent_client(plus: bool) -> None:
    client = peer(plus=plus)
    server = ScramServer(server_keys(), BINDING if plus else None, "server-nonce")
    client.set_server_first(server.first(SCRAM_PLUS if plus else SCRAM, client.get_client_first().encode()).decode())
    final = server.final(client.get_client_final().encode())
    assert final is not None
    client.set_server_final(final.decode())  # checks our signature


def test_our_client_and_our_server() -> None:
    for binding in (None, BINDING):
        client, server = ScramClient("client", binding), ScramServer(server_keys(), binding, "server")
        challenge = client.challenge(server.first(SCRAM_PLUS if binding else SCRAM, client.first()), 100_000)
        final = server.final(client.final(derive_client_keys(PASSWORD, challenge.salt, challenge.iterations)))
        assert final is not None
        client.verify(final)


@given(st.text(min_size=1, max_size=20).filter(lambda p: "\0" not in p))
@settings(max_examples=25, deadline=None)
def test_every_password_that_both_prepare_alike(password: str) -> None:
    """Preparation (SASLprep) is ours on the server's side, the peer's on the client's."""
    try:
        client = peer(password)
        first = client.get_client_first()
    except ScramException:
        return  # the peer refuses what PostgreSQL takes as it is
    server = ScramServer(server_keys(password), None, "server")
    client.set_server_first(server.first(SCRAM, first.encode()).decode())
    try:
        proof = client.get_client_final()
    except ScramException:
        return
    if saslprep(password) == password or password.isascii():
        assert server.final(proof.encode()) is not None


def exchange(password: str = PASSWORD) -> tuple[ScramServer, str]:
    client = peer(password)
    server = ScramServer(server_keys(), None, "server")
    client.set_server_first(server.first(SCRAM, client.get_client_first().encode()).decode())
    return server, client.get_client_final()


def test_a_wrong_password() -> None:
    server, final = exchange("wrong")
    assert server.final(final.encode()) is None


def test_a_tampered_proof() -> None:
    """Whatever character of the final message is changed, it is refused or does not fit."""
    _, honest = exchange()
    for place in range(len(honest)):
        server, final = exchange()
        other = "A" if final[place] != "A" else "B"
        try:
            outcome = server.final((final[:place] + other + final[place + 1 :]).encode())
        except ProtocolViolation:
            continue
        # The last character of base64 holds bits that no byte has.
        assert outcome is None or place == len(final) - 2


@pytest.mark.parametrize("change", ["nonce", "salt", "count low", "count high", "no count", "empty salt", "empty"])
def test_a_server_that_cheats_in_its_challenge(change: str) -> None:
    client, server = ScramClient("client", None), ScramServer(server_keys(), None, "server")
    honest = server.first(SCRAM, client.first()).decode()
    nonce, salt, count = honest.split(",")
    cheat = {
        "nonce": f"r=other,{salt},{count}",
        "salt": f"{nonce},s=%,{count}",
        "count low": f"{nonce},{salt},i=4095",
        "count high": f"{nonce},{salt},i=100001",
        "no count": f"{nonce},{salt}",
        "empty salt": f"{nonce},s=,{count}",
        "empty": "",
    }[change]
    with pytest.raises(ProtocolViolation):
        client.challenge(cheat.encode(), 100_000)


@pytest.mark.parametrize("final", [b"", b"v=", b"v=AAAA", b"e=invalid-proof", b"v=" + base64.b64encode(bytes(32))])
def test_a_server_that_does_not_know_the_password(final: bytes) -> None:
    client, server = ScramClient("client", None), ScramServer(server_keys(), None, "server")
    challenge = client.challenge(server.first(SCRAM, client.first()), 100_000)
    client.final(derive_client_keys(PASSWORD, challenge.salt, challenge.iterations))
    with pytest.raises(ProtocolViolation):
        client.verify(final)


def test_channel_binding_cannot_be_dropped_or_swapped() -> None:
    """A client that would have bound ("y") although we offer it, and one that bound to another certificate."""
    with pytest.raises(ProtocolViolation) as caught:
        ScramServer(server_keys(), BINDING, "server").first(SCRAM, b"y,,n=,r=abc")
    assert caught.value.sqlstate == "28000"
    client, server = ScramClient("client", bytes(32)), ScramServer(server_keys(), BINDING, "server")
    challenge = client.challenge(server.first(SCRAM_PLUS, client.first()), 100_000)
    with pytest.raises(ProtocolViolation) as caught:
        server.final(client.final(derive_client_keys(PASSWORD, challenge.salt, challenge.iterations)))
    assert caught.value.sqlstate == "28000"


# -- the login around it -----------------------------------------------------------------------------------------------


def login(known: str = "known", binding: bytes | None = None) -> Login:
    return Login(StartupMessage(0, "ada", "sales", (), ()), server_keys(), binding, "server", known)


def answers(made: Login, client: PeerClient, *, size: int, behind: bytes = b"") -> Proved | WrongPassword | None:
    """The whole exchange, in pieces of this size."""

    def feed(data: bytes) -> tuple[bytes, Proved | WrongPassword | None]:
        out, outcome = b"", None
        for at in range(0, len(data), size):
            more, outcome = made.feed(data[at : at + size])
            out += more
        return out, outcome

    out, _ = feed(wire.sasl_initial(SCRAM, client.get_client_first().encode()))
    client.set_server_first(out[9:].decode())
    return feed(wire.packet("p", client.get_client_final().encode()) + behind)[1]


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_logins_in_pieces(size: int) -> None:
    assert isinstance(answers(login(), peer(), size=size), Proved)
    assert isinstance(answers(login(), peer("wrong"), size=size), WrongPassword)


def test_what_comes_behind_the_proof_is_kept() -> None:
    outcome = answers(login(), peer(), size=10_000, behind=b"Q...")
    assert isinstance(outcome, Proved)
    assert outcome.rest == b"Q..."


def test_an_unknown_user_fails_even_with_a_proof_that_fits() -> None:
    assert isinstance(answers(login("unknown"), peer(), size=1000), WrongPassword)


def test_only_what_can_be_bound_is_offered() -> None:
    assert SCRAM_PLUS.encode() not in login().greeting()
    assert login(binding=BINDING).greeting().index(SCRAM_PLUS.encode()) > 0
    with pytest.raises(ProtocolViolation):
        login().feed(wire.sasl_initial(SCRAM_PLUS, b"p=tls-server-end-point,,n=,r=abc"))


@pytest.mark.parametrize("kind", ["Q", "X", "P", "\0"])
def test_only_sasl_responses_are_taken(kind: str) -> None:
    with pytest.raises(ProtocolViolation):
        login().feed(wire.packet(kind, b"x"))


def test_messages_that_are_too_long_are_wrong_passwords() -> None:
    assert isinstance(login().feed(b"p\0\0\x08\0")[1], WrongPassword)
