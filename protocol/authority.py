"""The normal form of an authority, such as a Host header has it: host and port.

These make no difference: letter case, a port that is empty or the scheme's default (RFC 9110 §4.2.3, RFC 3986
§6.2.3), percent-encoded characters that need no encoding (RFC 3986 §6.2.2.2), and the several texts of one
IPv6 address (RFC 5952). A dot at the end makes a difference. Text that is no `uri-host [":" port]` (RFC 9110
§7.2) has no normal form.
"""

import ipaddress
import re

DEFAULT_PORTS = {"http": 80, "https": 443}
AUTHORITY = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)(?::(?P<port>[0-9]{0,5}))?"
)
ENCODED = re.compile(r"%([0-9A-Fa-f]{2})")
UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")
MAXIMUM_LENGTH = 1_000  # the longest name with every character encoded, and a port


def normalize(authority: str, scheme: str) -> tuple[str, int] | None:
    """Return host and port in their normal form; None for text that is no authority, or has a user name."""
    parts = AUTHORITY.fullmatch(authority) if len(authority) <= MAXIMUM_LENGTH else None
    if parts is None:
        return None
    host = ENCODED.sub(decode_unreserved, parts["host"]).lower()
    if host.startswith("["):
        try:
            host = ipaddress.IPv6Address(host[1:-1]).compressed
        except ValueError:
            return None
    return host, int(parts["port"] or DEFAULT_PORTS[scheme])


def decode_unreserved(encoded: re.Match[str]) -> str:
    """Return an encoded character itself where it is unreserved (RFC 3986 §2.3), else its encoding."""
    character = chr(int(encoded[1], 16))
    return character if UNRESERVED.fullmatch(character) else encoded[0]
