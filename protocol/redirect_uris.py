"""Redirect URIs: which may be registered, and whether a requested one is registered.

Compared as text, exactly (RFC 9700 §2.1), with one exception: a loopback IP literal may use any port, because a native
application cannot know in advance which one is free (RFC 8252 §7.3).
"""

import ipaddress
import re
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

LOOPBACK_WITH_PORT = re.compile(
    r"(?P<host>http://(?:127\.0\.0\.1|\[::1\]))(?::(?P<port>\d{1,5}))?(?P<path>/.*)?", re.ASCII
)
URI_CHARACTERS = re.compile(r"[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]+")
WITH_FRAGMENT = re.compile(  # any other address that is registered or told
    r"[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]+(#[A-Za-z0-9\-._~:/?@!$&'()*+,;=%]*)?"
)
MAXIMUM_LENGTH = 2_000
MAXIMUM_PORT = 65_535
MAXIMUM_HOST_LENGTH = 253  # RFC 1035 §2.3.4
RESPONSE_PARAMETERS = {"code", "state", "iss", "error", "error_description", "error_uri"}


def is_registered(requested: str, registered: list[str]) -> bool:
    """Whether `requested` equals one of `registered`, the port of loopback literals left aside."""
    if requested in registered:
        return True
    loopback = without_loopback_port(requested)
    return loopback is not None and loopback in {without_loopback_port(uri) for uri in registered}


def without_loopback_port(uri: str) -> str | None:
    """`http://127.0.0.1:5000/cb` as `http://127.0.0.1/cb`; None for everything that is not a loopback literal."""
    match = LOOPBACK_WITH_PORT.fullmatch(uri)
    if match is None or int(match["port"] or 0) > MAXIMUM_PORT:
        return None
    return match["host"] + (match["path"] or "")


def find_problem(uri: str) -> str | None:
    """Why `uri` may not be registered, in words for the operator, or None when it may."""
    if not uri or len(uri) > MAXIMUM_LENGTH or not URI_CHARACTERS.fullmatch(uri):
        return "is not a URI: use ASCII without blanks, quotes, backslashes or a fragment"
    try:
        parts = urlsplit(uri)
        host, _port = parts.hostname, parts.port
    except ValueError:
        return "is not a valid URI"
    if len(host or "") > MAXIMUM_HOST_LENGTH:
        return "has a host longer than any name can be"
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        return "must not hold a user name"
    if RESPONSE_PARAMETERS & parameter_names(parts.query):
        return "must not hold a parameter that the answer will add (code, state, iss, error)"
    if parts.scheme == "https":
        return None if host else "has no host"
    if parts.scheme == "http":
        return None if host and is_loopback_host(host) else "must use https, except on a loopback address"
    if "." not in parts.scheme:  # RFC 8252 §7.1; it also leaves out javascript:, data: and whatever else a browser runs
        return "must use https, or a private-use scheme with a dot in it such as com.example.app"
    return None


def parameter_names(query: str) -> set[str]:
    """As the most lenient of clients reads them: decoded, with or without a value, `;` as good as `&`."""
    return {name for name, _value in parse_qsl(query.replace(";", "&"), keep_blank_values=True)}


def is_loopback_host(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_web(uri: str) -> bool:
    """Whether it is a browser that goes there, and no application of its own scheme."""
    return urlsplit(uri).scheme in ("http", "https")


def is_native(uri: str) -> bool:
    """Whether any program of the computer could take the answer: at a loopback address, by a private-use scheme (RFC 8252 §8.6)."""
    host = (urlsplit(uri).hostname or "").rstrip(".")
    return not is_web(uri) or is_loopback_host(host) or host.endswith(".localhost")


def origin(uri: str) -> str | None:
    """`https://app.example:8443` of a web URI (RFC 6454 §4); None for a private-use scheme."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    return f"{parts.scheme}://{host_with_port(parts)}"


def host_with_port(parts: SplitResult) -> str:
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else (parts.hostname or "")
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return host if parts.port in (None, default) else f"{host}:{parts.port}"


def display_host(uri: str) -> str:
    """What the consent page names as the place the answer goes to: a host, or the scheme of an application."""
    parts = urlsplit(uri)
    return host_with_port(parts) if parts.hostname else f"{parts.scheme}:"


def form_action_source(uri: str) -> str:
    """The source expression that lets a form's answer be redirected to `uri`, and on to the client's other origins.

    A scheme and not an origin: browsers hold the policy against every redirect of the chain, also those that the client's
    callback answers with, and cannot name an IPv6 address in it (CSP Level 3, form-action).
    """
    return f"{urlsplit(uri).scheme}:"


def with_answer(uri: str, answer: list[tuple[str, str]]) -> str:
    """`uri` with the members of an authorization response added to its query; what was registered stays byte for byte."""
    return uri + ("&" if "?" in uri else "?") + urlencode(answer)
