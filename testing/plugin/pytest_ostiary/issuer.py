"""An issuer: its clients and users, its metadata, and a person's way through its pages."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit, urlunsplit

from pytest_ostiary.browser import Browser, Page

METADATA = "/.well-known/oauth-authorization-server"


class OstiaryError(Exception):
    """The server did not start, or a page answered something else than what was wanted."""


class Client(NamedTuple):
    """A registered client: a tuple that `requests` takes for `auth`. A public client has no secret."""

    client_id: str
    client_secret: str | None


class User(NamedTuple):
    """A person who can sign in."""

    email: str
    sub: str
    name: str


class Issuer:
    """An issuer: its `issuer`, its `clients` by client_id, its `users` by email address in lower case."""

    def __init__(self, issuer: str = "") -> None:
        self.issuer = issuer
        self.clients: dict[str, Client] = {}
        self.users: dict[str, User] = {}

    def remember(self, seeded: Mapping[str, Any]) -> None:
        """Remember what `flask seed` has printed."""
        for client in seeded["clients"]:
            self.clients[client["client_id"]] = Client(client["client_id"], client.get("client_secret"))
        for user in seeded["users"]:
            self.users[user["email"]] = User(user["email"], user["sub"], user["name"])

    def metadata(self) -> dict[str, Any]:
        """Return the authorization server metadata (RFC 8414)."""
        metadata: dict[str, Any] = json.loads(self.ask_for_metadata().text)
        return metadata

    def ask_for_metadata(self) -> Page:
        """Return the answer at the address of the metadata: the issuer's path comes last (RFC 8414 §3.1)."""
        parts = urlsplit(self.issuer)
        return Browser(self.issuer).open(urlunsplit(parts._replace(path=METADATA + parts.path)))

    def authorize(
        self,
        request: str | Mapping[str, str],
        email: str,
        password: str,
        *,
        decision: str = "allow",
    ) -> str:
        """Return the URL that a person who goes through the pages is sent back to, with the code in it.

        request: the URL that the application sent the browser to, or the parameters of that request.
        decision: "allow" or "deny". Raises OstiaryError with the words of the page where it ends on one.
        """
        url = request if isinstance(request, str) else f"{self.issuer}/oauth/authorize?{urlencode(request)}"
        if not url.startswith(f"{self.issuer}/"):
            raise OstiaryError(f"{url} is not at {self.issuer}")
        browser = Browser(self.issuer)
        page = browser.open(url)
        if form := page.form_with("password"):
            page = browser.open(form.url, form.fields | {"email": email, "password": password})
        if form := page.form_with("decision"):
            page = browser.open(form.url, form.fields | {"decision": decision})
        if page.location is None:
            what = f"a page with status {page.status}: {page.words()}"
            raise OstiaryError(f"no redirect to the client, but {what}")
        return page.location
