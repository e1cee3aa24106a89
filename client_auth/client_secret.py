"""`client_secret_basic` and `client_secret_post`: a generated secret, in the header or in the body (RFC 6749
§2.3.1).
"""

from collections.abc import Callable
from typing import Any

from models import Client
from protocol import client_assertion, parameters
from services.current import delivery, secret_uses
from services.event_log import Reason, set_reason

QueryClient = Callable[[str], Client | None]


def authenticate_basic(query_client: QueryClient, request: Any) -> Client | None:
    """The client of the Authorization header. A `client_id` in the body must be the same."""
    credentials = parameters.parse_basic(request.headers.get("Authorization", ""))
    if credentials is None:
        return None
    client_id, secret = credentials
    if request.form.get("client_id", client_id) != client_id:
        set_reason(Reason.CLIENT_NOT_NAMED)
        return None
    return with_right_secret(query_client(client_id) if client_id else None, secret, "client_secret_basic")


def authenticate_post(query_client: QueryClient, request: Any) -> Client | None:
    """The client of `client_id` and `client_secret` in the body."""
    client_id, secret = request.form.get("client_id"), request.form.get("client_secret")
    if not client_id or not secret:
        return None
    return with_right_secret(query_client(client_id), secret, "client_secret_post")


def presented_client_id(request: Any) -> str:
    """Who a request says it comes from, whether it proves it or not; "" when it does not say."""
    credentials = parameters.parse_basic(request.headers.get("Authorization", ""))
    if credentials is not None:
        return credentials[0]
    return request.form.get("client_id") or client_assertion.claimed_client_id(
        request.form.get("client_assertion", "")
    )


def with_right_secret(client: Client | None, secret: str, method: str) -> Client | None:
    number = client.number_of_secret(secret) if client is not None else None
    if client is not None and number is not None:
        note_use(client, number)
        return client
    if client is not None and client.check_endpoint_auth_method(method, "token"):
        set_reason(Reason.WRONG_SECRET)
    return None


def note_use(client: Client, number: int) -> None:
    """Which of its secrets the client has shown: stored by the delivery, after this request and beside it."""
    if secret_uses.note(client.client_id, number):
        delivery.wake()
