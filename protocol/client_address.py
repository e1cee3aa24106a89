"""The address of a caller: the peer of the connection, or the peer that trusted proxies say they saw.

Each proxy appends its peer to X-Forwarded-For. So the list is read from the right, for as long as the proxy
that wrote the entry is trusted: everything further to the left may be forged. X-Forwarded-Proto is read at
the same place. `Forwarded` (RFC 7239) is never read: an operator who set up a proxy for it would have to
remove the other two headers from requests, and the reverse.
"""

import ipaddress
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Literal, NamedTuple

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Unix = Literal["unix"]  # a proxy on this machine that speaks through a Unix socket, which has no address
Trusted = Collection[Network | Unix]

UNIX: Unix = "unix"
MAXIMUM_PROXIES = 16  # one behind the other; more are not followed


class Caller(NamedTuple):
    """Where a request comes from."""

    address: str  # in its usual spelling; "" behind a Unix socket
    scheme: str | None  # as the outermost trusted proxy saw it; None where no proxy says it
    is_through_proxy: bool  # whether the peer is a trusted proxy


def find_caller(peer: str, forwarded_for: str, forwarded_proto: str, trusted: Trusted) -> Caller:
    """Return where a request comes from.

    peer: the address of the connection, "" for a Unix socket. The other two are the headers, joined by
    commas. Where a trusted proxy does not know its peer, or hides it, the result is that proxy's address.
    """
    seen = read_hop(peer)
    if seen is None:
        return Caller(peer, None, is_through_proxy=False)
    entries, proxies = from_the_right(forwarded_for), 0
    while proxies < MAXIMUM_PROXIES and is_trusted(seen, trusted):
        proxies += 1
        before = read_hop(next(entries, "unknown"))
        if before is None:
            break
        seen = before
    schemes = list(from_the_right(forwarded_proto))[:proxies]
    scheme = schemes[-1].lower() if schemes else None
    address = "" if seen == UNIX else str(seen)
    return Caller(address, scheme if scheme in ("http", "https") else None, is_through_proxy=proxies > 0)


def from_the_right(values: str) -> Iterator[str]:
    """Return the last members of a list (RFC 9110 §5.6.1), the last one first, without the empty ones."""
    for member in reversed(values.rsplit(",", 2 * MAXIMUM_PROXIES)):
        if text := member.strip(' \t"'):
            yield text


def read_hop(text: str) -> Address | Unix | None:
    """Return the peer that an entry names; nginx writes `unix:` for one that has no address."""
    return UNIX if text in ("", "unix", "unix:") else read_address(text)


@lru_cache(maxsize=1_000)
def read_address(text: str) -> Address | None:
    """Return an address in any spelling that a proxy may use, or None for what is no address.

    It may stand in brackets, have a port or a zone, or be an IPv4 address written as IPv6 (RFC 4291
    §2.5.5.2). No address are `unknown`, `_hidden` (RFC 7239 §6) and a host name.
    """
    for spelling in (text, without_port(text)):
        try:
            address = ipaddress.ip_address(spelling.removeprefix("[").removesuffix("]").partition("%")[0])
        except ValueError:
            continue
        return address.ipv4_mapped or address if isinstance(address, ipaddress.IPv6Address) else address
    return None


def without_port(text: str) -> str:
    """Return an address without its port; RFC 7239 §6 allows a port such as `_hidden`."""
    host, _colon, port = text.rpartition(":")
    return host if port == "" or port.isdecimal() or port.startswith("_") else text


def is_trusted(hop: Address | Unix, trusted: Trusted) -> bool:
    """Return whether a peer is one of the trusted proxies."""
    return any(hop == proxy if hop == UNIX or proxy == UNIX else hop in proxy for proxy in trusted)


def read_proxy(text: str) -> Network | Unix:
    """Return the address or network of a trusted proxy, or the word `unix`. Raises ValueError."""
    if text == UNIX:
        return UNIX
    network = ipaddress.ip_network(text.removeprefix("[").removesuffix("]"))
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    return (
        ipaddress.ip_network((mapped, network.prefixlen - 96))
        if mapped and network.prefixlen >= 96
        else network
    )
