"""Let pages of other origins read our answers (CORS), as the policy of each endpoint says.

Enters: a view. Leaves: its response, which names the origin where a public client is registered there; errors
too, so that a page can tell what went wrong. Credentials are never allowed, and `null` is nobody's origin. A
preflight (Fetch, CORS-preflight fetch) runs no view, and is cached for as long as browsers cache any. It
allows whatever request headers a page names, but for those that would forge something. `Authorization` too:
what a page sends in it the page knows already, and clients send it with requests for metadata, where nobody
reads it.
"""

import re
from collections.abc import Callable, Iterator
from wsgiref.types import WSGIEnvironment

from flask import Response, request
from flask.typing import ResponseReturnValue

import store.clients
from middleware.endpoint_policy import Cors, current_policy, policy_of
from protocol import redirect_uris

EXPOSED = "WWW-Authenticate, Retry-After, Request-Id"
ORIGIN = "ostiary.origin"  # in the environ: the origin that may read the answer
PREFLIGHT = {"HTTP_ORIGIN", "HTTP_ACCESS_CONTROL_REQUEST_METHOD"}  # the headers that make one

PREFLIGHT_SECONDS = 7200  # Chromium keeps none for longer
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")  # RFC 9110 §5.1
MAXIMUM_HEADERS = 30
ALWAYS = ("Authorization", "Content-Type")  # where tokens are used
# What a browser proves by itself, what a proxy or a framework takes for another address, method, host or
# caller, and the name that stands for all names.
NEVER = frozenset(
    "* cookie cookie2 set-cookie set-cookie2 host origin referer forwarded via x-real-ip"
    " true-client-ip x-client-ip"
    " x-host x-original-url x-original-uri x-original-host x-rewrite-url x-http-method"
    " x-http-method-override x-method-override"
    " connection content-length expect keep-alive te trailer transfer-encoding upgrade date dnt".split()
)
NEVER_BEGINNINGS = ("proxy-", "sec-", "x-forwarded-", "access-control-", "cf-", "x-ssl-", "x-client-cert")


def add_headers(response: Response, environ: WSGIEnvironment) -> None:
    """Add the headers after the transaction, so that pages read also that the storage is away."""
    cors = policy_of(environ).cors
    if cors is Cors.PUBLIC_CLIENTS:
        # Also without an Origin: a cache must not give a page what was answered to somebody else.
        response.vary.add("Origin")
    if origin := "*" if cors is Cors.ANY_ORIGIN else environ.get(ORIGIN):
        response.headers.add("Access-Control-Allow-Origin", origin)
        if not is_preflight(environ):
            response.headers.add("Access-Control-Expose-Headers", EXPOSED)


def with_origin_check(
    view: Callable[[], ResponseReturnValue], environ: WSGIEnvironment
) -> Callable[[], ResponseReturnValue]:
    """Return a view that answers preflights, and lets a page of a known origin read what `view` answers.

    One indexed SELECT where an Origin is sent.
    """
    cors = policy_of(environ).cors
    if cors is Cors.ANY_ORIGIN:
        return (lambda: preflight(())) if is_preflight(environ) else view
    return (lambda: answer_known_origin(view, environ)) if cors is Cors.PUBLIC_CLIENTS else view


def answer_known_origin(
    view: Callable[[], ResponseReturnValue], environ: WSGIEnvironment
) -> ResponseReturnValue:
    """Return the view's response, or that to a preflight, once it is known whose origin asks."""
    origin = environ.get("HTTP_ORIGIN")
    if (
        origin is not None
        and could_be_registered(origin)
        and store.clients.is_origin_of_public_client(origin)
    ):
        environ[ORIGIN] = origin
    if not is_preflight(environ):
        return view()
    return preflight(ALWAYS) if ORIGIN in environ else Response(status=204)


def is_preflight(environ: WSGIEnvironment) -> bool:
    """Return whether a browser asks whether a page may send a request."""
    return environ["REQUEST_METHOD"] == "OPTIONS" and PREFLIGHT <= environ.keys()


def could_be_registered(origin: str) -> bool:
    """Return whether an origin is written as browsers write it; the database is asked about no other."""
    if len(origin) > redirect_uris.MAXIMUM_LENGTH or not redirect_uris.URI_CHARACTERS.fullmatch(origin):
        return False
    try:
        return redirect_uris.origin(origin) == origin
    except ValueError:
        return False


def preflight(always: tuple[str, ...]) -> Response:
    """Return the answer to a preflight.

    always: headers that are allowed whether or not the page names them.
    """
    response = Response(status=204)
    response.headers["Access-Control-Allow-Methods"] = ", ".join(current_policy().methods)
    response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)
    known = {name.lower() for name in always}
    if allowed := [*always, *(name for name in allowed_headers() if name.lower() not in known)]:
        response.headers["Access-Control-Allow-Headers"] = ", ".join(allowed)
    response.vary.update(["Access-Control-Request-Headers"])
    return response


def allowed_headers() -> Iterator[str]:
    """Yield those of the request headers that the page names which forge nothing."""
    named = request.headers.get("Access-Control-Request-Headers", "").split(",")
    for name in dict.fromkeys(part.strip().lower() for part in named[:MAXIMUM_HEADERS]):
        if HEADER_NAME.fullmatch(name) and name not in NEVER and not name.startswith(NEVER_BEGINNINGS):
            yield name
