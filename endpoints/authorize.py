"""`/oauth/authorize` (RFC 6749 §3.1): put a client's request before a user, and redirect with the answer.

A pending request is stored under a ticket of its own, bound to this browser, while the user signs in and
decides. The form of the consent page carries the ticket and nothing else, so what was shown is what is
granted, by the user to whom it was shown. A remembered consent is asked for again only where the client wants
more, or wants the user to be asked.
"""

from urllib.parse import parse_qsl

from authlib.oauth2.rfc6749 import InvalidClientError, InvalidRequestError, InvalidScopeError, OAuth2Error
from flask import abort, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import MethodNotAllowed

import store.clients
import store.consents
import store.tickets
from authorization.interaction import Interaction, RequestGoneError, resume_url
from client_auth import client_keys
from middleware import forms
from middleware.endpoint_policy import MAXIMUM_BODY, Caller, Cors, Endpoint, EndpointPolicy, is_form_of_ours
from middleware.error_responses import page_error
from middleware.form_requests import redirect_to_get, sent_pairs
from models import Client
from protocol import clock, redirect_uris, request_object
from protocol.authentication_request import with_defaults
from protocol.parameters import check_parameters, select_known, select_well_formed
from services import browser_ids
from services.current import issuer, server
from services.event_log import Reason, set_client, set_reason
from services.login_session import lock
from store.tickets import Ticket
from unit_of_work import mark_rollback

policy = EndpointPolicy(
    paths=("/oauth/authorize",),
    methods=("GET", "POST"),
    caller=Caller.USER,
    cors=Cors.NONE,
    csrf="ticket",
    any_host=False,
    body_limit=MAXIMUM_BODY,
    metadata="authorization_endpoint",
)
blueprint = Endpoint(__name__, policy)


@blueprint.view()
def authorize() -> ResponseReturnValue:
    """Return the answer to a client's request, or to our own consent form."""
    if request.method == "HEAD":
        raise MethodNotAllowed(["GET", "POST"])
    if is_form_of_ours():
        next_step = continue_request if forms.is_stale() else answer_consent_form
        return next_step(request.form["ticket"], request.form.get("client_id"))
    if request.method == "POST":
        try:
            return redirect_to_get()
        except InvalidRequestError as error:
            return refuse_malformed(error, sent_pairs())
    ticket = request.args.get("ticket")
    return continue_request(ticket, request.args.get("client_id") if ticket else None)


def continue_request(ticket: str | None, client_id: str | None) -> ResponseReturnValue:
    """Return what a request needs next: a page of ours, or the answer to the client.

    client_id: as the address has it; the one of a stored request counts more.
    """
    # Werkzeug takes bytes that are no UTF-8 for the text that encodes them: a `state` would come back as
    # another.
    pairs = parse_qsl(
        request.query_string.decode("utf-8", "replace"), keep_blank_values=True, errors="replace"
    )
    try:
        check_parameters(pairs, of_scope=InvalidScopeError)
    except OAuth2Error as error:
        return refuse_malformed(error, pairs)
    pending = find_pending(ticket) if ticket else None
    if ticket and pending is None:
        return show_request_gone(client_id)
    parameters = pending.parameters if pending is not None else select_known(request.args.items())
    client = find_client(parameters)
    if client is None:
        set_reason(Reason.UNKNOWN_CLIENT)
        return refuse_with_page(InvalidClientError("client_id is missing or unknown"))
    try:
        if pending is None:  # what the client signed counts, where it sent a request object (RFC 9101)
            parameters = request_object.unpack(parameters, client, client_keys.find, str(issuer), clock.now())
            parameters = with_defaults(parameters, client)
        grant = server.get_consent_grant(server.kept_request(parameters))
    except OAuth2Error as error:
        return refuse_authorization(error, request_object.with_response_parameters(parameters))
    try:
        return Interaction(grant, parameters, ticket, pending).next_response()
    except RequestGoneError:
        return show_request_gone(grant.request.client.client_id)
    except OAuth2Error as error:
        error.redirect_uri, error.state = grant.redirect_uri, parameters.get("state")
        return refuse_authorization(error, parameters)


