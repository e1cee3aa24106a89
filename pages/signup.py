"""`/signup`: somebody makes an account, where the operator lets them (`OSTIARY_SIGNUP`).

The address stays unverified.
"""

from flask import Blueprint, abort, redirect, render_template
from flask.typing import ResponseReturnValue
from wtforms import BooleanField, PasswordField, StringField

from errors import ConflictError, InvalidInputError, ThrottledError, TooManyHashesError
from middleware import forms
from pages.formatting import BUSY, BUSY_SECONDS, too_many_tries
from pages.navigation import find_closed_request, find_pending_request, next_path, pending_ticket
from pages.problem_texts import by_field
from services import passwords
from services.current import settings
from services.event_log import Reason, set_reason
from services.login_session import find_current_user, sign_in
from services.sign_up import sign_up
from services.users import NewUser

blueprint = Blueprint("signup", __name__)


class SignUpForm(forms.Form):
    """A new account."""

    name = StringField("Your name")
    email = StringField("Email address")
    password = PasswordField("Password")
    keep = BooleanField("Keep me signed in on this device")


@blueprint.route("/signup", methods=["GET", "POST"])
def signup() -> ResponseReturnValue:
    """Return the form, or make the account and sign it in."""
    if settings.signup != "open":
        abort(404)
    form = SignUpForm()
    if not forms.is_sent():
        return render_form(form, {})
    new = NewUser(form.email.data or "", form.name.data or "", form.password.data or "")
    try:
        user = sign_up(new)
    except InvalidInputError as error:
        set_reason(Reason.INVALID_FORM)
        return render_form(form, by_field(error.problems)), 400
    except ThrottledError as error:
        problem = too_many_tries(error.seconds)
        return render_form(form, {"email": problem}), 429, {"Retry-After": str(error.seconds)}
    except TooManyHashesError:
        set_reason(Reason.BUSY)
        return render_form(form, {"password": BUSY}), 503, {"Retry-After": BUSY_SECONDS}
    except ConflictError as error:
        return render_form(form, by_field(error.problems)), 400
    sign_in(user.id, user.password_hash or "", pending_ticket(), form.keep.data)
    return redirect(next_path(), 303)


def render_form(form: SignUpForm, problems: dict[str, str]) -> str:
    """Return the page with the form. problems: by field."""
    pending = find_pending_request()
    return render_template(
        "signup.html",
        form=form,
        problems=problems,
        pending=pending,
        closed=find_closed_request(pending),
        user=find_current_user() if forms.is_stale() else None,
        minimum_length=passwords.MINIMUM_LENGTH,
    )
