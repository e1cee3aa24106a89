"""Throttles: how many failures somebody may have, and how long to wait after that.

A throttle is a leaky bucket. A failure pours `drain_seconds` into it and time lets them out again: after
`failures` at once it is full, and then there is room for one more every `drain_seconds`. A bucket is one
number, the instant when it will be empty.
"""

import ipaddress
from dataclasses import dataclass

from crypto.credentials import digest
from protocol.client_address import read_address

IPV6_NETWORK = 64  # bits: what one customer usually holds
IPV6_SITE = 48  # bits: the most that one site is usually given (RFC 6177)


@dataclass(frozen=True)
class Bucket:
    """One throttle of one subject, stored under `digest`; `failures` and `drain_seconds` are at least 1."""

    digest: bytes
    failures: int
    drain_seconds: int

    @classmethod
    def of(cls, failures: int, period: int, *subject: str) -> "Bucket":
        """So many failures in `period` seconds for this subject: what is counted, and of whom."""
        return cls(digest("\0".join(subject)), failures, max(1, period // failures))

    def seconds_to_wait(self, empty_at: int, now: int) -> int:
        """Until there is room for one more failure; 0 when there is."""
        return max(0, empty_at - now - (self.failures - 1) * self.drain_seconds)


def network(address: str, bits: int = IPV6_NETWORK) -> str:
    """What counts as one address: an IPv4 address, the first bits of an IPv6 address.

    Other text is left as it is.
    """
    ip = read_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((ip, bits), strict=False))
    return address if ip is None else str(ip)
