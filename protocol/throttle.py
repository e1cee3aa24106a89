"""Throttles: how many failures are allowed, and how long to wait after that.

A throttle is a leaky bucket. A failure adds `drain_seconds` to it, and they drain as time passes. After
`failures` at the same time the bucket is full, and then one more failure is allowed every `drain_seconds`. A
bucket is stored as one number, the instant when it will be empty.
"""

import ipaddress
from dataclasses import dataclass

from crypto.credentials import digest
from protocol.client_address import read_address

IPV6_NETWORK = 64  # bits of the network that one customer usually has
IPV6_SITE = 48  # bits of the largest network that one site usually has (RFC 6177)


@dataclass(frozen=True)
class Bucket:
    """One throttle of one subject, stored under `digest`. `failures` and `drain_seconds` are at least 1."""

    digest: bytes
    failures: int
    drain_seconds: int

    @classmethod
    def of(cls, failures: int, period: int, *subject: str) -> "Bucket":
        """Return the bucket of a subject (what is counted, of whom) for so many in `period` seconds."""
        return cls(digest("\0".join(subject)), failures, max(1, period // failures))

    def seconds_to_wait(self, empty_at: int, now: int) -> int:
        """Return the seconds until one more failure is allowed; 0 when it is allowed now."""
        return max(0, empty_at - now - (self.failures - 1) * self.drain_seconds)


def network(address: str, bits: int = IPV6_NETWORK) -> str:
    """Return what counts as one address: an IPv4 address, or the first bits of an IPv6 address.

    Text that is no address is returned unchanged.
    """
    ip = read_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((ip, bits), strict=False))
    return address if ip is None else str(ip)
