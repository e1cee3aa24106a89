"""`/oauth/logout`: sign a user out whom a client sends here, and send them back.

OpenID Connect RP-Initiated Logout 1.0. With an ID token of ours as a hint, that names a user who is signed in
with this browser, they are signed out at once; so is what is left of an expired session of this browser, for
other clients still go by it. Without one the user is asked, because a link on any page could lead here (§6).
Nobody is sent to an address that is not registered for the client.
"""

from collections.abc import Mapping
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
from services.login_session import sign_out, sign_out_expired, signed_in_users
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
    """Return the answer to a client's request, or to our own form."""
    if request.method == "HEAD":  # a browser that shows no page has no user to ask
        raise MethodNotAllowed(["GET", "POST"])
    if is_form_of_ours():
        return answer_form()
    try:
        if request.method == "POST":
            return redirect_to_get()
        check_parameters(request.args.items(multi=True))
        logout = read_logout_request(request.args)
    except OAuth2Error as error:
        return refuse_with_page(error)
    signed_in = signed_in_users()
    user = logout.find_user(signed_in)
    if user is None and signed_in:
        return show_form(logout, signed_in)
    if user is not None:
        sign_out([user])
    elif expired := logout.find_session():
        sign_out_expired(expired)
    return redirect_back(logout)


@dataclass(frozen=True)
class LogoutRequest:
    """A valid request: the client, where it wants the user back, and whom its hint names."""

    client: Client | None
    redirect_uri: str | None
    state: str | None
    sub: str | None = None
    sid: str | None = None

    def find_user(self, signed_in: list[SignedIn]) -> SignedIn | None:
        """Return the user whom the hint names, of those who are signed in; None without a hint.

        A hint with a `sid` names one session, and no other of the same user: the token of another sign-in, or
        of one that has ended, may be in anybody's hands by now, and its session is over.
        """
        if self.client is None or self.sub is None:
            return None
        if self.sid is not None:
            session_id = self.find_session() if signed_in else None
            signed_in = [user for user in signed_in if user.session_id == session_id]
        subjects = ((user, claims.subject(self.client, user.sub, user.pairwise_secret)) for user in signed_in)
        return next((user for user, subject in subjects if subject == self.sub), None)

    def find_session(self) -> int | None:
        """Return the client's session that the hint names; None where it has ended or is not named."""
        found = store.client_sessions.find(self.sid) if self.sid is not None else None
        if found is None or self.client is None or found.client_id != self.client.client_id:
            return None
        return found.session_id


def read_logout_request(parameters: Mapping[str, str]) -> LogoutRequest:
    """Return the request that these parameters make.

    Raises InvalidRequestError for a hint that is none, a client that is unknown, or an address that is not
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
    client = find_client(client_id) if client_id else None
    redirect_uri = parameters.get("post_logout_redirect_uri") or None
    if redirect_uri is not None:
        check_redirect_uri(redirect_uri, client)
    state = parameters.get("state") or None
    if hint is None:
        return LogoutRequest(client, redirect_uri, state)
    return LogoutRequest(client, redirect_uri, state, hint["sub"], hint.get("sid"))


def find_client(client_id: str) -> Client:
    """Return the client, and note it for the log. Raises InvalidRequestError for an unknown one."""
    client = store.clients.find(client_id)
    set_client(client_id, client is not None)
    if client is None:
        set_reason(Reason.UNKNOWN_CLIENT)
        raise InvalidRequestError("client_id is unknown")
    return client


def check_redirect_uri(redirect_uri: str, client: Client | None) -> None:
    """Raise InvalidRequestError for an address that is not registered for the client, or for no client."""
    registered = client.member("post_logout_redirect_uris", []) if client is not None else []
    if redirect_uri not in registered:
        set_reason(Reason.REDIRECT_URI_NOT_REGISTERED)
        raise InvalidRequestError("post_logout_redirect_uri is not registered for this client")


def show_form(logout: LogoutRequest, signed_in: list[SignedIn]) -> str:
    """Return the page that asks who is to be signed out; its form carries the request's parameters."""
    if logout.redirect_uri:
        omit_form_action()
    fields = {"post_logout_redirect_uri": logout.redirect_uri, "state": logout.state}
    if logout.client is not None:
        fields["client_id"] = logout.client.client_id
    return render_template(
        "end_session.html",
        users=signed_in,
        client=logout.client,
        back_to=redirect_uris.display_host(logout.redirect_uri) if logout.redirect_uri else None,
        fields={name: value for name, value in fields.items() if value},
    )


def answer_form() -> ResponseReturnValue:
    """Return the answer to our own form. Its button says who signs out: everybody, one account, or nobody."""
    try:
        check_parameters(request.form.items(multi=True))
        logout = read_logout_request({name: request.form.get(name, "") for name in PARAMETERS})
    except OAuth2Error as error:
        return refuse_with_page(error)
    who, signed_in = request.form["who"], signed_in_users()
    if forms.is_stale() and signed_in:
        return show_form(logout, signed_in)
    if who == "nobody":
        return redirect(url_for("home.home"), 303)
    sign_out(signed_in if who == "everybody" else [user for user in signed_in if str(user.session_id) == who])
    return redirect_back(logout)


def redirect_back(logout: LogoutRequest) -> ResponseReturnValue:
    """Return a redirect to the client, or to our own page where the request names no address."""
    if logout.redirect_uri is None:
        return redirect(url_for("login.logout"), 303)
    answer = [("state", logout.state)] if logout.state else []
    return redirect(
        redirect_uris.add_response(logout.redirect_uri, answer) if answer else logout.redirect_uri, 303
    )


def refuse_with_page(error: OAuth2Error) -> ResponseReturnValue:
    """Return a refusal that no client hears of."""
    server.note_refusal(error)
    text = (
        "The application that sent you here made a mistake in its request, so nobody was signed out."
        " You can sign out of this server by yourself."
    )
    return page_error(400, "This link does not work", text, sign_out=True)
