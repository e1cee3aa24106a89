"""`none`: a public client only names itself; PKCE and rotation protect what it gets (RFC 6749 §2.1, OAuth 2.1
§2.4).
"""

from typing import Any

from client_auth.client_secret import QueryClient
from models import Client


def authenticate(query_client: QueryClient, request: Any) -> Client | None:
    """The client that `client_id` names, where the request carries nothing that would prove more."""
    client_id = request.form.get("client_id")
    if (
        not client_id
        or {"client_secret", "client_assertion"} & request.form.keys()
        or "Authorization" in request.headers
    ):
        return None
    return query_client(client_id)
