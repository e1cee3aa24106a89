"""What has to happen before an authorization request can be answered (OpenID Connect Core §3.1.2.1,
§3.1.2.3).

Enters: a valid request, its ticket if it has one already, and whoever is signed in with this browser. Leaves:
a redirect to the sign-in page or the choice of an account, the consent page, the answer; or an error for the
client, where it forbade to ask.
"""

from functools import cached_property
from typing import Any

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
from models import Client
from protocol import claims, clock, redirect_uris, scopes, typed_text
from protocol.authentication_request import AuthenticationRequest, UnmetAuthenticationRequirementsError
from protocol.claims import ACR_VALUES
from services import browser_ids
from services.current import server, settings
from services.login_session import accounts, lock
from store.tickets import Ticket
from store.user_sessions import SignedIn
from tokens import id_token_hint


def address_of(ticket: str, client_id: str) -> str:
    """Return the address of a pending request; it names the client, for when the ticket is gone."""
    return url_for("authorize.authorize", client_id=client_id, ticket=ticket)


class RequestGoneError(Exception):
    """The request was answered by somebody faster: another tab."""


def nobody() -> LoginRequiredError:
    """In the same words whatever the reason: they would tell who is here."""
    return LoginRequiredError("nobody is signed in whom the request would accept")


class Interaction:
    """A request that was found valid, and what has to happen before it can be answered."""

    def __init__(
        self, grant: Any, parameters: dict[str, str], ticket: str | None, kept: Ticket | None
    ) -> None:
        self.grant = grant
        self.client: Client = grant.request.client
        self.asked: AuthenticationRequest = grant.authentication
        self.parameters = parameters  # with what they left to the registration decided already
        self.ticket = ticket
        self.assigned_to: int | None = kept.session_id if kept is not None else None
        self.created_at: int = kept.created_at if kept is not None else clock.now() + 1

    def go_on(self) -> ResponseReturnValue:
        """The next step; raises OAuth2Error where the client must hear of it."""
        self.check_request()
        if "create" in self.asked.prompt and self.assigned_to is None:
            return self.lead_to("signup.signup" if settings.signup == "open" else "login.login")
        person = self.find_person()
        if person is None:
            return self.ask_to_sign_in()
        if self.must_prove_again(person):
            return self.ask_to_sign_in(again=True)
        if "select_account" in self.asked.prompt and self.assigned_to != person.session_id:
            return self.lead_to("accounts.choose_account")
        self.check_person(person)
        allowed = self.allowed_here.get(person.id)
        if not self.is_allowed(allowed) or self.must_consent_again(person) or forms.is_stale():
            return self.ask_for_consent(person, allowed)
        return self.answer(person)

    def is_ready_for_decision(self, person: SignedIn) -> bool:
        """Whether all that comes before the consent page has happened.

        Raises OAuth2Error where it cannot happen any more.
        """
        if self.must_prove_again(person):
            return False
        self.check_person(person)
        return True

    # ---- who -----------------------------------------------------------------------------------------------

    @cached_property
    def allowed_here(self) -> dict[int, str]:
        """What those who are signed in with this browser have allowed this client, by person."""
        return store.consents.scopes_of([account.id for account in accounts()], self.client.client_id)

    def candidates(self) -> list[SignedIn]:
        """Who may be answered for. Where nobody may be asked, only people who have allowed this client
        something.

        Otherwise anybody's client could send a browser here unseen and learn who is signed in, hint by hint.
        """
        if self.asked.may_ask:
            return accounts()
        return [account for account in accounts() if account.id in self.allowed_here]

    def check_request(self) -> None:
        """Refuse what nobody could be answered for, before it matters who is here: how it is refused would
        tell.

        Raises LoginRequiredError, InvalidRequestError or UnmetAuthenticationRequirementsError.
        """
        if not self.asked.may_ask and not self.candidates():
            raise nobody()
        if self.asked.id_token_hint:
            _ = self.hinted_sub
        if self.asked.is_acr_unmet(ACR_VALUES):
            raise UnmetAuthenticationRequirementsError()

    def find_person(self) -> SignedIn | None:
        """Whose request this is: never another person's by accident.

        It is theirs who signed in or was chosen for it, else theirs whom the client names, else theirs who is
        here. Where several are, the present one is asked for consent even if it was given before: that page
        says whose account it is.
        """
        here = self.candidates()
        assigned = next((account for account in here if account.session_id == self.assigned_to), None)
        if assigned is not None or not here:
            return assigned
        if self.names_somebody():
            return next((account for account in here if self.is_named(account)), None)
        if len(here) > 1 and not self.asked.may_ask:
            known = store.client_sessions.sessions_with(
                self.client.client_id, [account.session_id for account in here]
            )
            if len(known) != 1:
                raise AccountSelectionRequiredError("several people are signed in")
            return next(account for account in here if account.session_id in known)
        return here[0]

    def names_somebody(self) -> bool:
        return bool(self.asked.id_token_hint or self.asked.subs() is not None or self.hinted_emails())

    def is_named(self, person: SignedIn) -> bool:
        """A hint of a signed token or a `sub` is binding; a `login_hint` is a wish that whoever signed in for
        it may overrule.
        """
        subject = self.subject_of(person)
        if self.asked.id_token_hint and subject != self.hinted_sub:
            return False
        subs = self.asked.subs()
        if subs is not None and subject not in subs:
            return False
        hinted = self.hinted_emails()
        return not hinted or person.email in hinted or self.assigned_to == person.session_id

    @cached_property
    def hinted_sub(self) -> str:
        """The subject of the `id_token_hint`, which may have expired (§3.1.2.1).

        Raises InvalidRequestError.
        """
        claims = id_token_hint.read(self.asked.id_token_hint or "")
        if claims is None or not id_token_hint.is_for(claims, self.client.client_id):
            raise InvalidRequestError("id_token_hint is not an ID token that was issued to this client")
        return str(claims["sub"])

    def hinted_emails(self) -> tuple[str, ...]:
        return typed_text.find_stored_forms(self.asked.login_hint or "")

    def subject_of(self, person: SignedIn) -> str:
        return claims.subject(self.client, person.sub, person.pairwise_secret)

    def check_person(self, person: SignedIn) -> None:
        """Raises LoginRequiredError: not the person that was asked for."""
        if self.names_somebody() and not self.is_named(person):
            raise LoginRequiredError("another person is signed in than the request names")

    def must_prove_again(self, person: SignedIn) -> bool:
        """`prompt=login` and `max_age` are satisfied by a sign-in that this request has led to."""
        if self.assigned_to == person.session_id and person.auth_time >= self.created_at:
            return False
        return "login" in self.asked.prompt or self.asked.is_old(person.auth_time, clock.now())

    def must_consent_again(self, person: SignedIn) -> bool:
        is_ambiguous = (
            len(accounts()) > 1 and self.assigned_to != person.session_id and not self.names_somebody()
        )
        return (
            "consent" in self.asked.prompt
            or (is_ambiguous and self.asked.may_ask)
            or self.may_be_an_impostor()
        )

    def may_be_an_impostor(self) -> bool:
        """Whether nothing proves that it is the client who asks: any program on the computer can listen at a
        loopback address or take a private-use scheme, and a public client has no secret (RFC 8252 §8.6, RFC
        6749 §10.2).

        In development the very port that is registered counts as the client's own, so that nobody is asked at
        every reload.
        """
        if not self.client.is_public or not redirect_uris.is_native(self.grant.redirect_uri):
            return False
        is_registered = self.grant.redirect_uri in self.client.redirect_uris
        return not (
            settings.is_development and is_registered and redirect_uris.is_web(self.grant.redirect_uri)
        )

    def is_allowed(self, allowed: str | None) -> bool:
        return allowed is not None and scopes.is_within(self.grant.scope_to_allow(), allowed)

    # ---- where to ------------------------------------------------------------------------------------------

    def ask_to_sign_in(self, *, again: bool = False) -> ResponseReturnValue:
        if not self.asked.may_ask:
            raise nobody()
        return self.lead_to("login.login", **({"again": 1} if again else {}))

    def lead_to(self, endpoint: str, **values: Any) -> ResponseReturnValue:
        """To a page of ours, and from there back to this request."""
        ticket = self.ticket or self.keep()
        return redirect(url_for(endpoint, next=address_of(ticket, self.client.client_id), **values), 303)

    def ask_for_consent(self, person: SignedIn, allowed: str | None) -> ResponseReturnValue:
        """The decision is bound to the session that it was asked of."""
        if not self.asked.may_ask:
            raise nobody() if allowed is None else ConsentRequiredError("the person has to be asked")
        if self.ticket is None:
            self.ticket = self.keep(person.session_id)
        elif self.assigned_to != person.session_id:
            store.tickets.assign(self.ticket, browser_ids.digests(), person.session_id)
        omit_form_action()
        return render_template(
            "consent.html",
            ticket=self.ticket,
            address=address_of(self.ticket, self.client.client_id),
            client=self.client,
            redirect_host=redirect_uris.display_host(self.grant.redirect_uri),
            on_this_computer=redirect_uris.is_native(self.grant.redirect_uri),
            scopes=store.scopes.descriptions(scopes.split(self.grant.scope_to_allow())),
            already_allowed=scopes.split(allowed),
            asks_each_time=self.may_be_an_impostor(),
            person=person,
            others=len(accounts()) > 1,
        )

    def keep(self, session_id: int | None = None) -> str:
        """Store the request; returns its ticket."""
        ticket = credentials.random_text()
        store.tickets.add(
            ticket, browser_ids.digest(), self.client.client_id, self.parameters, clock.now(), session_id
        )
        return ticket

    def answer(self, person: SignedIn) -> ResponseReturnValue:
        locked = lock(person.session_id)
        if locked is None:
            return self.ask_to_sign_in()
        allowed = store.consents.find_scope(
            person.id, self.client.client_id
        )  # it may have been taken back before the lock
        if not self.is_allowed(allowed):
            return self.ask_for_consent(person, allowed)
        if self.ticket and not store.tickets.claim(self.ticket):
            raise RequestGoneError
        return server.create_authorization_response(self.grant.request, grant_user=locked, grant=self.grant)
