"""The errors of a client that could not prove who it is: 401, and 429 after too many failures."""

from authlib.oauth2.rfc6749 import InvalidClientError
from flask import request as flask_request


class ClientAuthenticationFailed(InvalidClientError):
    """401: one answer for an unknown client, a wrong secret and a wrong method (RFC 6749 §5.2).

    A client that tried Basic gets a challenge.
    """

    description = "client authentication failed"
    status_code = 401

    def get_headers(self) -> list[tuple[str, str]]:
        headers = [header for header in super().get_headers() if header[0] != "WWW-Authenticate"]
        if "Authorization" in flask_request.headers:
            headers.append(("WWW-Authenticate", 'Basic realm="ostiary"'))
        return headers


class TooManyFailures(ClientAuthenticationFailed):
    """429 after too many failed client authentications.

    A client that sends the right secret is still answered.
    """

    description = "too many failed client authentications, wait before the next"
    status_code = 429

    def __init__(self, seconds_to_wait: int) -> None:
        super().__init__()
        self.seconds_to_wait = seconds_to_wait

    def get_headers(self) -> list[tuple[str, str]]:
        return [*super().get_headers(), ("Retry-After", str(self.seconds_to_wait))]
