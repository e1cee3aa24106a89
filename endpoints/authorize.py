"""`/oauth/authorize` (RFC 6749 §3.1): a client's request is checked, put before a person, and answered by a
redirect.

A pending request is kept under a ticket of its own, bound to this browser, while the person signs in and
decides. The form of the consent page carries the ticket and nothing else, so what was shown is what is
granted, to whom it was shown. A remembered consent is asked again only when the client asks for more, or for
the question.
"""

from urllib.parse import parse_qsl

from authlib.oauth2.rfc6749 import InvalidClientError, InvalidRequestError, InvalidScopeError, OAuth2Error
from flask import abort, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import MethodNotAllowed

import store.clients
import store.consents
import store.tickets
from authorization.interaction import Interaction, RequestGoneError, address_of
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
    if request.method == "HEAD":
        raise MethodNotAllowed(["GET", "POST"])
    if is_form_of_ours():
        next_step = consider if forms.is_stale() else decide
        return next_step(request.form["ticket"], request.form.get("client_id"))
    if request.method == "POST":
        try:
            return redirect_to_get()
        except InvalidRequestError as error:
            return refuse_unread(error, sent_pairs())
    ticket = request.args.get("ticket")
    return consider(ticket, request.args.get("client_id") if ticket else None)


def consider(ticket: str | None, client_id: str | None) -> ResponseReturnValue:
    """A request on its way: to sign-in, to the choice of an account, to the consent page, or straight back to
    the client.

    client_id: as the address has it; what a ticket keeps counts more.
    """
    # Werkzeug takes bytes that are no UTF-8 for the text that encodes them: a `state` would come back as
    # another.
    pairs = parse_qsl(
        request.query_string.decode("utf-8", "replace"), keep_blank_values=True, errors="replace"
    )
    try:
        check_parameters(pairs, of_scope=InvalidScopeError)
    except OAuth2Error as error:
        return refuse_unread(error, pairs)
    kept = find_kept(ticket) if ticket else None
    if ticket and kept is None:
        return no_such_request(client_id)
    parameters = kept.parameters if kept is not None else select_known(request.args.items())
    client = find_client(parameters)
    if client is None:
        set_reason(Reason.UNKNOWN_CLIENT)
        return refuse_with_page(InvalidClientError("client_id is missing or unknown"))
    try:
        if kept is None:  # what the client signed counts, where it sent a request object (RFC 9101)
            parameters = request_object.unpack(parameters, client, client_keys.find, str(issuer), clock.now())
            parameters = with_defaults(parameters, client)
        grant = server.get_consent_grant(server.kept_request(parameters))
    except OAuth2Error as error:
        return refuse_authorization(error, request_object.with_response_parameters(parameters))
    try:
        return Interaction(grant, parameters, ticket, kept).go_on()
    except RequestGoneError:
        return no_such_request(grant.request.client.client_id)
    except OAuth2Error as error:
        error.redirect_uri, error.state = grant.redirect_uri, parameters.get("state")
        return refuse_authorization(error, parameters)


def find_client(parameters: dict[str, str]) -> Client | None:
    client_id = parameters.get("client_id")
    client = store.clients.find(client_id) if client_id else None
    set_client(client_id or "", client is not None)
    return client


def decide(ticket: str, client_id: str | None) -> ResponseReturnValue:
    """The person pressed Allow or Deny. The ticket is spent; Deny is a decision and commits like the other.

    client_id: named on the page where the ticket is gone.
    """
    decision = request.form.get("decision")
    if decision not in ("allow", "deny"):
        abort(400)
    kept = find_kept(ticket)
    if kept is None:
        return no_such_request(client_id)
    if request.form.get("account", str(kept.session_id)) != str(
        kept.session_id
    ):  # the page that is answered showed another person
        return redirect(address_of(ticket, kept.client_id), 303)
    person = lock(kept.session_id)
    if person is None:
        return redirect(url_for("login.login", next=address_of(ticket, kept.client_id)), 303)
    try:
        grant = server.get_consent_grant(server.kept_request(kept.parameters))
    except OAuth2Error as error:
        return refuse_authorization(error, kept.parameters)
    interaction = Interaction(grant, kept.parameters, ticket, kept)
    try:
        if decision == "allow" and not interaction.is_ready_for_decision(person):
            return interaction.go_on()
    except OAuth2Error as error:
        error.redirect_uri, error.state = grant.redirect_uri, kept.parameters.get("state")
        return refuse_authorization(error, kept.parameters)
    if not store.tickets.claim(ticket):
        return no_such_request(kept.client_id)
    if decision == "allow":
        store.consents.remember(
            person.id, grant.request.client.client_id, grant.scope_to_allow(), clock.now()
        )
    return server.create_authorization_response(
        grant.request, grant_user=person if decision == "allow" else None, grant=grant
    )


def find_kept(ticket: str) -> Ticket | None:
    return store.tickets.find(ticket, browser_ids.digests(), clock.now())


def refuse_unread(error: OAuth2Error, pairs: list[tuple[str, str]]) -> ResponseReturnValue:
    """What the guard refused.

    The client hears of it all the same, where what says which client, and where, is right.
    """
    parameters = select_well_formed(pairs)
    client = find_client(parameters)
    if client is not None:
        request_object.set_redirect(error, parameters, client)
    return refuse_authorization(error, request_object.with_response_parameters(parameters))


def refuse_authorization(error: OAuth2Error, parameters: dict[str, str]) -> ResponseReturnValue:
    """To the client where its redirect URI is known to be its own, else as a page (RFC 6749 §4.1.2.1)."""
    if not error.redirect_uri:
        return refuse_with_page(error)
    return server.refuse_authorization(error, parameters)


def refuse_with_page(error: OAuth2Error) -> ResponseReturnValue:
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


def no_such_request(client_id: str | None) -> ResponseReturnValue:
    """A page that leads back to the application. client_id: anybody can write one, so the page tells only
    what is registered.
    """
    mark_rollback()
    set_reason(Reason.REQUEST_GONE)
    client = store.clients.find(client_id) if client_id else None
    page = render_template(
        "request_gone.html",
        client=client,
        host=redirect_uris.display_host(client.redirect_uris[0]).strip(":")
        if client and client.redirect_uris
        else "",
        address=client.home() if client is not None else None,
        request_id=g.get("request_id", ""),
    )
    return page, 400
