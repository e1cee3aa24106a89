"""The demo of a loopback issuer: a public client whose application is this site's own page, and a person to
sign in as.

Callers ask only where the issuer is on loopback. The rows are ordinary ones: they are changed and removed
like any other.
"""

from sqlalchemy import or_, select

import store.clients
from models import Client, User, db
from protocol import redirect_uris

CLIENT_ID = "demo"  # generated ids are longer, so it is nobody else's
EMAIL = "demo@example.com"  # RFC 2606 §3: example.com is nobody's
PATH = "/demo"


def redirect_uri(issuer: str) -> str:
    """The page that the demo client is, and that answers come back to."""
    return f"{issuer}{PATH}"


def find_client(issuer: str) -> Client | None:
    """The demo client, if it is there and may be answered at this issuer's page."""
    client = store.clients.find(CLIENT_ID)
    is_usable = client is not None and redirect_uris.is_registered(redirect_uri(issuer), client.redirect_uris)
    return client if is_usable else None


def is_nobody_there() -> bool:
    """Whether there is neither a person nor a client yet."""
    anybody = or_(select(User.id).exists(), select(Client.client_id).exists())
    return not db.session.scalar(select(anybody))
