"""`/accounts`: several accounts are signed in with one browser; the user says which one is meant."""

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from middleware import forms
from pages.navigation import find_closed_request, find_pending_request, next_path, pending_ticket
from services.login_session import signed_in_users, switch_account

blueprint = Blueprint("accounts", __name__)


@blueprint.route("/accounts", methods=["GET", "POST"])
def choose_account() -> ResponseReturnValue:
    """Return the list of who is signed in, or go on as one of them with the request that `next` resumes."""
    users = signed_in_users()
    if not forms.is_sent():
        if not users:
            return redirect(url_for("login.login", next=request.args.get("next")), 303)
        pending = find_pending_request()
        closed = find_closed_request(pending)
        return render_template("accounts.html", users=users, pending=pending, closed=closed)
    chosen = next((user for user in users if str(user.session_id) == request.form.get("account")), None)
    if chosen is None:
        abort(400)
    switch_account(chosen, pending_ticket())
    return redirect(next_path(), 303)
