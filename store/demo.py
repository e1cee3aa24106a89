"""The demo of an issuer on loopback: a public client that is a page of this site, and a user to sign in as.

Callers use it only where the issuer is on loopback. The rows are ordinary ones: they are changed and deleted
like any other.
"""

from sqlalchemy import or_, select

import store.clients
from database.tenancy import own
from models import Client, User, db
from protocol import redirect_uris

CLIENT_ID = "demo"  # generated ids are longer
EMAIL = "demo@example.com"  # example.com is reserved (RFC 2606 §3)
PATH = "/demo"


def redirect_uri(issuer: str) -> str:
    """Return the address of the page that is the demo client."""
    return f"{issuer}{PATH}"


def find_client(issuer: str) -> Client | None:
    """Return the demo client where it exists and its page is registered, else None."""
    client = store.clients.find(CLIENT_ID)
    is_usable = client is not None and redirect_uris.is_registered(redirect_uri(issuer), client.redirect_uris)
    return client if is_usable else None


def is_nobody_there() -> bool:
    """Return whether there is neither a user nor a client yet."""
    anybody = or_(
        select(User.id).where(own(User)).exists(), select(Client.client_id).where(own(Client)).exists()
    )
    return not db.session.scalar(select(anybody))
