"""Client authentication by a secret: `client_secret_basic` and `client_secret_post` (RFC 6749 §2.3.1).

The server has generated the secret; it comes in the Authorization header or in the body.
"""

from collections.abc import Callable

from flask import Request

from protocol import client_assertion, parameters
from protocol.auth_methods import CLIENT_SECRET_BASIC, CLIENT_SECRET_POST
from protocol.registered_client import RegisteredClient
from services.current import delivery, secret_uses
from services.event_log import Reason, set_reason
from services.oauth2_types import OAuth2Request

QueryClient = Callable[[str], RegisteredClient | None]


def authenticate_basic(query_client: QueryClient, request: OAuth2Request) -> RegisteredClient | None:
    """Return the client of the Authorization header, or None. A `client_id` in the body must be the same."""
    credentials = parameters.parse_basic(request.headers.get("Authorization", ""))
    if credentials is None:
        return None
    client_id, secret = credentials
    if request.form.get("client_id", client_id) != client_id:
        set_reason(Reason.CLIENT_NOT_NAMED)
        return None
    client = query_client(client_id) if client_id else None
    return check_secret(client, secret, CLIENT_SECRET_BASIC)


def authenticate_post(query_client: QueryClient, request: OAuth2Request) -> RegisteredClient | None:
    """Return the client of `client_id` and `client_secret` in the body, or None."""
    client_id, secret = request.form.get("client_id"), request.form.get("client_secret")
    if not client_id or not secret:
        return None
    return check_secret(query_client(client_id), secret, CLIENT_SECRET_POST)


def presented_client_id(request: Request) -> str:
    """Return the client that a request names, whether it proves that or not; "" where it names none."""
    credentials = parameters.parse_basic(request.headers.get("Authorization", ""))
    if credentials is not None:
        return credentials[0]
    return request.form.get("client_id") or client_assertion.claimed_client_id(
        request.form.get("client_assertion", "")
    )


def check_secret(client: RegisteredClient | None, secret: str, method: str) -> RegisteredClient | None:
    """Return the client where one of its secrets is the presented one, else None."""
    number = client.number_of_secret(secret) if client is not None else None
    if client is not None and number is not None:
        note_use(client, number)
        return client
    if client is not None and client.check_endpoint_auth_method(method, "token"):
        set_reason(Reason.WRONG_SECRET)
    return None


def note_use(client: RegisteredClient, number: int) -> None:
    """Record which of its secrets the client has used; the delivery thread stores it after this request."""
    if secret_uses.note(client.client_id, number):
        delivery.wake()
