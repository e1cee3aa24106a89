"""`/account/applications`: what a user has allowed clients, and how to take it back (RFC 6749 §1.4, RFC 7009
§1).
"""

from flask import Blueprint, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

import store.consents
import store.scopes
from middleware import forms
from middleware.error_responses import page_error
from models import Client
from pages.account_layout import login_required, render_account_page
from protocol import redirect_uris, scopes
from services.consents import withdraw
from store.consents import ConsentRow
from store.user_sessions import SignedIn

blueprint = Blueprint("account_applications", __name__)


@blueprint.route("/account/applications", methods=["GET", "POST"])
@login_required
def applications(user: SignedIn) -> ResponseReturnValue:
    """Return the list of clients that have access, or take it from the one that the form names."""
    if forms.is_sent():
        return remove_access(user, request.form.get("client", ""))
    consents = store.consents.of_user(user.id)
    words = descriptions_for(consents)
    return render_account_page(
        "applications", user, consents=consents, hosts=redirect_hosts, words=words, split=scopes.split
    )


def remove_access(user: SignedIn, client_id: str) -> ResponseReturnValue:
    """Take back what the user has allowed a client, and return the answer."""
    if not withdraw(user.id, client_id):
        back = (url_for("account_applications.applications"), "Applications that you allowed")
        return page_error(404, "It has no access", "You removed its access already.", link=back)
    flash("Its access is removed. The application has to ask you again.")
    return redirect(url_for("account_applications.applications"), 303)


def redirect_hosts(client: Client) -> list[str]:
    """Return the hosts of the client's redirect URIs, each once."""
    return list(dict.fromkeys(redirect_uris.display_host(uri) for uri in client.redirect_uris))


def descriptions_for(consents: list[ConsentRow]) -> dict[str, str]:
    """Return what each of their scopes means. One SELECT, none for none."""
    names = scopes.split(" ".join(row.scope for row in consents))
    return store.scopes.descriptions(names) if names else {}
