"""Decide what an authorization request needs before it can be answered.

OpenID Connect Core §3.1.2.1, §3.1.2.3. Enters: a valid request, its ticket if it has one already, and the
users who are signed in with this browser. Leaves: a redirect to the sign-in page or the choice of an account,
the consent page, the answer; or an error for the client, where it forbade to ask.
"""

from functools import cached_property

from authlib.oauth2.rfc6749 import InvalidRequestError
from authlib.oidc.core.errors import AccountSelectionRequiredError, ConsentRequiredError, LoginRequiredError
from flask import redirect, render_template, url_for
from flask.typing import ResponseReturnValue

import store.client_sessions
import store.consents
import store.scopes
import store.tickets
import store.users
from crypto import credentials
from middleware import forms
from middleware.security_headers import omit_form_action
from protocol import claims, clock, redirect_uris, scopes, typed_text
from protocol.authentication_request import UnmetAuthenticationRequirementsError
from protocol.claims import ACR_VALUES
from services import browser_ids
from services.current import server, settings
from services.login_session import lock, signed_in_users
from services.oauth2_types import AuthorizationGrant
from store.tickets import Ticket
from store.user_sessions import SignedIn
from tokens import id_token_hint


def resume_url(ticket: str, client_id: str) -> str:
    """Return the URL of a pending request. It names the client, for a ticket that is gone tells nothing."""
    return url_for("authorize.authorize", client_id=client_id, ticket=ticket)


class RequestGoneError(Exception):
    """The request was answered meanwhile, in another tab."""


def login_required() -> LoginRequiredError:
    """Return the error for a request that no user here may answer; its words tell nobody who is signed in."""
    return LoginRequiredError("nobody is signed in whom the request would accept")


