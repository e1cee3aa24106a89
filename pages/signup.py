"""`/signup`: a person makes an account, where the operator lets them (`OSTIARY_SIGNUP`).

The address stays unverified.
"""

from functools import partial

from flask import Blueprint, abort, redirect, render_template
from flask.typing import ResponseReturnValue
from wtforms import BooleanField, PasswordField, StringField

import errors
import store.users
from middleware import forms
from pages.formatting import BUSY, BUSY_SECONDS, too_many_tries
from pages.navigation import find_lost_request, find_pending, next_path, pending_ticket
from pages.problem_texts import problem_text
from protocol import typed_text
from services import passwords, throttling
from services.current import password_hashes, settings
from services.event_log import Event, Reason, set_reason, write
from services.login_session import sign_in, signed_in
from unit_of_work import after_commit

blueprint = Blueprint("signup", __name__)


class SignUpForm(forms.Form):
    name = StringField("Your name")
    email = StringField("Email address")
    password = PasswordField("Password")
    keep = BooleanField("Keep me signed in on this device")


@blueprint.route("/signup", methods=["GET", "POST"])
def signup() -> ResponseReturnValue:
    if settings.signup != "open":
        abort(404)
    form = SignUpForm()
    if not forms.is_sent():
        return show(form, {})
    problems = find_problems(form)
    email = store.users.normal_email(form.email.data or "")
    if problems or email is None:
        set_reason(Reason.INVALID_FORM)
        return show(form, problems), 400
    failures = throttling.for_sign_up()
    if seconds := throttling.seconds_to_wait([*failures, throttling.for_new_account()]):
        return too_many(form, seconds)
    try:
        with password_hashes.acquire():
            password_hash = passwords.hash_password(form.password.data or "")
    except errors.TooManyHashesError:
        set_reason(Reason.BUSY)
        return show(form, {"password": BUSY}), 503, {"Retry-After": BUSY_SECONDS}
    if store.users.find_by_email(form.email.data or "") is not None:
        throttling.count_failure(failures)
        set_reason(Reason.ACCOUNT_EXISTS)
        return show(form, {"email": "There is an account with this address. Sign in instead."}), 400
    # others were faster while this password was hashed
    if seconds := throttling.claim(throttling.for_new_account()):
        return too_many(form, seconds)
    user = store.users.add(email, typed_text.name(form.name.data or ""), password_hash)
    after_commit(partial(write, Event.SIGN_UP, sub=user.sub))
    sign_in(user.id, password_hash, pending_ticket(), form.keep.data)
    return redirect(next_path(), 303)


def too_many(form: SignUpForm, seconds: int) -> ResponseReturnValue:
    set_reason(Reason.THROTTLED)
    return show(form, {"email": too_many_tries(seconds)}), 429, {"Retry-After": str(seconds)}


def find_problems(form: SignUpForm) -> dict[str, str]:
    """What is wrong with which field, in words for the person."""
    problems = {}
    name = typed_text.name(form.name.data or "")
    if typed_text.refused_in(name):
        problems["name"] = "Leave out control characters, and those that turn the direction of writing."
    elif typed_text.problem(name, typed_text.NAME_LENGTH):
        problems["name"] = f"Tell us how to address you, in up to {typed_text.NAME_LENGTH} characters."
    if store.users.normal_email(form.email.data or "") is None:
        problems["email"] = "This does not look like an email address."
    if problem := passwords.find_problem(form.password.data or ""):
        problems["password"] = problem_text(problem)
    return problems


def show(form: SignUpForm, problems: dict[str, str]) -> str:
    pending = find_pending()
    return render_template(
        "signup.html",
        form=form,
        problems=problems,
        pending=pending,
        lost=find_lost_request(pending),
        person=signed_in() if forms.is_stale() else None,
        minimum_length=passwords.MINIMUM_LENGTH,
    )
