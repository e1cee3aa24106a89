"""`/oauth/logout` (OpenID Connect RP-Initiated Logout 1.0): a client sends a person here to sign out, and
takes them back after.

With an ID token of ours as a hint, that names somebody who is signed in with this browser, they are signed
out at once; so is what is left of a session of this browser that has expired, for other clients go by it.
Without, the person is asked: a link on any page could lead here (§6). Nobody is sent to an address that is
not registered for the client.
"""

from dataclasses import dataclass

from authlib.oauth2.rfc6749 import InvalidRequestError, OAuth2Error
from flask import redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import MethodNotAllowed

import store.client_sessions
import store.clients
from middleware import forms
from middleware.endpoint_policy import MAXIMUM_BODY, Caller, Cors, Endpoint, EndpointPolicy, is_form_of_ours
from middleware.error_responses import page_error
from middleware.form_requests import redirect_to_get
from middleware.security_headers import omit_form_action
from models import Client
from protocol import claims, redirect_uris
from protocol.parameters import check_parameters
from services.current import server
from services.event_log import Reason, set_client, set_reason
from services.login_session import accounts, sign_out, sign_out_expired
from store.user_sessions import SignedIn
from tokens import id_token_hint

policy = EndpointPolicy(
    paths=("/oauth/logout",),
    methods=("GET", "POST"),
    caller=Caller.USER,
    cors=Cors.NONE,
    csrf="who",
    any_host=False,
    body_limit=MAXIMUM_BODY,
    metadata="end_session_endpoint",
)
blueprint = Endpoint(__name__, policy)

PARAMETERS = ("client_id", "post_logout_redirect_uri", "state")


@blueprint.view()
def end_session() -> ResponseReturnValue:
    if request.method == "HEAD":  # whoever asks for no page is no person
        raise MethodNotAllowed(["GET", "POST"])
    if is_form_of_ours():
        return confirmed()
    try:
        if request.method == "POST":
            return redirect_to_get()
        check_parameters(request.args.items(multi=True))
        wish = read_logout_request(request.args)
    except OAuth2Error as error:
        return refuse_with_page(error)
    here = accounts()
    meant = wish.find_meant(here)
    if meant is None and here:
        return ask(wish, here)
    if meant is not None:
        sign_out([meant])
    elif expired := wish.find_session():
        sign_out_expired(expired)
    return back(wish)


@dataclass(frozen=True)
class LogoutRequest:
    """A valid request: the client, where it wants the person back, and whom its hint names."""

    client: Client | None
    redirect_uri: str | None
    state: str | None
    sub: str | None = None
    sid: str | None = None

    def find_meant(self, here: list[SignedIn]) -> SignedIn | None:
        """Who of those signed in here the hint names; nobody without a hint.

        A hint with a `sid` names one session and no other of the same person: the token of a sign-in
        elsewhere, or of one that has ended, may be in anybody's hands by now, and what it meant is over.
        """
        if self.client is None or self.sub is None:
            return None
        if self.sid is not None:
            session_id = self.find_session() if here else None
            here = [person for person in here if person.session_id == session_id]
        named = [
            person
            for person in here
            if claims.subject(self.client, person.sub, person.pairwise_secret) == self.sub
        ]
        return named[0] if named else None

    def find_session(self) -> int | None:
        """Return the client's session that the hint names; None where it has ended or is not named."""
        found = store.client_sessions.find(self.sid) if self.sid is not None else None
        is_ours = found is not None and self.client is not None and found.client_id == self.client.client_id
        return found.session_id if found is not None and is_ours else None


def read_logout_request(parameters: dict[str, str]) -> LogoutRequest:
    """Raises InvalidRequestError for a hint that is none, a client that is unknown, or an address that is not
    registered.
    """
    hint = None
    if parameters.get("id_token_hint"):
        hint = id_token_hint.read(parameters["id_token_hint"])
        if hint is None:
            raise InvalidRequestError("id_token_hint is no ID token of this server")
    client_id = parameters.get("client_id") or (hint["aud"] if hint else None)
    if hint is not None and not id_token_hint.is_for(hint, str(client_id)):
        raise InvalidRequestError("client_id and id_token_hint do not belong together")
    client = store.clients.find(client_id) if client_id else None
    if client_id:
        set_client(client_id, client is not None)
    if client_id and client is None:
        set_reason(Reason.UNKNOWN_CLIENT)
        raise InvalidRequestError("client_id is unknown")
    redirect_uri = parameters.get("post_logout_redirect_uri") or None
    if redirect_uri is not None:
        registered = client.member("post_logout_redirect_uris", []) if client is not None else []
        if redirect_uri not in registered:
            set_reason(Reason.REDIRECT_URI_NOT_REGISTERED)
            raise InvalidRequestError("post_logout_redirect_uri is not registered for this client")
    state = parameters.get("state") or None
    if hint is None:
        return LogoutRequest(client, redirect_uri, state)
    return LogoutRequest(client, redirect_uri, state, hint["sub"], hint.get("sid"))


def ask(wish: LogoutRequest, here: list[SignedIn]) -> str:
    """Nothing says who is meant, so the person does.

    The form carries what the answer needs; it is checked again.
    """
    if wish.redirect_uri:
        omit_form_action()
    kept = {"post_logout_redirect_uri": wish.redirect_uri, "state": wish.state}
    if wish.client is not None:
        kept["client_id"] = wish.client.client_id
    return render_template(
        "end_session.html",
        people=here,
        client=wish.client,
        back_to=redirect_uris.display_host(wish.redirect_uri) if wish.redirect_uri else None,
        kept={name: value for name, value in kept.items() if value},
    )


def confirmed() -> ResponseReturnValue:
    """The person pressed one of the buttons: everybody, the present account, or nobody."""
    try:
        check_parameters(request.form.items(multi=True))
        wish = read_logout_request({name: request.form.get(name, "") for name in PARAMETERS})
    except OAuth2Error as error:
        return refuse_with_page(error)
    who, here = request.form["who"], accounts()
    if forms.is_stale() and here:
        return ask(wish, here)
    if who == "nobody":
        return redirect(url_for("home.home"), 303)
    sign_out(here if who == "everybody" else [person for person in here if str(person.session_id) == who])
    return back(wish)


def back(wish: LogoutRequest) -> ResponseReturnValue:
    if wish.redirect_uri is None:
        return redirect(url_for("login.logout"), 303)
    answer = [("state", wish.state)] if wish.state else []
    return redirect(
        redirect_uris.add_response(wish.redirect_uri, answer) if answer else wish.redirect_uri, 303
    )


def refuse_with_page(error: OAuth2Error) -> ResponseReturnValue:
    server.note_refusal(error)
    text = (
        "The application that sent you here made a mistake in its request, so nobody was signed out."
        " You can sign out of this server by yourself."
    )
    return page_error(400, "This link does not work", text, sign_out=True)
