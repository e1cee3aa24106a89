"""`/oauth/authorize` (RFC 6749 §3.1): a client's request is checked, put before a person, and answered by a redirect.

A pending request is kept under a ticket of its own, bound to this browser, while the person signs in and decides. The form of
the consent page carries the ticket and nothing else, so what was shown is what is granted. A remembered consent is asked again
only when the client asks for more.
"""

from urllib.parse import urlencode

from authlib.oauth2.rfc6749 import InvalidRequestError, OAuth2Error
from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import MethodNotAllowed

import store.clients
import store.consents
import store.scopes
import store.tickets
from browser import browser_digest, signed_in, signed_in_for_good
from current import server
from errors import page_error
from front_door import allow_form_action, csrf
from protocol import clock, credentials, redirect_uris, scopes
from protocol.parameters import KNOWN, check_parameters
from unit_of_work import refuse

blueprint = Blueprint("authorize", __name__)

MAXIMUM_QUERY = 15_000  # what fits into a request line of 16 KiB


@blueprint.route("/oauth/authorize", methods=["GET", "POST"])
@csrf.exempt
def authorize() -> ResponseReturnValue:
    if request.method == "HEAD":
        raise MethodNotAllowed(["GET", "POST"])
    if request.method == "POST" and "ticket" in request.form:
        csrf.protect()
        return decide(request.form["ticket"])
    if request.method == "POST":
        # A client's own form (§3.1). By GET it comes back with this browser's cookies, which a foreign form is sent without.
        # What its address says comes along, so that a parameter given in both places is one given twice.
        query = urlencode([*request.args.items(multi=True), *request.form.items(multi=True)])
        if len(query) > MAXIMUM_QUERY:
            return refuse_with_page(InvalidRequestError("the request is too long"))
        return redirect(f"{url_for('authorize.authorize')}?{query}", 303)
    return consider(request.args.get("ticket"))


def consider(ticket: str | None) -> ResponseReturnValue:
    """A request on its way: to the sign-in page, to the consent page, or with a remembered consent straight back."""
    try:
        check_parameters(request.args.items(multi=True))
    except OAuth2Error as error:
        return refuse_with_page(error)
    parameters = find_parameters(ticket) if ticket else known_parameters()
    if parameters is None:
        return no_such_request()
    try:
        grant = server.get_consent_grant(server.kept_request(parameters))
    except OAuth2Error as error:
        return refuse_authorization(error)
    person, client, scope = signed_in(), grant.request.client, grant.request.scope
    if (
        scope
    ):  # what was left out is decided now: what is shown is what is granted, whatever becomes of the registration
        parameters = parameters | {"scope": scope}
    if person is None:
        return ask_to_sign_in(ticket or keep(parameters, client.client_id))
    allowed = store.consents.find_scope(person.id, client.client_id)
    if allowed is not None and scopes.is_within(scope, allowed):
        person = signed_in_for_good()
        if person is None:
            return ask_to_sign_in(ticket or keep(parameters, client.client_id))
        if ticket and not store.tickets.claim(credentials.digest(ticket)):
            return no_such_request()
        return server.create_authorization_response(grant.request, grant_user=person, grant=grant)
    allow_form_action(redirect_uris.form_action_source(grant.redirect_uri))
    return render_template(
        "consent.html",
        ticket=ticket or keep(parameters, client.client_id),
        client=client,
        redirect_host=redirect_uris.display_host(grant.redirect_uri),
        scopes=store.scopes.descriptions(scopes.split(scope)),
        already_allowed=scopes.split(allowed),
        person=person,
    )


def decide(ticket: str) -> ResponseReturnValue:
    """The person pressed Allow or Deny. The ticket is spent; Deny is a decision and commits like the other."""
    decision = request.form.get("decision")
    if decision not in ("allow", "deny"):
        abort(400)
    person = signed_in_for_good()
    if person is None:
        return ask_to_sign_in(ticket)
    parameters = find_parameters(ticket)
    if parameters is None or not store.tickets.claim(credentials.digest(ticket)):
        return no_such_request()
    try:
        grant = server.get_consent_grant(server.kept_request(parameters))
    except OAuth2Error as error:
        return refuse_authorization(error)
    if decision == "allow":
        store.consents.remember(person.id, grant.request.client.client_id, grant.request.scope, clock.now())
    return server.create_authorization_response(
        grant.request, grant_user=person if decision == "allow" else None, grant=grant
    )


def keep(parameters: dict[str, str], client_id: str) -> str:
    """Store a request that was found valid; returns its ticket."""
    ticket = credentials.random_text()
    store.tickets.add(credentials.digest(ticket), browser_digest(), client_id, parameters, clock.now())
    return ticket


def find_parameters(ticket: str) -> dict[str, str] | None:
    row = store.tickets.find(credentials.digest(ticket), browser_digest(), clock.now())
    return None if row is None else row.parameters


def known_parameters() -> dict[str, str]:
    """What we understand of the request. Unrecognized parameters, and those without a value, count as left out (§3.1)."""
    return {name: value for name, value in request.args.items() if value and name in KNOWN}


def ask_to_sign_in(ticket: str) -> ResponseReturnValue:
    """To the sign-in page, and from there back to the pending request."""
    return redirect(url_for("login.login", next=url_for("authorize.authorize", ticket=ticket)), 303)


def refuse_authorization(error: OAuth2Error) -> ResponseReturnValue:
    """To the client where its redirect URI is known to be its own, else as a page (RFC 6749 §4.1.2.1)."""
    return server.handle_error_response(None, error) if error.redirect_uri else refuse_with_page(error)


def refuse_with_page(error: OAuth2Error) -> ResponseReturnValue:
    refuse()
    text = (
        "The application that sent you here is not known to this server, or it made a mistake in its request."
        " Its developers can tell what is wrong."
    )
    return page_error(400, "This link does not work", text)


def no_such_request() -> ResponseReturnValue:
    refuse()
    text = "It was answered already, it is too old, or it belongs to another browser. Go back to the application and start again."
    return page_error(400, "This request is no longer open", text)
