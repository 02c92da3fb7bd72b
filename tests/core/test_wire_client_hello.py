"""ClientHellos as a real TLS library writes them: what they offer is found, and nothing else than a whole one is taken for one."""

import contextlib
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.client_hello import HEADER_BYTES, offered_protocols, record_size
from gateway.wire.errors import SilentClose


def hello(*alpn: str, name: str | None = "db.example.org", latest: bool = True) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname = False
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if not latest:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(coming, going, server_hostname=name).do_handshake()
    return going.read()


HELLO = hello("http/1.1", "postgresql")


@pytest.mark.parametrize("latest", [True, False])
@pytest.mark.parametrize("name", ["db.example.org", None])
@pytest.mark.parametrize("alpn", [(), ("postgresql",), ("http/1.1",), ("h2", "http/1.1"), ("x" * 255, "postgresql")])
def test_what_is_offered(alpn: tuple[str, ...], name: str | None, latest: bool) -> None:
    record = hello(*alpn, name=name, latest=latest)
    assert record_size(record[:HEADER_BYTES]) == len(record)
    assert offered_protocols(record) == tuple(each.encode() for each in alpn)


def test_a_part_of_one_is_none() -> None:
    """Its record cut short with a length that says so: the handshake goes on in a next one, which nobody reads."""
    for size in range(HEADER_BYTES, len(HELLO)):
        with pytest.raises(SilentClose):
            offered_protocols(HELLO[:size])


def test_what_is_no_handshake() -> None:
    assert record_size(b"\x15\x03\x03\x00\x02") is None
    assert record_size(b"GET /") is None
    assert record_size(b"\x16\x03\x01\xff\xff") is None
    with pytest.raises(SilentClose):
        offered_protocols(b"\x16\x03\x01\x00\x04\x02\x00\x00\x00")  # a ServerHello


def test_offered_twice_is_refused() -> None:
    extension = b"\x00\x10\x00\x05\x00\x03\x02h2"
    body = bytes(34) + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00"
    once, twice = (body + len(each).to_bytes(2, "big") + each for each in (extension, extension * 2))
    header = b"\x16\x03\x01\x00\x00\x01"
    assert offered_protocols(header + len(once).to_bytes(3, "big") + once) == (b"h2",)
    with pytest.raises(SilentClose):
        offered_protocols(header + len(twice).to_bytes(3, "big") + twice)


@given(st.integers(HEADER_BYTES, len(HELLO) - 1), st.integers(0, 255))
def test_other_bytes_raise_nothing_else(place: int, value: int) -> None:
    changed = bytearray(HELLO)
    changed[place] = value
    with contextlib.suppress(SilentClose):
        assert isinstance(offered_protocols(bytes(changed)), tuple)
