"""`/account/password`: users change their password. Whoever knew the old one is signed out everywhere but
here.
"""

from flask import Blueprint, flash, redirect, url_for
from flask.typing import ResponseReturnValue
from wtforms import PasswordField

from errors import InvalidInputError, ThrottledError, TooManyHashesError, WrongPasswordError
from middleware import forms
from pages.account_layout import login_required, render_account_page
from pages.formatting import BUSY, BUSY_SECONDS, too_many_tries
from pages.problem_texts import problem_text
from services import passwords
from services.event_log import Reason, set_reason
from store.user_sessions import SignedIn

blueprint = Blueprint("account_password", __name__)


class PasswordForm(forms.Form):
    """The present password, and the one that is to take its place."""

    password = PasswordField("Present password")
    new_password = PasswordField("New password")


@blueprint.route("/account/password", methods=["GET", "POST"])
@login_required
def password(user: SignedIn) -> ResponseReturnValue:
    """Return the form, or change the password."""
    form = PasswordForm()
    if not forms.is_sent():
        return render_form(user, form, {})
    try:
        passwords.change(user, form.password.data or "", form.new_password.data or "")
    except InvalidInputError as error:
        set_reason(Reason.INVALID_FORM, sub=user.sub)
        return render_form(user, form, {"new_password": problem_text(error.problems[0])}), 400
    except ThrottledError as error:
        problem = too_many_tries(error.seconds)
        return render_form(user, form, {"password": problem}), 429, {"Retry-After": str(error.seconds)}
    except TooManyHashesError:
        set_reason(Reason.BUSY, sub=user.sub)
        return render_form(user, form, {"password": BUSY}), 503, {"Retry-After": BUSY_SECONDS}
    except WrongPasswordError:
        return render_form(user, form, {"password": "This is not your present password."}), 400
    flash("Your password is changed. Everywhere else you are signed out.")
    return redirect(url_for("account.overview"), 303)


def render_form(user: SignedIn, form: PasswordForm, problems: dict[str, str]) -> str:
    """Return the page with the form. problems: by field."""
    return render_account_page(
        "password", user, form=form, problems=problems, minimum_length=passwords.MINIMUM_LENGTH
    )
