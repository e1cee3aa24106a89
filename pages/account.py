"""`/account/`, `/account/sessions`, `/account/sign-outs`: what users see of the present account, and where it
is signed in.

Each page has one address: GET shows it, its forms POST to it and are answered 303. Whoever is not signed in
is asked to, first. What a form names is looked for among the user's own rows: those of other users are not
found, like those that have ended.
"""

from itertools import groupby

from flask import Blueprint, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

import store.client_sessions
import store.logout_notices
import store.user_sessions
import store.users
from middleware import forms
from middleware.error_responses import page_error
from pages import formatting
from pages.account_layout import login_required, render_account_page
from protocol import clock
from services.login_session import cookie_values, sign_out, sign_out_elsewhere
from store.logout_notices import ReceiptRow
from store.user_sessions import SignedIn

blueprint = Blueprint("account", __name__)
blueprint.add_app_template_filter(formatting.utc)
blueprint.add_app_template_filter(formatting.date_and_time)
blueprint.add_app_template_filter(formatting.describe_browser, "browser_words")
blueprint.add_app_template_filter(formatting.describe_methods, "method_words")
blueprint.add_app_template_filter(store.logout_notices.state_of)


@blueprint.get("/account/")
@login_required
def overview(user: SignedIn) -> str:
    """Return the account's own page."""
    row = store.users.find(user.id)
    is_verified = row is not None and row.email_verified_at is not None
    return render_account_page("overview", user, is_verified=is_verified)


@blueprint.route("/account/sessions", methods=["GET", "POST"])
@login_required
def sessions(user: SignedIn) -> ResponseReturnValue:
    """Return the list of browsers that the user is signed in with, or end what its form names."""
    if forms.is_sent():
        return end_sessions(user, request.form.get("end", ""))
    found = store.user_sessions.of_user(user.id, clock.now())
    this_one_first = sorted(found, key=lambda session: session.id != user.session_id)
    clients: dict[int, list[str]] = {}
    for row in store.client_sessions.names_of_user(user.id):
        clients.setdefault(row.session_id, []).append(row.client_name)
    return render_account_page("sessions", user, sessions=this_one_first, clients=clients)


def end_sessions(user: SignedIn, which: str) -> ResponseReturnValue:
    """Sign the user out of some sessions, and return the answer. which: an id, "others", or "everywhere"."""
    if which in ("everywhere", str(user.session_id)):
        sign_out([user], everywhere=which == "everywhere")
        return redirect(url_for("home.home" if cookie_values() else "login.logout"), 303)
    if not sign_out_elsewhere(user, None if which == "others" else which):
        back = (url_for("account.sessions"), "Where you are signed in")
        return page_error(404, "Not signed in there", "You are signed out there already.", link=back)
    flash("You are signed out everywhere else." if which == "others" else "You are signed out there.")
    return redirect(url_for("account.sessions"), 303)


@blueprint.get("/account/sign-outs")
@login_required
def sign_outs(user: SignedIn) -> str:
    """Return the notices of logout, one group for those that were written at once."""
    receipts = store.logout_notices.of_user(user.id)
    grouped = [(at, list(group)) for at, group in groupby(receipts, key=written_at)]
    return render_account_page("sign_outs", user, sign_outs=grouped)


def written_at(receipt: ReceiptRow) -> int:
    """Return when the notice was written."""
    return receipt.created_at