def find_client(parameters: dict[str, str]) -> Client | None:
    """Return the client that these parameters name, and note it for the log."""
    client_id = parameters.get("client_id")
    client = store.clients.find(client_id) if client_id else None
    set_client(client_id or "", client is not None)
    return client


def answer_consent_form(ticket: str, client_id: str | None) -> ResponseReturnValue:
    """Return the answer to a request whose user pressed Allow or Deny. The ticket is spent by both.

    client_id: named on the page where the ticket is gone.
    """
    decision = request.form.get("decision")
    if decision not in ("allow", "deny"):
        abort(400)
    pending = find_pending(ticket)
    if pending is None:
        return show_request_gone(client_id)
    shown_to = request.form.get("account", str(pending.session_id))
    if shown_to != str(pending.session_id):
        return redirect(resume_url(ticket, pending.client_id), 303)
    user = lock(pending.session_id)
    if user is None:
        return redirect(url_for("login.login", next=resume_url(ticket, pending.client_id)), 303)
    try:
        grant = server.get_consent_grant(server.kept_request(pending.parameters))
    except OAuth2Error as error:
        return refuse_authorization(error, pending.parameters)
    interaction = Interaction(grant, pending.parameters, ticket, pending)
    try:
        if decision == "allow" and not interaction.is_ready_for_decision(user):
            return interaction.next_response()
    except OAuth2Error as error:
        error.redirect_uri, error.state = grant.redirect_uri, pending.parameters.get("state")
        return refuse_authorization(error, pending.parameters)
    if not store.tickets.claim(ticket):
        return show_request_gone(pending.client_id)
    if decision == "allow":
        store.consents.remember(user.id, grant.request.client.client_id, grant.scope_to_allow(), clock.now())
    return server.create_authorization_response(
        grant.request, grant_user=user if decision == "allow" else None, grant=grant
    )


def find_pending(ticket: str) -> Ticket | None:
    """Return the request that this browser stored under the ticket."""
    return store.tickets.find(ticket, browser_ids.digests(), clock.now())


def refuse_malformed(error: OAuth2Error, pairs: list[tuple[str, str]]) -> ResponseReturnValue:
    """Return the refusal of a malformed request.

    It goes to the client where the client and its redirect URI are well-formed and right, else to a page.
    """
    parameters = select_well_formed(pairs)
    client = find_client(parameters)
    if client is not None:
        request_object.set_redirect(error, parameters, client)
    return refuse_authorization(error, request_object.with_response_parameters(parameters))


def refuse_authorization(error: OAuth2Error, parameters: dict[str, str]) -> ResponseReturnValue:
    """Return a refusal: to the client where the redirect URI is its own, else a page (RFC 6749 §4.1.2.1)."""
    if not error.redirect_uri:
        return refuse_with_page(error)
    return server.refuse_authorization(error, parameters)


def refuse_with_page(error: OAuth2Error) -> ResponseReturnValue:
    """Return a refusal that no client hears of."""
    server.note_refusal(error)
    if isinstance(error, client_keys.KeysNotAtHandError):
        response = page_error(
            503, "Back in a moment", "This needs an answer of the application's server. Please try again."
        )
        response.headers["Retry-After"] = str(error.seconds_to_wait)
        return response
    text = (
        "The application that sent you here is not known to this server, or it made a mistake in its request."
        " Its developers can tell what is wrong."
    )
    return page_error(400, "This link does not work", text)


def show_request_gone(client_id: str | None) -> ResponseReturnValue:
    """Return a page that leads back to the application.

    client_id: anybody can write one, so the page tells only what is registered.
    """
    mark_rollback()
    set_reason(Reason.REQUEST_GONE)
    client = store.clients.find(client_id) if client_id else None
    uris = client.redirect_uris if client is not None else []
    host = redirect_uris.display_host(uris[0]).strip(":") if uris else ""
    page = render_template(
        "request_gone.html",
        client=client,
        host=host,
        address=client.home() if client is not None else None,
        request_id=g.get("request_id", ""),
    )
    return page, 400
