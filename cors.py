"""Which pages of other origins may read our answers (CORS): those of public clients, at the endpoints that they need.

Enters: a view of a machine endpoint. Leaves: its response, with the origin named in it when a public client is registered there;
errors too, so that a page can tell what went wrong. Credentials are never allowed, and `null` is nobody's origin. Metadata is
for everybody (`endpoints/discovery.py`); introspection and authorization are for no page at all.
"""

from collections.abc import Callable

from flask import Response, request
from flask.typing import ResponseReturnValue

import store.clients
from unit_of_work import answer

SHARED = {"/oauth/token": "POST", "/oauth/revoke": "POST", "/oauth/userinfo": "GET, POST", "/api/me": "GET"}
PREFLIGHT_SECONDS = 600


def shared(view: Callable[[], ResponseReturnValue]) -> Callable[[], ResponseReturnValue]:
    """`view`, run so that a page of a known origin may read what it answers. One indexed SELECT where an Origin is sent."""
    return (lambda: share(view)) if request.path in SHARED else view


def share(view: Callable[[], ResponseReturnValue]) -> Response:
    origin = request.headers.get("Origin")
    is_known = origin is not None and store.clients.is_origin_of_public_client(origin)
    is_preflight = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
    response = Response(status=204) if is_preflight else answer(view)
    response.vary.add("Origin")  # without one too: a cache must not give a page what was answered to somebody else
    if is_known and origin is not None:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = "WWW-Authenticate, Retry-After, Request-Id"
        if is_preflight:
            response.headers["Access-Control-Allow-Methods"] = SHARED[request.path]
            response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
            response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)
    return response