class Interaction:
    """A valid authorization request, and what has to happen before it is answered."""

    def __init__(
        self,
        grant: AuthorizationGrant,
        parameters: dict[str, str],
        ticket: str | None,
        pending: Ticket | None,
    ) -> None:
        self.grant = grant
        self.client = grant.request.client
        self.request = grant.authentication
        self.parameters = parameters  # with what they left to the registration decided already
        self.ticket = ticket
        self.assigned_to: int | None = pending.session_id if pending is not None else None
        self.created_at: int = pending.created_at if pending is not None else clock.now() + 1

    def next_response(self) -> ResponseReturnValue:
        """Return the response that the request needs next.

        Raises OAuth2Error where the client must hear of it.
        """
        self.check_request()
        if "create" in self.request.prompt and self.assigned_to is None:
            return self.redirect_to_page("signup.signup" if settings.signup == "open" else "login.login")
        user = self.find_user()
        if user is None:
            return self.request_sign_in()
        if self.must_reauthenticate(user):
            return self.request_sign_in(again=True)
        if "select_account" in self.request.prompt and self.assigned_to != user.session_id:
            return self.redirect_to_page("accounts.choose_account")
        self.check_user(user)
        allowed = self.consented_scopes.get(user.id)
        if not self.has_consent(allowed) or self.must_consent_again(user) or forms.is_stale():
            return self.show_consent_page(user, allowed)
        return self.respond(user)

    def is_ready_for_decision(self, user: SignedIn) -> bool:
        """Return whether all that comes before the consent page has happened.

        Raises OAuth2Error where it cannot happen any more.
        """
        if self.must_reauthenticate(user):
            return False
        self.check_user(user)
        return True

    # ---- who -----------------------------------------------------------------------------------------------

    @cached_property
    def consented_scopes(self) -> dict[int, str]:
        """Return what each user who is signed in here has allowed this client, by user id."""
        return store.consents.scopes_of([user.id for user in signed_in_users()], self.client.client_id)

    def eligible_users(self) -> list[SignedIn]:
        """Return the users for whom the request may be answered.

        Where it forbids to ask, only users who have allowed this client something: otherwise any client could
        send a browser here unseen and learn, hint by hint, who is signed in.
        """
        if self.request.may_ask:
            return signed_in_users()
        return [user for user in signed_in_users() if user.id in self.consented_scopes]

    def check_request(self) -> None:
        """Refuse a request that could be answered for no user.

        Before it matters who is signed in: how it is refused would tell. Raises LoginRequiredError,
        InvalidRequestError or UnmetAuthenticationRequirementsError.
        """
        if not self.request.may_ask and not self.eligible_users():
            raise login_required()
        if self.request.id_token_hint:
            _ = self.hinted_sub
        if self.request.is_acr_unmet(ACR_VALUES):
            raise UnmetAuthenticationRequirementsError()

    def find_user(self) -> SignedIn | None:
        """Return the user for whom the request is to be answered; None where somebody has to sign in.

        It is the user who signed in for it or was chosen, else the one whom the client names, else the
        present one. Where several are signed in, the present one is asked for consent even if it was given
        before: that page says whose account it is.
        """
        here = self.eligible_users()
        assigned = next((account for account in here if account.session_id == self.assigned_to), None)
        if assigned is not None or not here:
            return assigned
        if self.names_a_user():
            return next((account for account in here if self.is_named(account)), None)
        if len(here) > 1 and not self.request.may_ask:
            known = store.client_sessions.sessions_with(
                self.client.client_id, [account.session_id for account in here]
            )
            if len(known) != 1:
                raise AccountSelectionRequiredError("several users are signed in")
            return next(account for account in here if account.session_id in known)
        return here[0]

    def names_a_user(self) -> bool:
        """Return whether the request says for whom it is."""
        return bool(self.request.id_token_hint or self.request.subs() is not None or self.hinted_emails())

    def is_named(self, user: SignedIn) -> bool:
        """Return whether the request may mean this user.

        An `id_token_hint` or a `sub` is binding; a `login_hint` is overruled by who signed in for the
        request.
        """
        subject = self.subject_of(user)
        if self.request.id_token_hint and subject != self.hinted_sub:
            return False
        subs = self.request.subs()
        if subs is not None and subject not in subs:
            return False
        hinted = self.hinted_emails()
        return not hinted or user.email in hinted or self.assigned_to == user.session_id

    @cached_property
    def hinted_sub(self) -> str:
        """The subject of the `id_token_hint`, which may have expired (§3.1.2.1).

        Raises InvalidRequestError.
        """
        claims = id_token_hint.read(self.request.id_token_hint or "")
        if claims is None or not id_token_hint.is_for(claims, self.client.client_id):
            raise InvalidRequestError("id_token_hint is not an ID token that was issued to this client")
        return str(claims["sub"])

    def hinted_emails(self) -> tuple[str, ...]:
        """Return the addresses that `login_hint` may mean, as they are stored."""
        return typed_text.find_stored_forms(self.request.login_hint or "")

    def subject_of(self, user: SignedIn) -> str:
        """Return the `sub` by which this client knows a user."""
        return claims.subject(self.client, user.sub, user.pairwise_secret)

    def check_user(self, user: SignedIn) -> None:
        """Raise LoginRequiredError where the request names another user."""
        if self.names_a_user() and not self.is_named(user):
            raise LoginRequiredError("another user is signed in than the request names")

    def must_reauthenticate(self, user: SignedIn) -> bool:
        """Return whether a sign-in must be newer than this request's (`prompt=login`, `max_age`)."""
        if self.assigned_to == user.session_id and user.auth_time >= self.created_at:
            return False
        return "login" in self.request.prompt or self.request.is_old(user.auth_time, clock.now())

    def must_consent_again(self, user: SignedIn) -> bool:
        """Return whether the user is asked although their consent is remembered."""
        is_ambiguous = (
            len(signed_in_users()) > 1 and self.assigned_to != user.session_id and not self.names_a_user()
        )
        return (
            "consent" in self.request.prompt
            or (is_ambiguous and self.request.may_ask)
            or self.may_be_impersonated()
        )

    def may_be_impersonated(self) -> bool:
        """Return whether nothing proves that it is the client who asks.

        Any program on the computer can listen at a loopback address or take a private-use scheme, and a
        public client has no secret (RFC 8252 §8.6, RFC 6749 §10.2). In development the very port that is
        registered counts as the client's own, so that nobody is asked at every reload.
        """
        if not self.client.is_public or not redirect_uris.is_native(self.grant.redirect_uri):
            return False
        is_registered = self.grant.redirect_uri in self.client.redirect_uris
        return not (
            settings.is_development and is_registered and redirect_uris.is_web(self.grant.redirect_uri)
        )

    def has_consent(self, allowed: str | None) -> bool:
        """Return whether these scopes, allowed before, cover what the request asks for."""
        return allowed is not None and scopes.is_within(self.grant.scope_to_allow(), allowed)

    # ---- where to ------------------------------------------------------------------------------------------

    def request_sign_in(self, *, again: bool = False) -> ResponseReturnValue:
        """Return a redirect to the sign-in page; `again` for a user who is signed in already."""
        if not self.request.may_ask:
            raise login_required()
        return self.redirect_to_page("login.login", again=1 if again else None)

    def redirect_to_page(self, endpoint: str, again: int | None = None) -> ResponseReturnValue:
        """Return a redirect to one of our pages, which leads back to this request."""
        ticket = self.ticket or self.store()
        return redirect(url_for(endpoint, next=resume_url(ticket, self.client.client_id), again=again), 303)

    def show_consent_page(self, user: SignedIn, allowed: str | None) -> ResponseReturnValue:
        """Return the consent page. The decision is bound to the session that is asked.

        allowed: the scopes that this user has allowed before.
        """
        if not self.request.may_ask:
            raise login_required() if allowed is None else ConsentRequiredError("the user has to be asked")
        if self.ticket is None:
            self.ticket = self.store(user.session_id)
        elif self.assigned_to != user.session_id:
            store.tickets.assign(self.ticket, browser_ids.digests(), user.session_id)
        omit_form_action()
        return render_template(
            "consent.html",
            ticket=self.ticket,
            address=resume_url(self.ticket, self.client.client_id),
            client=self.client,
            redirect_host=redirect_uris.display_host(self.grant.redirect_uri),
            on_this_computer=redirect_uris.is_native(self.grant.redirect_uri),
            scopes=store.scopes.descriptions(scopes.split(self.grant.scope_to_allow())),
            already_allowed=scopes.split(allowed),
            asks_each_time=self.may_be_impersonated(),
            user=user,
            others=len(signed_in_users()) > 1,
        )

    def store(self, session_id: int | None = None) -> str:
        """Store the request and return its ticket."""
        ticket = credentials.random_text()
        store.tickets.add(
            ticket, browser_ids.digest(), self.client.client_id, self.parameters, clock.now(), session_id
        )
        return ticket

    def respond(self, user: SignedIn) -> ResponseReturnValue:
        """Return the authorization response, once the user is locked and the consent is still there."""
        locked = lock(user.session_id)
        if locked is None:
            return self.request_sign_in()
        # It may have been taken back before the lock.
        allowed = store.consents.find_scope(user.id, self.client.client_id)
        if not self.has_consent(allowed):
            return self.show_consent_page(user, allowed)
        if self.ticket and not store.tickets.claim(self.ticket):
            raise RequestGoneError
        return server.create_authorization_response(self.grant.request, grant_user=locked, grant=self.grant)
