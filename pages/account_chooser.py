"""`/accounts`: several people, or one person's several accounts, signed in with one browser; which of them is
meant?
"""

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from middleware import forms
from pages.navigation import find_lost_request, find_pending, next_path, pending_ticket
from services.login_session import accounts, switch_account

blueprint = Blueprint("accounts", __name__)


@blueprint.route("/accounts", methods=["GET", "POST"])
def choose_account() -> ResponseReturnValue:
    """GET shows who is signed in here; POST goes on as one of them, with the request that `next` resumes if
    there is one.
    """
    here = accounts()
    if not forms.is_sent():
        if not here:
            return redirect(url_for("login.login", next=request.args.get("next")), 303)
        pending = find_pending()
        return render_template("accounts.html", people=here, pending=pending, lost=find_lost_request(pending))
    chosen = next((person for person in here if str(person.session_id) == request.form.get("account")), None)
    if chosen is None:
        abort(400)
    switch_account(chosen, pending_ticket())
    return redirect(next_path(), 303)
