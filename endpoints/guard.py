"""The front guard as the machine endpoints call it: this request's parts, put before the rules of `protocol/parameters.py`."""

from authlib.oauth2.rfc6749 import InvalidRequestError
from flask import request

from protocol.parameters import check_form


def check_request(required: str) -> None:
    """Raises InvalidRequestError unless this is a well-formed form request that has the parameter `required`."""
    names = check_form(
        request.content_type or "",
        request.query_string,
        request.form.items(multi=True),
        request.headers.get("Authorization", ""),
    )
    if required not in names:
        raise InvalidRequestError(f"{required} is missing")
