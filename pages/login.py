"""`/login` and `/logout`. The password is hashed before anything is locked, for unknown accounts too: same
words, same time.

Too many failures are answered 429, whether the account exists or not, and too many hashes at once 503.
"""

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from wtforms import BooleanField, PasswordField, StringField

import errors
import store.logout_notices
import store.users
from middleware import forms
from models import User
from pages.formatting import BUSY, BUSY_SECONDS, too_many_tries
from pages.navigation import Pending, find_lost_request, find_pending, next_path, pending_ticket
from services import passwords, throttling
from services.current import password_hashes, settings
from services.event_log import Reason, set_reason
from services.login_session import (
    accounts,
    find_known_device,
    receipts_of_sign_out,
    sign_in,
    sign_out,
    signed_in,
)
from store.user_sessions import SignedIn

blueprint = Blueprint("login", __name__)


class SignInForm(forms.Form):
    email = StringField("Email address")
    password = PasswordField("Password")
    keep = BooleanField("Keep me signed in on this device")


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> ResponseReturnValue:
    form = SignInForm()
    if not forms.is_sent():
        return show(form)
    typed = form.email.data or ""
    account = store.users.account_of(typed)
    failures, seconds = throttling.for_sign_in(account, find_known_device(account))
    if seconds:
        set_reason(Reason.THROTTLED)
        return show(form, too_many_tries(seconds)), 429, {"Retry-After": str(seconds)}
    try:
        user, password_hash = check_password(typed, form.password.data or "")
    except errors.TooManyHashesError:
        set_reason(Reason.BUSY)
        return show(form, BUSY), 503, {"Retry-After": BUSY_SECONDS}
    if user is None or not sign_in(user.id, user.password_hash or "", pending_ticket(), form.keep.data):
        throttling.count_failure(failures)
        return show(form, "This address and password do not belong together."), 400
    if password_hash != user.password_hash:
        store.users.set_password_hash(user.id, password_hash)
    return redirect(next_path(), 303)


def show(form: SignInForm, problem: str | None = None) -> str:
    pending = find_pending()
    person = person_of(pending)
    must_sign_in = "again" in request.args  # the client asks for a sign-in now, whoever is signed in already
    if request.method != "POST":
        form.email.data = (
            pending.login_hint
            if pending and pending.login_hint
            else person.email
            if person and must_sign_in
            else ""
        )
        form.keep.data = person is not None and must_sign_in and person.is_kept
    return render_template(
        "login.html",
        form=form,
        problem=problem,
        pending=pending,
        lost=find_lost_request(pending),
        person=person,
        must_sign_in=must_sign_in,
        signup_is_open=settings.signup == "open",
    )


def person_of(pending: Pending | None) -> SignedIn | None:
    """Whom the request goes on with when nobody else signs in: whose it is already, else the
    present account.
    """
    if pending is None or pending.session_id is None:
        return signed_in()
    return next((account for account in accounts() if account.session_id == pending.session_id), signed_in())


def check_password(email: str, password: str) -> tuple[User | None, str]:
    """The person, when address and password belong together and the account is open, and the hash to keep
    from now on.

    Takes as long when they do not. Raises TooManyHashesError.
    """
    user = store.users.find_by_email(email)
    known_hash = user.password_hash if user else None
    with password_hashes.acquire():
        form = passwords.find_form(password, known_hash)
        if user is None or known_hash is None or form is None or user.disabled_at is not None:
            set_reason(why_not(user, form is not None), sub=user.sub if user else None)
            return None, ""
        is_old = passwords.needs_rehash(password, form, known_hash)
        return user, passwords.hash_password(password) if is_old else known_hash


def why_not(user: User | None, is_right: bool) -> Reason:
    if user is None:
        return Reason.UNKNOWN_ACCOUNT
    return Reason.DISABLED if is_right else Reason.WRONG_PASSWORD


@blueprint.route("/logout", methods=["GET", "POST"])
def logout() -> ResponseReturnValue:
    """GET asks, or says that it is done; POST signs out: everybody here, or only the present account."""
    here = accounts()
    if not forms.is_sent():
        return render_template("logout.html", people=here, told={} if here else names_by_state())
    who = request.form.get("who", "everybody")
    gone = here if who == "everybody" else [person for person in here if str(person.session_id) == who]
    sign_out(gone)
    return redirect(url_for("login.logout" if len(gone) == len(here) else "home.home"), 303)


def names_by_state() -> dict[str, list[str]]:
    """The applications that are told of the sign-out that left nobody here, by what became of it so far."""
    names: dict[str, list[str]] = {}
    for receipt in receipts_of_sign_out():
        of_state = names.setdefault(store.logout_notices.state_of(receipt), [])
        if receipt.client_name not in of_state:
            of_state.append(receipt.client_name)
    return names
