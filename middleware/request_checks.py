"""Check every request before its view: its Host, its path, its origin, and headers that cannot be meant.

Nothing here asks the database. The issuer comes from the settings, never from a header; a Host that is not
the issuer's is refused (DNS rebinding).
"""

import re
import secrets
from urllib.parse import quote
from wsgiref.types import WSGIEnvironment

import flask
from flask import Response, abort, g, request
from werkzeug.http import parse_date

from middleware.endpoint_policy import MAXIMUM_BODY, current_policy, is_form_of_ours, policy_of
from middleware.error_responses import answer_unserved, json_error, page_error
from middleware.proxies import (
    FOREIGN_HOST,
    FORWARDED_HEADERS,
    OUTSIDE_PREFIX,
    UNSERVED,
)
from protocol.redirect_uris import is_loopback_host
from services.current import settings, tenant
from services.event_log import Reason, set_reason

REQUEST_ID = "ostiary.request_id"  # in the environ, for the line that the server writes
DATE_HEADERS = {"HTTP_IF_MODIFIED_SINCE", "HTTP_IF_UNMODIFIED_SINCE", "HTTP_IF_RANGE"}
ENCODED_SLASH = re.compile(r"%(?:2f|5c)", re.IGNORECASE)
MAXIMUM_FIELDS = 100


class Request(flask.Request):
    """A request with this server's limits. Flask would look for them in the app's config, again and again."""

    max_form_memory_size = MAXIMUM_BODY
    max_form_parts = MAXIMUM_FIELDS

    @property  # type: ignore[misc]  # Flask's can be set
    def max_content_length(self) -> int:  # type: ignore[override]
        """Return how long a body may be that is read at this address."""
        return policy_of(self.environ).body_limit


def check_request() -> Response | None:
    """Return a refusal, or None where the view may run."""
    environ = request.environ
    g.request_id = environ[REQUEST_ID] = secrets.token_hex(8)
    if has_odd_slashes(environ) or environ.get(OUTSIDE_PREFIX):
        abort(404)
    if UNSERVED in environ:
        return answer_unserved(environ[UNSERVED])
    drop_impossible_dates(environ)
    policy = policy_of(environ)
    if not policy.any_host and (refusal := refuse_host(environ)):
        return refusal
    if not policy.is_for_programs:
        check_origin(settings.origin)
    return None


def refuse_host(environ: WSGIEnvironment) -> Response | None:
    """Return a refusal where another Host is asked for, or a loopback issuer from another machine."""
    if environ[FOREIGN_HOST]:
        set_reason(Reason.WRONG_HOST)
        return wrong_host_response()
    if not tenant().settings.is_development:
        return None
    if FORWARDED_HEADERS & environ.keys():
        set_reason(Reason.NOT_LOOPBACK)
        text = "A loopback issuer is not served through a proxy: set OSTIARY_ISSUER.\n"
        return Response(text, 400, mimetype="text/plain")
    if not is_loopback(environ.get("REMOTE_ADDR")):
        set_reason(Reason.NOT_LOOPBACK)
        return Response("A loopback issuer serves this machine only.\n", 400, mimetype="text/plain")
    return None


def wrong_host_response() -> Response:
    """Return the answer to another Host: where this server is.

    Neither where the caller came from nor its query, which may hold a secret, is in it.
    """
    if current_policy().is_for_programs:
        return json_error(400, "invalid_request", f"this server is at {settings.issuer}")
    # bytes, as WSGI writes them
    path = request.environ.get("SCRIPT_NAME", "") + request.environ.get("PATH_INFO", "")
    address = settings.origin + quote(path.encode("latin-1"), safe="/:@!$&'()*+,;=")  # RFC 3986 §3.3
    text = f"This server is at {settings.issuer}, and was asked for under another address."
    return page_error(400, "Not this address", text, link=(address, "Go on at the right address"))


def has_odd_slashes(environ: WSGIEnvironment) -> bool:
    """Return whether a path becomes one of ours only by another spelling.

    `//oauth/token`, `/oauth%2ftoken` (RFC 3986 §6.2.2): a proxy's rule for our path would not have seen it.
    """
    path, raw_path = environ.get("PATH_INFO", ""), environ.get("RAW_URI", "").partition("?")[0]
    return not path.startswith("/") or "//" in path or ENCODED_SLASH.search(raw_path) is not None


def drop_impossible_dates(environ: WSGIEnvironment) -> None:
    """Remove dates that cannot be read.

    They count as left out (RFC 9110 §13.1.3), and Werkzeug 3.1 raises OverflowError for some.
    """
    for name in DATE_HEADERS & environ.keys():
        try:
            parse_date(environ[name])
        except OverflowError:
            del environ[name]


def is_loopback(address: str | None) -> bool:
    """Return whether a peer is on this machine; a Unix socket has no address and is."""
    return not address or is_loopback_host(address)


def check_origin(own: str) -> None:
    """Refuse a form of ours that another site's page sent.

    The CSRF token proves the same; this works without cookies. own: the issuer's origin. Our pages send no
    Referer, so a browser may send "Origin: null" with their forms: there Sec-Fetch-Site tells.
    """
    if not is_form_of_ours():
        return
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    origin = request.headers.get("Origin", "null")
    if site not in ("same-origin", "none") or origin not in ("null", own):
        set_reason(Reason.FOREIGN_ORIGIN)
        abort(page_error(400, "Not from here", "This form was sent by another site."))
