"""What every request meets before its view, and every response after it: Host, proxies, the issuer's path, origins, headers.

Nothing here touches the database. The issuer comes from the settings, never from a header; a Host that is not the issuer's is
refused (DNS rebinding), and forwarded headers count from trusted proxies only.
"""

import logging
import re
import secrets
from threading import Lock
from typing import Any
from urllib.parse import quote, urlsplit

from flask import Flask, Response, abort, g, request
from werkzeug.http import parse_date

import events
from config import Settings
from errors import is_machine_path, json_error, page_error
from events import Reason, because
from protocol import authority
from protocol.client_address import find_caller
from protocol.redirect_uris import is_loopback_host

log = logging.getLogger("ostiary.front_door")

ANY_HOST_PATHS = ("/healthz", "/readyz")
METADATA_PATHS = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")
REQUEST_ID = "ostiary.request_id"  # in the environ, for the line that the server writes
OUTSIDE = "ostiary.outside"  # in the environ: whether the address is not below the issuer's path
ANOTHER_HOST = "ostiary.another_host"  # in the environ: whether the Host is not the issuer's
FORWARDED_HEADERS = ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST", "HTTP_FORWARDED")
UNTRUSTED = (
    "forwarded headers came from %s, which OSTIARY_TRUSTED_PROXIES does not name: they do not count. If that is your proxy,"
    " everybody behind it has one address and shares its throttles. This is said once"
)
DATE_HEADERS = {"HTTP_IF_MODIFIED_SINCE", "HTTP_IF_UNMODIFIED_SINCE", "HTTP_IF_RANGE"}
CSP = (
    "default-src 'none'; {script}style-src 'self'; img-src 'self'; font-src 'self'; "
    "{form_action}base-uri 'none'; frame-ancestors 'none'"
)
COLOURS = re.compile(r"\x1b\[\d*m")
HTTP_VERSION = re.compile(r" HTTP/\d\.\d$")
ENCODED_SLASH = re.compile(r"%(?:2f|5c)", re.IGNORECASE)
MAXIMUM_BODY = 64 * 1024
MAXIMUM_FIELDS = 100


def init_app(app: Flask, settings: Settings) -> None:
    app.config.update(
        MAX_CONTENT_LENGTH=MAXIMUM_BODY,
        MAX_FORM_MEMORY_SIZE=MAXIMUM_BODY,
        MAX_FORM_PARTS=MAXIMUM_FIELDS,
    )
    own_host = urlsplit(settings.issuer).netloc
    app.wsgi_app = OneHost(app.wsgi_app, own_host, urlsplit(settings.issuer).scheme)  # type: ignore[method-assign]
    if settings.path:
        app.wsgi_app = Mounted(app.wsgi_app, settings.path)  # type: ignore[method-assign]
    app.wsgi_app = TrustedProxies(app.wsgi_app, settings)  # type: ignore[method-assign]

    @app.before_request
    def meet() -> Response | None:
        g.request_id = request.environ[REQUEST_ID] = secrets.token_hex(8)
        if has_odd_slashes(request.environ) or request.environ.get(OUTSIDE):
            abort(404)
        drop_impossible_dates(request.environ)
        if request.path not in ANY_HOST_PATHS:
            if request.environ[ANOTHER_HOST]:
                because(Reason.WRONG_HOST)
                return point_to(settings)
            if settings.is_development and any(name in request.environ for name in FORWARDED_HEADERS):
                because(Reason.NOT_LOOPBACK)
                text = "A loopback issuer is not served through a proxy: set OSTIARY_ISSUER.\n"
                return Response(text, 400, mimetype="text/plain")
            if settings.is_development and not is_loopback(request.remote_addr):
                because(Reason.NOT_LOOPBACK)
                return Response("A loopback issuer serves this machine only.\n", 400, mimetype="text/plain")
        check_origin(settings.origin)
        return None

    logging.getLogger("werkzeug").addFilter(without_query)

    app.after_request(events.write_refusal)  # the first to be named is the last to run: then the answer is known

    @app.after_request
    def dress(response: Response) -> Response:
        headers = response.headers
        headers.setdefault("X-Content-Type-Options", "nosniff")
        headers.setdefault("Referrer-Policy", "no-referrer")
        headers.setdefault("Request-Id", g.get("request_id", ""))
        if settings.is_https:
            headers.setdefault("Strict-Transport-Security", "max-age=31536000")
        if not is_machine_path(request.path):
            policy = CSP.format(script=g.get("script", ""), form_action=g.get("form_action", "form-action 'self'; "))
            headers.setdefault("Content-Security-Policy", policy)
            headers.setdefault("X-Frame-Options", "DENY")
        if request.endpoint != "static":
            headers.setdefault("Cache-Control", "no-store")
        return response


def point_to(settings: Settings) -> Response:
    """The answer to another Host: where this server is. Not where the caller came from, nor its query, which may hold a secret."""
    if is_machine_path(request.path):
        return json_error(400, "invalid_request", f"this server is at {settings.issuer}")
    path = request.environ.get("SCRIPT_NAME", "") + request.environ.get("PATH_INFO", "")  # bytes, as WSGI writes them
    address = settings.origin + quote(path.encode("latin-1"), safe="/:@!$&'()*+,;=")  # RFC 3986 §3.3
    text = f"This server is at {settings.issuer}, and was asked for under another address."
    return page_error(400, "Not this address", text, link=(address, "Go on at the right address"))


def has_odd_slashes(environ: dict[str, Any]) -> bool:
    """Whether a path only becomes one of ours on its way: `//oauth/token`, `/oauth%2ftoken` (RFC 3986 §6.2.2).

    A rule that a proxy has for a path must not be passed by with another spelling of it.
    """
    path, raw_path = environ.get("PATH_INFO", ""), environ.get("RAW_URI", "").partition("?")[0]
    return not path.startswith("/") or "//" in path or ENCODED_SLASH.search(raw_path) is not None


