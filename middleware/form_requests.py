"""Check a protocol request that was sent as a form, before its view.

A program sends it, or a client's page makes a browser send it.
"""

from collections.abc import Callable
from functools import wraps
from urllib.parse import urlencode

from authlib.oauth2.rfc6749 import InvalidRequestError, OAuth2Error
from flask import Response, redirect, request
from flask.typing import ResponseReturnValue

from protocol.parameters import check_form
from services.current import server

MAXIMUM_QUERY = 15_000  # what fits into a request line of 16 KiB


def form_endpoint(required: str) -> Callable[[Callable[[], Response]], Callable[[], Response]]:
    """Return a decorator: its view runs for a well-formed form that has the parameter `required`.

    Any other request gets the registered error.
    """

    def decorate(view: Callable[[], Response]) -> Callable[[], Response]:
        @wraps(view)
        def run() -> Response:
            try:
                check_request(required)
            except OAuth2Error as error:
                return server.handle_error_response(None, error)
            return view()

        return run

    return decorate


def check_request(required: str) -> None:
    """Check this request by the rules of `protocol/parameters.py`. Raises InvalidRequestError."""
    environ = request.environ
    names = check_form(
        environ.get("CONTENT_TYPE", ""),
        environ.get("QUERY_STRING", ""),
        request.form.items(multi=True),
        environ.get("HTTP_AUTHORIZATION", ""),
    )
    if required not in names:
        raise InvalidRequestError(f"{required} is missing")


def sent_pairs() -> list[tuple[str, str]]:
    """Return the parameters of the address and of the form: one that is in both was given twice."""
    return [*request.args.items(multi=True), *request.form.items(multi=True)]


def redirect_to_get() -> ResponseReturnValue:
    """Return a redirect that repeats the POST of a client's page as a GET.

    RFC 6749 §3.1, RP-Initiated Logout §2. A GET comes with the cookies of this browser, which a foreign form
    is sent without. Raises InvalidRequestError where the parameters are too long for an address.
    """
    query = urlencode(sent_pairs())
    if len(query) > MAXIMUM_QUERY:
        raise InvalidRequestError("the request is too long")
    return redirect(f"{request.script_root}{request.path}?{query}", 303)
