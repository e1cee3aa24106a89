"""Whether a Host header names a given authority, in any of the spellings that the RFCs call the same one.

Letter case, a port that is the scheme's default or empty (RFC 9110 §4.2.3, RFC 3986 §6.2.3), and
percent-encoded characters that need no encoding (RFC 3986 §6.2.2.2) make no difference, nor do the several
texts of one IPv6 address (RFC 5952). A dot at the end does, and so does whatever is no `uri-host [":" port]`
(RFC 9110 §7.2).
"""

import ipaddress
import re

DEFAULT_PORTS = {"http": 80, "https": 443}
AUTHORITY = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)(?::(?P<port>[0-9]{0,5}))?"
)
ENCODED = re.compile(r"%([0-9A-Fa-f]{2})")
UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")
MAXIMUM_LENGTH = 1_000  # every character of the longest name encoded, and a port


def normal(authority: str, scheme: str) -> tuple[str, int] | None:
    """Host and port in the one spelling that equal ones share; None for what is no authority without a user
    name.
    """
    parts = AUTHORITY.fullmatch(authority) if len(authority) <= MAXIMUM_LENGTH else None
    if parts is None:
        return None
    host = ENCODED.sub(decoded, parts["host"]).lower()
    if host.startswith("["):
        try:
            host = ipaddress.IPv6Address(host[1:-1]).compressed
        except ValueError:
            return None
    return host, int(parts["port"] or DEFAULT_PORTS[scheme])


def decoded(encoded: re.Match[str]) -> str:
    """The character itself where it is unreserved; else its encoding stays."""
    character = chr(int(encoded[1], 16))
    return character if UNRESERVED.fullmatch(character) else encoded[0]
