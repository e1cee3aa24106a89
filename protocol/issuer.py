"""The issuer identifier (RFC 8414 §2): which addresses a server may have."""

import re
from functools import lru_cache
from urllib.parse import urlsplit

from protocol import redirect_uris

ISSUER = re.compile(
    r"(?P<origin>https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:\d+)?)"
    # characters that are never encoded (RFC 3986 §2.3), and no dot segments
    r"(?P<path>(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*)"
)


def check(issuer: str) -> None:
    """Raise ValueError, in words for the operator, unless an issuer is an origin, perhaps with a path.

    The origin must be spelled as browsers send it, because Host and Origin headers are compared with it.
    """
    if issuer.endswith("/"):
        raise ValueError("must not end in a slash: clients compare it as text")
    parts = ISSUER.fullmatch(issuer)
    try:
        spelling = redirect_uris.origin(issuer)
    except ValueError:
        spelling = None
    if not parts or spelling != parts["origin"]:
        raise ValueError(
            "must be like https://login.example, https://login.example:8443 or https://example.com/login: the"
            " host in lower case, no query, fragment, user or default port, in the path no encoded characters"
            " (RFC 8414 §2)"
        )
    if not issuer.startswith("https:") and not is_loopback(issuer):
        raise ValueError("must use https, except on a loopback address (RFC 8414 §2)")


@lru_cache(maxsize=1_000)
def is_loopback(issuer: str) -> bool:
    """Return whether an issuer is http or https at 127.0.0.0/8, [::1] or the name localhost."""
    try:
        parts = urlsplit(issuer)
        host = parts.hostname or ""
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and redirect_uris.is_loopback_host(host)
