"""Allowlists: what an entry may look like, and that a list admits exactly what the entries say (L01 to L04)."""

from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.networks import AddressList, NetworkError, canonical_address, parse_network
from tests.support.snapshots import LATER, NOW, PAST, SOON, entry


def admission(entries, address, now):
    return AddressList((each.network, each.valid_until) for each in entries).admission(address, now)


def admits(entries, address, now):
    return admission(entries, address, now) is not None


ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


@st.composite
def networks(draw):
    address = draw(ADDRESSES)
    return (
        ip_network((int(address), draw(st.integers(0, address.max_prefixlen))), strict=False)
        if (address.version == 4)
        else ip_network(f"{address}/{draw(st.integers(0, 128))}", strict=False)
    )


@pytest.mark.parametrize(
    "text",
    [
        "010.0.0.1", "10.0.0.010", "127.1", "10", "2130706433", "0x7f.1", "0x7f000001", "0x7f.0.0.1", "1.2.3.4/33", "::/129",
        "10.0.0.1/8", "2001:db8::1/32", " 10.0.0.0/8", "10.0.0.0/8 ", "10.0.0.0 /8", "10.0.0.0/ 8", "\t10.0.0.0/8", "10.0.0.0/8\n",
        "10.0.0.0/08", "10.0.0.0/+8", "10.0.0.0/-1", "10.0.0.0/8/8", "10.0.0.0/", "/8", "", "*", "any", "localhost",
        "10.0.0.0/255.0.0.0", "10.0.0.0/0.255.255.255", "10.0.0.0-10.0.0.9", "10.0.0.0,10.1.0.0",
        "fe80::1%eth0", "fe80::%1/64", "::ffff:10.0.0.0/104", "::ffff:10.0.0.1", "::ffff:0:0/96",
        "1.2.3", "1.2.3.4.5", "1.2.3.256", "٣.1.1.1", "１.2.3.4", "1.2.3.4/２4", "9" * 5000, "1.2.3.4/" + "9" * 5000,
        ":::", "1::2::3", "[::1]", "[::1]/128", "1.2.3.4:5432",
    ],
)  # fmt: skip
def test_a_text_that_two_programs_could_read_differently_is_no_network(text):
    with pytest.raises(NetworkError):
        parse_network(text)


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("10.0.0.1/8", "10.0.0.0/8"),
        ("010.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("fe80::1%eth0", "%eth0"),
        ("1.2.3.4/33", "32"),
    ],
)
def test_the_refusal_says_what_was_probably_meant(text, suggestion):
    with pytest.raises(NetworkError, match=suggestion):
        parse_network(text)


@given(networks())
def test_every_proper_network_is_read_as_itself(network):
    mapped = network.version == 6 and network.subnet_of(ip_network("::ffff:0:0/96"))
    if mapped:
        with pytest.raises(NetworkError):
            parse_network(str(network))
    else:
        assert parse_network(str(network)) == network


@given(ADDRESSES)
def test_a_bare_address_is_a_network_of_one(address):
    if address.version == 4 or address.ipv4_mapped is None:
        assert list(parse_network(str(address)).hosts()) in ([address], [])
        assert parse_network(str(address)).num_addresses == 1


@given(st.text(max_size=40))
def test_reading_never_fails_in_another_way(text):
    try:
        network = parse_network(text)
    except NetworkError:
        return
    assert text in (str(network), str(network.network_address)) or ":" in text


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_the_ipv4_address(address):
    mapped = IPv6Address(f"::ffff:{address}")
    assert canonical_address(str(mapped)) == address
    for network, admitted in ((f"{address}/32", True), ("0.0.0.0/0", True), ("::/0", False)):
        assert admits([entry(network)], mapped, NOW) is admitted
        assert admits([entry(network)], address, NOW) is admitted


@pytest.mark.parametrize(
    "text", ["2002:a00:1::", "64:ff9b::10.0.0.1", "2001:0:a00:1::1", "::10.0.0.1", "::ffff:0:10.0.0.1", "fe80::1"]
)
def test_no_other_form_is_translated(text):
    address = canonical_address(text)
    assert address == ip_address(text)
    assert not admits([entry("10.0.0.0/8"), entry("0.0.0.0/0")], address, NOW)


def test_a_zone_id_does_not_make_another_address():
    assert canonical_address("fe80::1%eth0") == canonical_address("fe80::1")
    assert hash(canonical_address("fe80::1%eth0")) == hash(canonical_address("fe80::1"))
    assert admits([entry("fe80::/10")], IPv6Address("fe80::1%2"), NOW)


@pytest.mark.parametrize("text", ["", "localhost", "10.0.0.1:99", "/run/socket", "10.0.0.1/8", "010.0.0.1"])
def test_what_is_no_address_is_an_error(text):
    with pytest.raises(NetworkError):
        canonical_address(text)


@given(st.lists(networks(), max_size=6), ADDRESSES)
def test_a_list_admits_exactly_the_addresses_in_its_networks(listed, address):
    address = canonical_address(str(address))
    inside = any(address.version == network.version and address in network for network in listed)
    assert admits([entry(str(network)) for network in listed], address, NOW) is inside


def test_a_string_prefix_is_not_a_network():
    assert not admits([entry("10.0.0.1/32")], IPv4Address("10.0.0.10"), NOW)
    assert not admits([entry("10.0.0.1/32")], IPv4Address("110.0.0.1"), NOW)


@given(ADDRESSES)
def test_an_empty_or_expired_list_admits_nobody(address):
    assert not admits([], address, NOW)
    everything = [entry("0.0.0.0/0", PAST), entry("::/0", PAST), entry("0.0.0.0/0", NOW), entry("::/0", NOW)]
    assert not admits(everything, address, NOW)


def test_an_entry_ends_exactly_when_it_says():
    one = [entry("10.0.0.0/8", SOON)]
    assert admits(one, IPv4Address("10.1.1.1"), SOON - timedelta(milliseconds=1))
    assert not admits(one, IPv4Address("10.1.1.1"), SOON)


def test_of_several_matching_entries_the_last_to_end_counts():
    address = IPv4Address("10.1.1.1")
    two = [entry("10.0.0.0/8", SOON), entry("10.1.0.0/16", LATER), entry("192.0.2.0/24")]
    assert admission(two, address, NOW).valid_until == LATER
    assert admission([*two, entry("10.1.1.1/32")], address, NOW).valid_until is None
    assert admission([entry("192.0.2.0/24")], address, NOW) is None


NEAR = st.integers(0, 15).map(lambda last: IPv4Address(0x0A010100 + last))
ENDS = st.one_of(st.none(), st.integers(-2, 3).map(lambda hours: NOW + timedelta(hours=hours)))
NETWORKS = st.builds(lambda address, bits: ip_network((int(address), bits), strict=False), NEAR, st.integers(26, 32))


@given(st.lists(st.tuples(NETWORKS, ENDS), max_size=20), NEAR)
def test_a_list_answers_as_if_each_entry_had_been_asked(entries, address):
    matching = [end for network, end in entries if address in network and (end is None or end > NOW)]
    found = AddressList(entries).admission(address, NOW)
    if not matching:
        assert found is None
    else:
        assert found.valid_until == (None if None in matching else max(matching))
