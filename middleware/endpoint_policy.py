"""The front guard before a machine endpoint: this request's parts, put before the rules of
`protocol/parameters.py`.
"""

from collections.abc import Callable
from functools import wraps

from authlib.oauth2.rfc6749 import InvalidRequestError, OAuth2Error
from flask import Response, request

from protocol.parameters import check_form
from services.current import server


def form_endpoint(required: str) -> Callable[[Callable[[], Response]], Callable[[], Response]]:
    """A view that runs only for a well-formed form request with the parameter `required`; others get the
    registered error.
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
    """Raises InvalidRequestError."""
    names = check_form(
        request.content_type or "",
        request.query_string,
        request.form.items(multi=True),
        request.headers.get("Authorization", ""),
    )
    if required not in names:
        raise InvalidRequestError(f"{required} is missing")
