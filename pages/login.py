"""`/login` and `/logout`.

Too many failures are answered 429, whether the account exists or not, and too many hashes at once 503. An
unknown account gets the same words in the same time as a wrong password.
"""

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from wtforms import BooleanField, PasswordField, StringField

import store.logout_notices
from errors import ThrottledError, TooManyHashesError, WrongPasswordError
from middleware import forms
from pages.formatting import BUSY, BUSY_SECONDS, too_many_tries
from pages.navigation import (
    PendingRequest,
    find_closed_request,
    find_pending_request,
    next_path,
    pending_ticket,
)
from services import passwords
from services.current import settings
from services.event_log import Reason, set_reason
from services.login_session import find_current_user, receipts_of_sign_out, sign_out, signed_in_users
from store.user_sessions import SignedIn

blueprint = Blueprint("login", __name__)


class SignInForm(forms.Form):
    """An address and a password."""

    email = StringField("Email address")
    password = PasswordField("Password")
    keep = BooleanField("Keep me signed in on this device")


# ---- sign in -----------------------------------------------------------------------------------------------


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> ResponseReturnValue:
    """Return the form, or sign in and go on with `next`."""
    form = SignInForm()
    if not forms.is_sent():
        return render_form(form)
    try:
        passwords.sign_in(form.email.data or "", form.password.data or "", pending_ticket(), form.keep.data)
    except ThrottledError as error:
        problem = too_many_tries(error.seconds)
        return render_form(form, problem), 429, {"Retry-After": str(error.seconds)}
    except TooManyHashesError:
        set_reason(Reason.BUSY)
        return render_form(form, BUSY), 503, {"Retry-After": BUSY_SECONDS}
    except WrongPasswordError:
        return render_form(form, "This address and password do not belong together."), 400
    return redirect(next_path(), 303)


def render_form(form: SignInForm, problem: str | None = None) -> str:
    """Return the page with the form."""
    pending = find_pending_request()
    user = find_user_of(pending)
    must_sign_in = "again" in request.args  # the client asks for a sign-in now, whoever is signed in already
    if request.method != "POST":
        fill_in(form, pending, user if must_sign_in else None)
    return render_template(
        "login.html",
        form=form,
        problem=problem,
        pending=pending,
        closed=find_closed_request(pending),
        user=user,
        must_sign_in=must_sign_in,
        signup_is_open=settings.signup == "open",
    )


def fill_in(form: SignInForm, pending: PendingRequest | None, user: SignedIn | None) -> None:
    """Fill in what is known already: the client's `login_hint`, or the user who has to sign in again."""
    hint = pending.login_hint if pending else ""
    form.email.data = hint or (user.email if user else "")
    form.keep.data = user is not None and user.is_kept


def find_user_of(pending: PendingRequest | None) -> SignedIn | None:
    """Return the user whom the request goes on with when nobody else signs in.

    That is the user whose request it is already, else the present account.
    """
    if pending is None or pending.session_id is None:
        return find_current_user()
    return next(
        (user for user in signed_in_users() if user.session_id == pending.session_id), find_current_user()
    )


# ---- sign out ----------------------------------------------------------------------------------------------


@blueprint.route("/logout", methods=["GET", "POST"])
def logout() -> ResponseReturnValue:
    """Return the question, or the receipts when nobody is left; POST signs out everybody or one account."""
    users = signed_in_users()
    if not forms.is_sent():
        notified = {} if users else clients_by_notice_state()
        return render_template("logout.html", users=users, notified=notified)
    who = request.form.get("who", "everybody")
    chosen = users if who == "everybody" else [user for user in users if str(user.session_id) == who]
    sign_out(chosen)
    return redirect(url_for("login.logout" if len(chosen) == len(users) else "home.home"), 303)


def clients_by_notice_state() -> dict[str, list[str]]:
    """Return the names of the clients that the last sign-out is told to, by the state of their notices."""
    names: dict[str, list[str]] = {}
    for receipt in receipts_of_sign_out():
        of_state = names.setdefault(store.logout_notices.state_of(receipt), [])
        if receipt.client_name not in of_state:
            of_state.append(receipt.client_name)
    return names
