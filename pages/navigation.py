"""Where a page leads next, which is always inside this site (RFC 9700 §4.11), and for which client."""

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from flask import request, url_for

import store.clients
import store.tickets
from middleware.security_headers import omit_form_action
from protocol import clock, redirect_uris
from services import browser_ids
from services.current import settings
from services.tenant_registry import name_in

# One slash and then neither a slash nor a backslash: browsers read //host and /\host as another site.
LOCAL_PATH = re.compile(r"/(?![/\\])[\x21-\x5B\x5D-\x7E]*")

END_OF_PATH = re.compile("[?#]")
# Browsers read one as a step in the path, also where its dots are encoded.
DOT_SEGMENT = re.compile(r"/(?:\.|%2e){1,2}(?:/|\Z)", re.IGNORECASE)


def local_path(text: str | None) -> str | None:
    """Return `text` when it is a path of this site with its query, else None."""
    if not text or not LOCAL_PATH.fullmatch(text):
        return None
    return text


def own_path(text: str | None) -> str | None:
    """Return `text` when it is a path of this issuer with its query, else None.

    Others may share its host: those below `/t/`, and whatever is beside an issuer with a path.
    """
    if (local := local_path(text)) is None:
        return None
    path, below = END_OF_PATH.split(local)[0], request.script_root
    if DOT_SEGMENT.search(path) or not f"{path}/".startswith(f"{below}/"):
        return None
    return None if not below and is_of_tenant(path) else local


def is_of_tenant(path: str) -> bool:
    """Return whether a path at home's origin is a tenant's, in any spelling of it."""
    return settings.tenants == "on" and name_in(unquote(path)) is not None


def next_path() -> str:
    """Return where to go after this page: its `next`, or home."""
    return own_path(request.args.get("next")) or url_for("home.home")


@dataclass(frozen=True)
class PendingRequest:
    """The authorization request that a user signs in for."""

    ticket: str
    client_name: str
    redirect_host: str
    login_hint: str
    session_id: int | None  # of the user whose request it is by now


@dataclass(frozen=True)
class ClosedRequest:
    """A client whose request `next` names, and which this page cannot go on with."""

    client_name: str
    address: str | None  # where the application is found
    # The browser sent no cookies: the request may be open, but nobody can know whose it is.
    is_without_cookies: bool


def pending_ticket() -> str | None:
    """Return the ticket of the request that `next` resumes."""
    return request_parameter("ticket")


def request_parameter(name: str) -> str | None:
    """Return a parameter of `next`, where that resumes an authorization request."""
    path = own_path(request.args.get("next"))
    if path is None or urlsplit(path).path != url_for("authorize.authorize"):
        return None
    return parse_qs(urlsplit(path).query).get(name, [None])[0]


def find_pending_request() -> PendingRequest | None:
    """Return the request of this browser that `next` resumes; the page's form may then end at its client."""
    ticket = pending_ticket()
    row = store.tickets.find(ticket, browser_ids.digests(), clock.now()) if ticket is not None else None
    client = store.clients.find(row.client_id) if row is not None else None
    if ticket is None or row is None or client is None:
        return None
    redirect_uri = row.parameters.get("redirect_uri") or client.get_default_redirect_uri() or ""
    omit_form_action()
    hint = row.parameters.get("login_hint", "")
    hint = hint if "@" in hint else ""
    host = redirect_uris.display_host(redirect_uri)
    return PendingRequest(ticket, client.client_name, host, hint, row.session_id)


def find_closed_request(pending: PendingRequest | None) -> ClosedRequest | None:
    """Return the request that this page cannot go on with; None where there is none, or a pending one."""
    client_id = request_parameter("client_id") if pending is None and pending_ticket() is not None else None
    client = store.clients.find(client_id) if client_id is not None else None
    if client is None:
        return None
    return ClosedRequest(client.client_name, client.home(), not browser_ids.sends_cookies())
