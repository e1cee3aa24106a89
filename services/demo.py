"""The demo of a loopback issuer: a user and a public client, made once where nobody is there yet."""

import secrets
from typing import NamedTuple

import store.clients
import store.demo
import store.users
from models import Client
from services import clients, users
from services.client_members import ClientMembers
from services.current import issuer, settings
from services.users import NewUser

USER_NAME = "Demo"
CLIENT_NAME = "Ostiary demo"
EASY_TO_READ = "23456789abcdefghjkmnpqrstuvwxyz"  # nothing that looks like something else


class Demo(NamedTuple):
    """Where the demo is, who signs in to it, and the password when it was made just now."""

    url: str
    email: str | None
    password: str | None = None


def find_client() -> Client | None:
    """Return the demo client, where there is a demo. In production this asks nothing of the database."""
    return store.demo.find_client(issuer) if settings.is_development else None


def is_there() -> bool:
    """Return whether the demo client is registered, perhaps for the page of another issuer."""
    return store.clients.find(store.demo.CLIENT_ID) is not None


def make() -> Demo:
    """Store the client and the user, and return the demo with the user's password.

    Of two callers at once the second violates a unique key, is run again, and finds what the first made.
    """
    password = new_password()
    user = users.prepare(NewUser(store.demo.EMAIL, USER_NAME, password))
    clients.register(client_members(), store.demo.CLIENT_ID)
    users.add(user, is_verified=True)
    return Demo(store.demo.redirect_uri(issuer), store.demo.EMAIL, password)


def follow_issuer() -> Demo:
    """Register this issuer's page for the demo client, whichever issuer it was made at."""
    url = store.demo.redirect_uri(issuer)
    if store.demo.find_client(issuer) is None:
        client = clients.find_and_lock(store.demo.CLIENT_ID)
        if client is not None:
            clients.set_redirect_uris(client, [url])
    user = store.users.find_by_email(store.demo.EMAIL)
    return Demo(url, user.email if user is not None else None)


def client_members() -> ClientMembers:
    """Return the registration of a public client (OAuth 2.1 §2.1): a page cannot keep a secret."""
    return {
        "client_name": CLIENT_NAME,
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "redirect_uris": [store.demo.redirect_uri(issuer)],
        "scope": "profile email",
    }


def new_password() -> str:
    """Return four groups of four, good to read and to type: 79 random bits."""
    return "-".join("".join(secrets.choice(EASY_TO_READ) for _ in range(4)) for _ in range(4))
