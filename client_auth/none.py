"""No client authentication, `none`: a public client only names itself (RFC 6749 §2.1, OAuth 2.1 §2.4).

PKCE and rotation protect what it gets.
"""

from client_auth.client_secret import QueryClient
from protocol.registered_client import RegisteredClient
from services.oauth2_types import OAuth2Request


def authenticate(query_client: QueryClient, request: OAuth2Request) -> RegisteredClient | None:
    """Return the client that `client_id` names, or None where the request has a proof of another method."""
    client_id = request.form.get("client_id")
    if (
        not client_id
        or {"client_secret", "client_assertion"} & request.form.keys()
        or "Authorization" in request.headers
    ):
        return None
    return query_client(client_id)
