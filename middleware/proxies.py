"""Decide which address, scheme, Host and path a request really has, before Flask sees it (WSGI middleware).

Forwarded headers count from trusted proxies only. The issuer's own host and path are the truth for every URL
that is made.
"""

import logging
from collections.abc import Iterable
from threading import Lock
from urllib.parse import urlsplit
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask

from config import Settings
from middleware.policy_table import PolicyTable
from protocol import authority
from protocol.client_address import find_caller

log = logging.getLogger("ostiary.proxies")

OUTSIDE_PREFIX = "ostiary.outside"  # in the environ: whether the address is not below the issuer's path
UNSERVED = "ostiary.unserved"  # in the environ: why the request cannot be served at the moment
FOREIGN_HOST = "ostiary.another_host"  # in the environ: whether the Host is not the issuer's
FORWARDED_FOR, FORWARDED_PROTO = "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO"
FORWARDED_HEADERS = {FORWARDED_FOR, FORWARDED_PROTO, "HTTP_X_FORWARDED_HOST", "HTTP_FORWARDED"}
UNTRUSTED = (
    "forwarded headers came from %s, which OSTIARY_TRUSTED_PROXIES does not name: they do not count."
    " If that is your proxy,"
    " everybody behind it has one address and shares its throttles. This is said once"
)


def init_app(app: Flask, settings: Settings) -> None:
    """Put `TrustedProxies` around the app, and around what finds the issuer that is asked."""
    app.wsgi_app = TrustedProxies(app.wsgi_app, settings)  # type: ignore[method-assign]


def at_issuer(app: WSGIApplication, settings: Settings, policies: PolicyTable) -> WSGIApplication:
    """Return the app at the host and the path of one issuer."""
    app = at_host(app, settings)
    return PathPrefix(app, settings.path, policies) if settings.path else app


def at_host(app: WSGIApplication, settings: Settings) -> WSGIApplication:
    """Return the app at the host of one issuer."""
    own = urlsplit(settings.issuer)
    return HostNormalizer(app, own.netloc, own.scheme)


class TrustedProxies:
    """Writes the client's address and scheme into the environ, and removes all forwarded headers.

    So nobody else reads them. Where they come from somebody who is not trusted, a proxy was perhaps left out
    of the settings: that is logged, once.
    """

    def __init__(self, app: WSGIApplication, settings: Settings) -> None:
        self.app = app
        self.trusted = settings.trusted_proxies
        self.is_development = settings.is_development
        self.is_logged = Lock()  # taken by the first who logs it

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        forwarded_for, scheme = environ.get(FORWARDED_FOR, ""), environ.get(FORWARDED_PROTO, "")
        caller = find_caller(environ.get("REMOTE_ADDR", ""), forwarded_for, scheme, self.trusted)
        environ["REMOTE_ADDR"] = caller.address
        environ["wsgi.url_scheme"] = caller.scheme or environ["wsgi.url_scheme"]
        if not self.is_development:  # a loopback issuer refuses them instead, because somebody set up a proxy
            forwarded = FORWARDED_HEADERS & environ.keys()
            for name in forwarded:
                del environ[name]
            if forwarded and not caller.is_through_proxy and self.is_logged.acquire(blocking=False):
                log.warning(UNTRUSTED, caller.address or "a Unix socket")
        return self.app(environ, start_response)


class HostNormalizer:
    """Writes the Host header as the issuer's own, and into the environ whether it was another.

    RFC 9110 §4.2.3, §7.2. Flask makes no URLs for a request whose Host is none: not even those of the page
    that says so.
    """

    def __init__(self, app: WSGIApplication, own: str, scheme: str) -> None:
        self.app = app
        self.own = own
        self.scheme = scheme
        self.normal = authority.normalize(own, scheme)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        host = environ.get("HTTP_HOST", "")
        environ[FOREIGN_HOST] = host != self.own and authority.normalize(host, self.scheme) != self.normal
        environ["HTTP_HOST"] = self.own
        return self.app(environ, start_response)


class PathPrefix:
    """Serves the application under the issuer's path: `url_for` writes it, `request.path` is without it.

    Asked at the root of the host are only the metadata, with the path behind the document's name (RFC 8414
    §3.1), and health.
    """

    def __init__(self, app: WSGIApplication, path: str, policies: PolicyTable) -> None:
        self.app = app
        self.path = path
        self.policies = policies

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        asked = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        inside = self.find_inside(asked)
        environ["SCRIPT_NAME"] = self.path
        environ["PATH_INFO"] = asked if inside is None else inside
        environ[OUTSIDE_PREFIX] = inside is None
        return self.app(environ, start_response)

    def find_inside(self, asked: str) -> str | None:
        """Return the path as the application knows it; None for one that is not its own."""
        if asked == self.path or asked.startswith(f"{self.path}/"):
            return asked.removeprefix(self.path) or "/"
        if asked.endswith(self.path) and asked.removesuffix(self.path) in self.policies.documents:
            return asked.removesuffix(self.path)
        return asked if asked in self.policies.at_any_host else None
