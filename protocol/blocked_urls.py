"""Which URLs and addresses this server may call on behalf of a client (against SSRF).

Enters: a URL that a client registered, then the addresses that its host resolved to. Leaves: where to
connect, or the reason why not, in fixed words. Only the numeric address decides: any name may resolve to a
private address, and 127.0.0.1 has many spellings.
"""

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import urlsplit

from errors import BlockedUrlError
from protocol import redirect_uris

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_][a-z0-9_-]{0,62}){0,126}")
# What C libraries take for an IPv4 address in another spelling, hexadecimal, octal or shortened (`0x7f.1`,
# `2130706433`).
ENDS_IN_A_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
DEFAULT_PORTS = {"https": 443, "http": 80}
FIRST_FREE_PORT = 1024  # below it, other services of the host listen
GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # RFC 4291 §2.4: all that is assigned so far
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052 §2.1


class Target(NamedTuple):
    """Where a request goes."""

    is_tls: bool
    host: str  # it is resolved, and the certificate must name it
    port: int
    netloc: str  # for the Host header
    path: str  # with its query


def read_url(url: str, allow_private: bool) -> Target:
    """Return the parts of a URL that may be called, as far as its text tells. Raises BlockedUrlError.

    allow_private: allows plain http and every port, as in development.
    """
    if len(url) > redirect_uris.MAXIMUM_LENGTH or not redirect_uris.URI_CHARACTERS.fullmatch(url):
        raise BlockedUrlError("it is no URL: use ASCII, and no fragment")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise BlockedUrlError("it is no valid URL") from None
    if parts.scheme != "https" and not (allow_private and parts.scheme == "http"):
        raise BlockedUrlError("it must use https")
    if "@" in parts.netloc:
        raise BlockedUrlError("it must not hold a user name")
    if not is_plain_host(host) or "[" in parts.netloc and ":" not in host:
        raise BlockedUrlError("its host is neither a name nor an address in its usual spelling")
    if port is None:
        port = DEFAULT_PORTS[parts.scheme]
    if not allow_private and port != DEFAULT_PORTS["https"] and port < FIRST_FREE_PORT:
        raise BlockedUrlError("its port must be 443 or above 1023")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme == "https", host, port, redirect_uris.host_with_port(parts), path)


def is_plain_host(host: str) -> bool:
    """Return whether a host is a name, or an address in its usual spelling."""
    if read_address(host) is not None:
        return True
    return (
        len(host) <= redirect_uris.MAXIMUM_HOST_LENGTH
        and NAME.fullmatch(host) is not None
        and not ENDS_IN_A_NUMBER.fullmatch(host)
    )


def read_address(text: str) -> IpAddress | None:
    """Return an address in its usual spelling, without a zone (RFC 4007 §11); None for anything else."""
    try:
        return None if "%" in text else ipaddress.ip_address(text)
    except ValueError:
        return None


def check_addresses(addresses: list[str], allow_private: bool) -> None:
    """Raise BlockedUrlError unless every address that a name resolved to may be called."""
    if not addresses:
        raise BlockedUrlError("its host has no address")
    for text in addresses:
        address = read_address(text)
        if address is None or address.is_multicast or address.is_unspecified:
            raise BlockedUrlError("its host has an address that cannot be called")
        if not allow_private and not is_public(address):
            raise BlockedUrlError("its host has an address that is not public")


# RFC 6890; parts of it count as global in some Pythons
PROTOCOL_ASSIGNMENTS = ipaddress.IPv4Network("192.0.0.0/24")


def is_public(address: IpAddress) -> bool:
    """Return whether an address belongs to the public internet.

    For an IPv6 address that contains an IPv4 address, the IPv4 address decides.
    """
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in NAT64:
            inner = ipaddress.IPv4Address(address.packed[-4:])
        if inner is not None:
            return is_public(inner)
        return address in GLOBAL_UNICAST and address.is_global
    return address.is_global and not address.is_multicast and address not in PROTOCOL_ASSIGNMENTS
