"""`/account/applications`: what a person has allowed clients, and how to take it back (RFC 6749 §1.4, RFC
7009 §1).
"""

from flask import Blueprint, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

import store.codes
import store.consents
import store.scopes
import store.tokens
import store.users
from middleware import forms
from middleware.error_responses import page_error
from models import Client
from pages.account import for_signed_in, show
from protocol import parameters, redirect_uris, scopes
from store.consents import ConsentRow
from store.user_sessions import SignedIn

blueprint = Blueprint("account_applications", __name__)


@blueprint.route("/account/applications", methods=["GET", "POST"])
@for_signed_in
def applications(person: SignedIn) -> ResponseReturnValue:
    if forms.is_sent():
        return remove_access(person, request.form.get("client", ""))
    consents = store.consents.of_user(person.id)
    return show(
        "applications", person, consents=consents, hosts=hosts, words=words_for(consents), split=scopes.split
    )


def remove_access(person: SignedIn, client_id: str) -> ResponseReturnValue:
    """End the consent, then the codes, then the tokens: an exchange that is under way is waited for, and its
    token ends too.
    """
    store.users.lock(person.id)
    if not parameters.VISIBLE.fullmatch(client_id) or not store.consents.withdraw(person.id, client_id):
        back = (url_for("account_applications.applications"), "Applications that you allowed")
        return page_error(404, "It has no access", "You removed its access already.", link=back)
    store.codes.delete_pending(person.id, client_id)
    store.tokens.revoke_of_user(person.id, client_id)
    flash("Its access is removed. The application has to ask you again.")
    return redirect(url_for("account_applications.applications"), 303)


def hosts(client: Client) -> list[str]:
    """Where its answers may go, each once."""
    return list(dict.fromkeys(redirect_uris.display_host(uri) for uri in client.redirect_uris))


def words_for(consents: list[ConsentRow]) -> dict[str, str]:
    """What each scope of them means. One SELECT, none for none."""
    names = scopes.split(" ".join(row.scope for row in consents))
    return store.scopes.descriptions(names) if names else {}
