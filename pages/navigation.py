"""Where a page leads next: inside this site, always (RFC 9700 §4.11), and on behalf of whom."""

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from flask import request, url_for

import store.clients
import store.tickets
from middleware.security_headers import omit_form_action
from protocol import clock, redirect_uris
from services import browser_ids

# One slash and then neither a slash nor a backslash: browsers read //host and /\host as another site.
LOCAL_PATH = re.compile(r"/(?![/\\])[\x21-\x5B\x5D-\x7E]*")


def local_path(text: str | None) -> str | None:
    """`text` when it is a path of this site with its query, else None."""
    if not text or not LOCAL_PATH.fullmatch(text):
        return None
    return text


def next_path() -> str:
    """Where to go after this page: its `next`, or home."""
    return local_path(request.args.get("next")) or url_for("home.home")


@dataclass(frozen=True)
class Pending:
    """The authorization request that a person signs in for."""

    ticket: str
    client_name: str
    redirect_host: str
    login_hint: str
    session_id: int | None  # whose it is so far


@dataclass(frozen=True)
class LostRequest:
    """An application whose request `next` would resume, were it still open."""

    client_name: str
    address: str | None  # where it is found
    # the browser sent none, so the request may be there and nobody can know whose it is
    is_without_cookies: bool


def pending_ticket() -> str | None:
    """The ticket of the request that `next` resumes."""
    return of_request("ticket")


def of_request(name: str) -> str | None:
    """A parameter of the address that `next` resumes a request by."""
    path = local_path(request.args.get("next"))
    if path is None or urlsplit(path).path != url_for("authorize.authorize"):
        return None
    return parse_qs(urlsplit(path).query).get(name, [None])[0]


def find_pending() -> Pending | None:
    """The request that `next` resumes, if it is this browser's.

    Lets the page's form end in a redirect to its client.
    """
    ticket = pending_ticket()
    row = store.tickets.find(ticket, browser_ids.digests(), clock.now()) if ticket is not None else None
    client = store.clients.find(row.client_id) if row is not None else None
    if ticket is None or row is None or client is None:
        return None
    redirect_uri = row.parameters.get("redirect_uri") or client.get_default_redirect_uri() or ""
    omit_form_action()
    hint = row.parameters.get("login_hint", "")
    hint = hint if "@" in hint else ""
    return Pending(ticket, client.client_name, redirect_uris.display_host(redirect_uri), hint, row.session_id)


def find_lost_request(pending: Pending | None) -> LostRequest | None:
    """The application that this page can no longer lead back to by itself; None where there is none, or
    `pending` is there.
    """
    client_id = of_request("client_id") if pending is None and pending_ticket() is not None else None
    client = store.clients.find(client_id) if client_id is not None else None
    if client is None:
        return None
    return LostRequest(client.client_name, client.home(), not browser_ids.sends_cookies())
