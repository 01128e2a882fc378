"""Public IP addresses, and accepted spellings of a host. Pure.

The networks are those of IANA's special-purpose registries (iana-ipv4-special-registry and
iana-ipv6-special-registry, RFC 6890), including the "globally reachable" ones: no web server has a
protocol's anycast address. IPv6 is public only inside 2000::/3, the one block that is allocated to
networks; so the loopback, mapped, compatible (`::127.0.0.1`), NAT64, local, documentation and
multicast ranges outside of it need no line here.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address

_SPECIAL_4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",
            "100.64.0.0/10",  # carrier-grade NAT; cloud metadata of one provider
            "127.0.0.0/8",
            "169.254.0.0/16",  # link-local; cloud metadata of most
            "172.16.0.0/12",
            "192.0.0.0/24",  # protocol assignments; cloud metadata of another
            "192.0.2.0/24",  # documentation
            "192.31.196.0/24",  # AS112
            "192.52.193.0/24",  # AMT
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
        ),
    )
)
_GIVEN_OUT = IPv6Network("2000::/3")
_SPECIAL_6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments: Teredo, benchmarks, AMT, ORCHID, drones
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4: any IPv4 address inside
            "2620:4f:8000::/48",  # AS112
            "3fff::/20",  # documentation
        ),
    )
)

# Labels of letters, digits, `-` and `_`: what DNS resolves and a `Host` header holds. A label of
# 64 would be an error of the resolver's own.
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_MOST_CHARS = 253
# A resolver reads `2130706433`, `0x7f.1`, `0177.0.0.1` as addresses; so do browsers (WHATWG URL,
# "ends in a number").
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")


def is_public(address: Address) -> bool:
    """Return whether an address is on the public Internet and embeds no other address."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_4)
    return address in _GIVEN_OUT and not any(address in network for network in _SPECIAL_6)


def parse_literal(text: str) -> Address | None:
    """Parse an address in its usual spelling; None for any other text.

    An IPv4 address mapped into IPv6 is returned as IPv4: the kernel connects to it. An address
    with a zone is refused: it belongs to a link of this machine.
    """
    try:
        found = ip_address(text)
    except ValueError:
        return None
    if isinstance(found, IPv6Address):
        if found.scope_id is not None:
            return None
        return found.ipv4_mapped or found
    return found


def is_host(text: str) -> bool:
    """Return whether a text is a host name, or an address in its usual spelling."""
    if parse_literal(text) is not None:
        return True
    labels = text.split(".")
    if len(text) > _MOST_CHARS or not all(map(_LABEL.fullmatch, labels)):
        return False
    return _NUMBER.fullmatch(labels[-1]) is None
