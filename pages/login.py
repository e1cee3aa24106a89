"""`/login` and `/logout`. The password is hashed before anything is locked, for unknown accounts too: same words, same time."""

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from wtforms import PasswordField, StringField

import store.users
from browser import sign_in, sign_out, signed_in
from current import settings
from models import User
from pages.navigation import find_pending, next_path
from protocol import credentials, passwords

blueprint = Blueprint("login", __name__)


class SignInForm(FlaskForm):
    email = StringField("Email address")
    password = PasswordField("Password")


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> ResponseReturnValue:
    form = SignInForm()
    if request.method != "POST":
        return show(form)
    password = form.password.data or ""
    user = find_with_right_password(form.email.data or "", password)
    renewed = passwords.hash_password(password) if user and passwords.needs_rehash(user.password_hash or "") else None
    if user is None or not sign_in(user.id, user.password_hash or ""):
        return show(form, "This address and password do not belong together."), 400
    if renewed is not None:
        store.users.set_password_hash(user.id, renewed)
    return redirect(next_path(), 303)


def show(form: SignInForm, problem: str | None = None) -> str:
    return render_template(
        "login.html",
        form=form,
        problem=problem,
        pending=find_pending(),
        person=signed_in(),
        signup_is_open=settings.signup == "open",
    )


def find_with_right_password(email: str, password: str) -> User | None:
    """The person, when address and password belong together and the account is open. Takes as long when they do not."""
    user = store.users.find_by_email(email)
    if len(password) > passwords.MAXIMUM_LENGTH:
        password = ""  # refused before hashing, at the usual price: nobody has an empty password
    is_right = passwords.is_right(password, user.password_hash if user else None)
    return user if user is not None and is_right and user.disabled_at is None else None


@blueprint.route("/logout", methods=["GET", "POST"])
def logout() -> ResponseReturnValue:
    """GET asks, or says that it is done; POST signs out. With a ticket, another account may go on with its request."""
    if request.method != "POST":
        return render_template("logout.html", person=signed_in())
    ticket = request.form.get("ticket")
    sign_out(credentials.digest(ticket) if ticket else None)
    if ticket:
        return redirect(url_for("login.login", next=url_for("authorize.authorize", ticket=ticket)), 303)
    return redirect(url_for("login.logout"), 303)
