"""Redirect URIs: which may be registered, and whether a requested one is registered.

They are compared as text (RFC 9700 §2.1). The exceptions are for loopback addresses, where a native
application listens on whatever port is free: a loopback IP address may have any port (RFC 8252 §7.3),
`localhost` any port where none is registered, and no path is the same as `/`, because clients write either
(RFC 3986 §6.2.3).
"""

import ipaddress
import re
from collections.abc import Collection
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

LOOPBACK = re.compile(
    r"http://(?P<host>127(?:\.\d{1,3}){3}|\[::1\]|localhost)(?::(?P<port>\d{1,5}))?(?P<rest>[/?].*)?",
    re.ASCII,
)
URI_CHARACTERS = re.compile(r"[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]+")
WITH_FRAGMENT = re.compile(  # for addresses that are no redirect URI, such as a logo
    r"[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]+(#[A-Za-z0-9\-._~:/?@!$&'()*+,;=%]*)?"
)
MAXIMUM_LENGTH = 2_000
MAXIMUM_PORT = 65_535
MAXIMUM_HOST_LENGTH = 253  # RFC 1035 §2.3.4
# Schemes without a dot that browsers or operating systems use: never those of an application.
RESERVED_SCHEMES = frozenset(
    "about blob chrome chrome-extension data facetime file filesystem ftp http https intent jar"
    " javascript ldap mailto"
    " moz-extension ms-settings res resource search-ms shell sms ssh tel telnet urn vbscript"
    " view-source ws wss".split()
)
SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
RESPONSE_PARAMETERS = {"code", "state", "iss", "error", "error_description", "error_uri"}


class Loopback(NamedTuple):
    """The parts of a redirect URI at a loopback address."""

    host: str
    port: str | None
    rest: str  # path and query

    @classmethod
    def parse(cls, uri: str) -> "Loopback | None":
        """Return the parts of a URI; None for one at no loopback address."""
        match = LOOPBACK.fullmatch(uri)
        if (
            match is None
            or int(match["port"] or 0) > MAXIMUM_PORT
            or not is_loopback_host(match["host"].strip("[]"))
        ):
            return None
        rest = match["rest"] or ""
        return cls(match["host"], match["port"], rest if rest.startswith("/") else f"/{rest}")

    def matches(self, registered: "Loopback | None") -> bool:
        """Return whether a registered URI allows this one (RFC 8252 §7.3)."""
        if registered is None or (self.host, self.rest) != (registered.host, registered.rest):
            return False
        return self.port == registered.port or self.host != "localhost" or registered.port is None


def is_registered(requested: str, registered: list[str]) -> bool:
    """Return whether `requested` is one of `registered`; at a loopback address the port may differ."""
    if requested in registered:
        return True
    loopback = Loopback.parse(requested)
    return loopback is not None and any(loopback.matches(Loopback.parse(uri)) for uri in registered)


def find_problem(uri: str, schemes: Collection[str] = ()) -> str | None:
    """Return why `uri` may not be registered, in words for the operator; None when it may.

    schemes: private-use schemes without a dot that the operator allows.
    """
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
    if "." not in parts.scheme and parts.scheme not in schemes:
        # RFC 8252 §7.1, §8.4: a scheme without a dot belongs to nobody. The rule also excludes javascript:,
        # data: and others that a browser executes.
        return (
            "must use https, or a private-use scheme with a dot in it such as com.example.app (or"
            " see OSTIARY_REDIRECT_SCHEMES)"
        )
    return None


def problem_of_scheme(scheme: str) -> str | None:
    """Return why the operator may not allow a scheme without a dot; None when it may. scheme: lower case."""
    if not SCHEME.fullmatch(scheme):
        return "must hold names of schemes, without a colon"
    return "must not hold a scheme that browsers or systems act on" if scheme in RESERVED_SCHEMES else None


def parameter_names(query: str) -> set[str]:
    """Return the decoded names of a query's parameters, separated by `&` or `;`, with or without a value."""
    return {name for name, _value in parse_qsl(query.replace(";", "&"), keep_blank_values=True)}


def is_loopback_host(host: str) -> bool:
    """Return whether a host is `localhost` or a loopback address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_web(uri: str) -> bool:
    """Return whether a URI is a web address, not one with an application's own scheme."""
    return urlsplit(uri).scheme in ("http", "https")


def is_native(uri: str) -> bool:
    """Return whether any program of the computer could receive the response (RFC 8252 §8.6)."""
    host = (urlsplit(uri).hostname or "").rstrip(".")
    return not is_web(uri) or is_loopback_host(host) or host.endswith(".localhost")


def origin(uri: str) -> str | None:
    """Return the origin of a web URI, such as `https://app.example:8443` (RFC 6454 §4).

    None for a private-use scheme.
    """
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    return f"{parts.scheme}://{host_with_port(parts)}"


def host_with_port(parts: SplitResult) -> str:
    """Return the host, with the port where it is not the scheme's default."""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else (parts.hostname or "")
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return host if parts.port in (None, default) else f"{host}:{parts.port}"


def display_host(uri: str) -> str:
    """Return where the response goes, for the consent page: a host, or the scheme of an application.

    What stands in the place of a host after a private-use scheme is not shown: nobody owns it.
    """
    parts = urlsplit(uri)
    return host_with_port(parts) if is_web(uri) else f"{parts.scheme}:"


def add_response(uri: str, parameters: list[tuple[str, str]]) -> str:
    """Return `uri` with the response's parameters added to its query; the rest stays byte for byte."""
    return uri + ("&" if "?" in uri else "?") + urlencode(parameters)
