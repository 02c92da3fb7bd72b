"""Addresses and allowlists. Pure.

`AddressList.admission` is the one way to ask whether a list lets an address in: global, target and user lists, at accept, at
login and on live sessions. An allowlist never fails open: no live entry means nobody.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

_PREFIX: Final = re.compile(r"0|[1-9][0-9]{0,2}")
_OCTET: Final = re.compile(r"[0-9]{1,4}")
_MAPPED: Final = IPv6Network("::ffff:0:0/96")


class NetworkError(ValueError):
    """A text that is no network or no address; the message is written for the person who typed it."""


@dataclass(frozen=True, slots=True)
class Admission:
    """A list lets the address in until then (None: for good)."""

    valid_until: datetime | None


def parse_network(text: str) -> IPv4Network | IPv6Network:
    """Read `address/prefix`, or a bare address as a network of one.

    Strict, because an allowlist entry that two programs read differently is a hole: no leading zeros, no short or hexadecimal
    forms, no netmasks, no host bits, no spaces, no zone ids. Raises NetworkError.
    """
    if not text or not text.isascii() or any(c.isspace() for c in text):
        raise NetworkError(f"{text!r} is not a network: write it as address/prefix, without spaces, such as 10.0.0.0/8")
    base, slash, prefix = text.partition("/")
    address = _parse_address(base)
    if slash and not _PREFIX.fullmatch(prefix):
        raise NetworkError(f"{text!r}: the part after the slash must be a plain number of bits, such as {address}/24")
    bits = int(prefix) if slash else address.max_prefixlen
    if bits > address.max_prefixlen:
        raise NetworkError(
            f"{text!r}: /{bits} is too long, an IPv{address.version} prefix has at most {address.max_prefixlen} bits"
        )
    network = _enclosing(address, bits)
    if int(network.network_address) != int(address):
        raise NetworkError(
            f"{text!r} names a host inside a network: did you mean {network} (all of it) or {address} (one host)?"
        )
    if isinstance(network, IPv6Network) and network.prefixlen >= _MAPPED.prefixlen and network.subnet_of(_MAPPED):
        plain = IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - _MAPPED.prefixlen))
        raise NetworkError(f"{text!r}: an IPv4 client is matched by its IPv4 address: did you mean {plain}?")
    return network


@lru_cache(1024)
def canonical_address(text: str) -> IPv4Address | IPv6Address:
    """The address that lists are held against: IPv4-mapped IPv6 (`::ffff:a.b.c.d`) becomes IPv4, a zone id is dropped.

    Nothing else is translated: 6to4, NAT64 and Teredo addresses stay the IPv6 addresses they are. The same object each time: all
    sessions from there keep it. Raises NetworkError.
    """
    try:
        address = ip_address(text)
    except ValueError as error:
        raise NetworkError(f"{text!r} is not an IP address") from error
    return _canonical(address)


class AddressList:
    """One allowlist, made ready for being asked often: what an answer costs grows with the prefix lengths in use, not entries.

    Every live session asks after every change, and a list may have thousands of entries.
    """

    __slots__ = ("_v4", "_v6")

    def __init__(self, entries: Iterable[tuple[IPv4Network | IPv6Network, datetime | None]]) -> None:
        """Networks, each with the instant at which its entry ends (None: never). One may stand in the list more than once."""
        ends: dict[int, dict[int, dict[int, datetime | None]]] = {4: {}, 6: {}}
        for network, valid_until in entries:
            shift = network.max_prefixlen - network.prefixlen
            alike = ends[network.version].setdefault(shift, {})
            bits = int(network.network_address) >> shift
            alike[bits] = _later(alike[bits], valid_until) if bits in alike else valid_until
        self._v4 = tuple(ends[4].items())
        self._v6 = tuple(ends[6].items())

    def admission(self, address: IPv4Address | IPv6Address, now: datetime) -> Admission | None:
        """Whether the list lets `address` in at `now`, and until when: the latest end of the entries that match."""
        address = _canonical(address)
        number = int(address)
        latest: datetime | None = None
        for shift, alike in self._v4 if address.version == 4 else self._v6:
            bits = number >> shift
            if bits not in alike:
                continue
            valid_until = alike[bits]
            if valid_until is None:
                return Admission(None)
            if now < valid_until and (latest is None or latest < valid_until):
                latest = valid_until
        return None if latest is None else Admission(latest)


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return None if one is None or other is None else max(one, other)


def _enclosing(address: IPv4Address | IPv6Address, bits: int) -> IPv4Network | IPv6Network:
    if isinstance(address, IPv4Address):
        return IPv4Network((int(address), bits), strict=False)
    return IPv6Network((int(address), bits), strict=False)


def _parse_address(base: str) -> IPv4Address | IPv6Address:
    if "%" in base:
        raise NetworkError(f"{base!r}: a zone id has no meaning in an allowlist: leave out {base[base.index('%') :]!r}")
    try:
        return ip_address(base)
    except ValueError as error:
        octets = base.split(".")
        if len(octets) <= 4 and all(_OCTET.fullmatch(octet) for octet in octets):
            plain = ".".join(str(int(octet)) for octet in octets)
            if len(octets) < 4:
                raise NetworkError(f"{base!r} is not a whole address: write all four numbers, such as 10.0.0.0/8") from error
            if plain != base and all(int(octet) < 256 for octet in octets):
                raise NetworkError(
                    f"{base!r}: leading zeros are read as octal by some programs: did you mean {plain}?"
                ) from error
        raise NetworkError(f"{base!r} is not an IPv4 or IPv6 address") from error


def _canonical(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv6Address(int(address)) if address.scope_id is not None else address