def drop_impossible_dates(environ: dict[str, Any]) -> None:
    """A date that cannot be read counts as left out (RFC 9110 §13.1.3). Werkzeug 3.1 raises OverflowError for some."""
    for name in DATE_HEADERS & environ.keys():
        try:
            parse_date(environ[name])
        except OverflowError:
            del environ[name]


def is_loopback(address: str | None) -> bool:
    """Whether a peer is on this machine; a Unix socket has no address and is."""
    return not address or is_loopback_host(address)


def check_origin(own: str) -> None:
    """Refuse a form that another site's page sent. The CSRF token proves the same; this needs no cookie to work.

    Our pages send no Referer, so a browser may say "Origin: null" of them: then Sec-Fetch-Site has told the truth.
    """
    if request.method != "POST" or is_machine_path(request.path) or is_foreign_by_design():
        return
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    origin = request.headers.get("Origin", "null")
    if site not in ("same-origin", "none") or origin not in ("null", own):
        because(Reason.FOREIGN_ORIGIN)
        abort(page_error(400, "Not from here", "This form was sent by another site."))


def is_foreign_by_design() -> bool:
    """What a client's page may send by POST (RFC 6749 §3.1, RP-Initiated Logout §2); it decides nothing."""
    decision = {"/oauth/authorize": "ticket", "/oauth/logout": "who"}.get(request.path)
    return decision is not None and decision not in request.form


def allow_form_action_anywhere() -> None:
    """Let this page's form be answered by a redirect to a client: browsers hold the policy against each redirect of the chain,
    those that the client's own callback answers with too, and nobody can name them all."""
    g.form_action = ""


def allow_own_script() -> None:
    """Let this page run a script file of this site, which may ask this site alone. Any other page runs none."""
    g.script = "script-src 'self'; connect-src 'self'; "


class WithoutQuery(logging.Filter):
    """Takes the query out of the development server's lines: it holds codes, tickets and states. What is left has no colours, and
    no quotation mark of the request's own.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(without_secrets(part) if isinstance(part, str) else part for part in record.args)
        return True


def without_secrets(request_line: str) -> str:
    before, mark, after = COLOURS.sub("", request_line).partition("?")
    version = HTTP_VERSION.search(after) if mark else None
    return before.replace('"', "%22") + (version[0] if version else "")


without_query = WithoutQuery()  # one for all apps: a logger takes the same filter once


class TrustedProxies:
    """Writes into the environ who the client is; from there on REMOTE_ADDR and the scheme are the truth, and nothing else is.

    Of forwarded headers nothing is left for anybody to read. Where they come from somebody who is not trusted, a proxy was
    perhaps forgotten in the settings: the log is told, once.
    """

    def __init__(self, app: object, settings: Settings) -> None:
        self.app = app
        self.trusted = settings.trusted_proxies
        self.is_development = settings.is_development
        self.told = Lock()  # taken by the first who tells

    def __call__(self, environ, start_response):  # type: ignore[no-untyped-def]
        peer, said, scheme = (environ.get(name, "") for name in ("REMOTE_ADDR", *FORWARDED_HEADERS[:2]))
        caller = find_caller(peer, said, scheme, self.trusted)
        environ["REMOTE_ADDR"] = caller.address
        environ["wsgi.url_scheme"] = caller.scheme or environ["wsgi.url_scheme"]
        if not self.is_development:  # a loopback issuer refuses them instead, because somebody set up a proxy
            forwarded = [name for name in FORWARDED_HEADERS if environ.pop(name, None) is not None]
            if forwarded and not caller.is_through_proxy and self.told.acquire(blocking=False):
                log.warning(UNTRUSTED, caller.address or "a Unix socket")
        return self.app(environ, start_response)  # type: ignore[operator]


class OneHost:
    """Writes the Host header in the issuer's own spelling (RFC 9110 §4.2.3, §7.2), and notes where it was not the issuer's at all.

    Flask makes no URLs for a request whose Host is none: not even those of the page that says so.
    """

    def __init__(self, app: object, own: str, scheme: str) -> None:
        self.app = app
        self.own = own
        self.scheme = scheme
        self.normal = authority.normal(own, scheme)

    def __call__(self, environ, start_response):  # type: ignore[no-untyped-def]
        host = environ.get("HTTP_HOST", "")
        environ[ANOTHER_HOST] = host != self.own and authority.normal(host, self.scheme) != self.normal
        environ["HTTP_HOST"] = self.own
        return self.app(environ, start_response)  # type: ignore[operator]


class Mounted:
    """Serves the application under the issuer's path: `url_for` writes that path, `request.path` is without it.

    Asked at the root of the host are only the metadata, with the path behind the document's name (RFC 8414 §3.1), and health.
    """

    def __init__(self, app: object, path: str) -> None:
        self.app = app
        self.path = path
        self.at_root = {name + path: name for name in METADATA_PATHS} | {name: name for name in ANY_HOST_PATHS}

    def __call__(self, environ, start_response):  # type: ignore[no-untyped-def]
        asked = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        inside = self.find_inside(asked)
        environ["SCRIPT_NAME"] = self.path
        environ["PATH_INFO"] = asked if inside is None else inside
        environ[OUTSIDE] = inside is None
        return self.app(environ, start_response)  # type: ignore[operator]

    def find_inside(self, asked: str) -> str | None:
        """The address as the application knows it; None for one that is not its own."""
        if asked == self.path or asked.startswith(f"{self.path}/"):
            return asked.removeprefix(self.path) or "/"
        return self.at_root.get(asked)
