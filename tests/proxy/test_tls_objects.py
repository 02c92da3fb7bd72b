"""TLS objects that call OpenSSL's functions directly do what Python's own do."""

import ssl
from pathlib import Path

import pytest

from gateway.access.model import TlsMode
from gateway.demo.postgres import TlsFiles
from gateway.proxy.tls import ServerTls
from gateway.tls_objects import DirectObject
from gateway.upstream_tls import upstream_context
from tests.support.upstream import make_certificates


class Pair:
    """A client and a server in memory that have shaken hands."""

    def __init__(self, server: ssl.SSLContext, client: ssl.SSLContext) -> None:
        there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = server.wrap_bio(there, back, server_side=True)
        self.client = client.wrap_bio(back, there, server_hostname="localhost")
        left = [self.client, self.server]
        while left:
            end = left.pop(0)
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                left.append(end)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TlsFiles]:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=[ssl.SSLObject, DirectObject])
def pair(request: pytest.FixtureRequest, certificates: tuple[Path, TlsFiles]) -> Pair:
    ca_file, files = certificates
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=str(ca_file))
    server.load_cert_chain(files.cert_file, files.key_file)
    server.sslobject_class = client.sslobject_class = request.param
    made = Pair(server, client)
    assert type(made.server) is type(made.client) is request.param
    return made


def test_what_is_written_is_read_in_any_pieces_until_there_is_no_more(pair: Pair) -> None:
    assert pair.client.write(b"0123456789") == 10
    assert pair.server.pending() == 0
    assert pair.server.read(4) == b"0123"
    assert pair.server.pending() == 6
    buffer = bytearray(8)
    assert pair.server.read(3, buffer) == 3
    assert pair.server.read(100, memoryview(buffer)[3:]) == 3
    assert buffer == b"456789\0\0"
    assert pair.server.pending() == 0
    with pytest.raises(ssl.SSLWantReadError):
        pair.server.read(1)


def test_no_read_brings_more_than_a_record(pair: Pair) -> None:
    assert pair.server.write(memoryview(b"x" * 40_000)) == 40_000
    sizes = [len(pair.client.read(256 * 1024)) for _ in range(3)]
    assert sizes == [16_384, 16_384, 7_232]


def test_the_end_is_heard_of(pair: Pair) -> None:
    with pytest.raises(ssl.SSLWantReadError):
        pair.client.unwrap()
    assert pair.server.read(1) == b""


def test_the_gateway_has_them_on_both_sides(certificates: tuple[Path, TlsFiles]) -> None:
    ca_file, files = certificates
    upstream = upstream_context(TlsMode.VERIFY_FULL, ca_file.read_text())
    assert upstream is not None
    made = Pair(ServerTls(files.cert_file, files.key_file).context, upstream)
    assert type(made.server) is type(made.client) is DirectObject
