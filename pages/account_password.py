"""`/account/password`: a person changes their password. Whoever knew the old one is signed out everywhere but
here.

The present password is asked for however fresh the sign-in is, and guesses at it count as failed sign-ins.
Both passwords are hashed before anything is locked.
"""

from functools import partial

from flask import Blueprint, flash, redirect, url_for
from flask.typing import ResponseReturnValue
from wtforms import PasswordField

import errors
import store.codes
import store.tokens
import store.user_sessions
import store.users
from middleware import forms
from pages.account import for_signed_in, show
from pages.formatting import BUSY, BUSY_SECONDS, too_many_tries
from pages.login import check_password
from pages.problem_texts import problem_text
from services import passwords, throttling
from services.current import password_hashes
from services.event_log import Event, Reason, set_reason, write
from services.login_session import find_known_device, sign_in
from services.sessions import end_sessions
from store.user_sessions import SignedIn
from unit_of_work import after_commit

blueprint = Blueprint("account_password", __name__)


class PasswordForm(forms.Form):
    password = PasswordField("Present password")
    new_password = PasswordField("New password")


@blueprint.route("/account/password", methods=["GET", "POST"])
@for_signed_in
def password(person: SignedIn) -> ResponseReturnValue:
    form = PasswordForm()
    if not forms.is_sent():
        return show_form(person, form, {})
    present, new = form.password.data or "", form.new_password.data or ""
    if problem := find_problem(present, new):
        set_reason(Reason.INVALID_FORM, sub=person.sub)
        return show_form(person, form, {"new_password": problem}), 400
    account = store.users.account_of(person.email)
    failures, seconds = throttling.for_sign_in(account, find_known_device(account))
    if seconds:
        problem = too_many_tries(seconds)
        set_reason(Reason.THROTTLED, sub=person.sub)
        return show_form(person, form, {"password": problem}), 429, {"Retry-After": str(seconds)}
    try:
        user, _renewed = check_password(person.email, present)
        new_hash = hash_new(new) if user is not None else ""
    except errors.TooManyHashesError:
        set_reason(Reason.BUSY, sub=person.sub)
        return show_form(person, form, {"password": BUSY}), 503, {"Retry-After": BUSY_SECONDS}
    if user is None or not change(person, user.password_hash or "", new_hash):
        throttling.count_failure(failures)
        return show_form(person, form, {"password": "This is not your present password."}), 400
    after_commit(partial(write, Event.PASSWORD_CHANGED, sub=person.sub))
    flash("Your password is changed. Everywhere else you are signed out.")
    return redirect(url_for("account.overview"), 303)


def find_problem(present: str, new: str) -> str | None:
    if passwords.normal(new) == passwords.normal(present):
        return "This is the same password again. Choose another one."
    problem = passwords.find_problem(new)
    return problem_text(problem) if problem else None


def hash_new(new: str) -> str:
    """Raises TooManyHashesError."""
    with password_hashes.acquire():
        return passwords.hash_password(new)


def change(person: SignedIn, checked_hash: str, new_hash: str) -> bool:
    """Set the password, and end what began with the old one: other sessions, pending codes, tokens that are
    not this session's.

    False when the password was changed, or the person disabled, since it was checked. This session goes on
    under new ids.
    """
    owner = store.users.lock(person.id)
    if owner is None or owner.password_hash != checked_hash:
        set_reason(Reason.DISABLED if owner is None else Reason.WRONG_PASSWORD, sub=person.sub)
        return False
    store.users.set_password_hash(person.id, new_hash)
    if others := store.user_sessions.others_of_user(person.id, person.session_id):
        end_sessions(person.id, others)
    store.codes.delete_pending(user_id=person.id)
    store.tokens.revoke_of_other_sessions(person.id, person.session_id)
    return sign_in(person.id, new_hash)


def show_form(person: SignedIn, form: PasswordForm, problems: dict[str, str]) -> str:
    return show("password", person, form=form, problems=problems, minimum_length=passwords.MINIMUM_LENGTH)
