"""`/account/`, `/account/sessions`, `/account/sign-outs`: what a person sees of the present account, and
where it is signed in.

Each page has one address: GET shows it, its forms POST to it and are answered 303. Whoever is not signed in
is asked to, first. What a form names is looked for among the person's own rows: another person's are not
there, like those that have ended.
"""

from collections.abc import Callable
from functools import partial, wraps
from itertools import groupby
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

import store.client_sessions
import store.logout_notices
import store.user_sessions
import store.users
from middleware import forms
from middleware.error_responses import page_error
from pages import formatting
from protocol import clock
from services.event_log import Event, write
from services.login_session import cookie_values, has_others, sign_out, signed_in
from services.sessions import end_sessions
from store.logout_notices import ReceiptRow
from store.user_sessions import SignedIn
from unit_of_work import after_commit

blueprint = Blueprint("account", __name__)
blueprint.add_app_template_filter(formatting.utc)
blueprint.add_app_template_filter(formatting.date_and_time)
blueprint.add_app_template_filter(formatting.describe_browser, "browser_words")
blueprint.add_app_template_filter(formatting.describe_methods, "method_words")
blueprint.add_app_template_filter(store.logout_notices.state_of)


def for_signed_in(view: Callable[[SignedIn], ResponseReturnValue]) -> Callable[[], ResponseReturnValue]:
    """The view, for the present account of this browser; where there is none, a sign-in that leads back to
    it.
    """

    @wraps(view)
    def view_of_person() -> ResponseReturnValue:
        person = signed_in()
        if person is None:
            return redirect(url_for("login.login", next=request.script_root + request.path), 303)
        return view(person)

    return view_of_person


def show(page: str, person: SignedIn, **values: Any) -> str:
    return render_template(f"account/{page}.html", person=person, has_others=has_others(), **values)


@blueprint.get("/account/")
@for_signed_in
def overview(person: SignedIn) -> str:
    user = store.users.find(person.id)
    return show("overview", person, is_verified=user is not None and user.email_verified_at is not None)


@blueprint.route("/account/sessions", methods=["GET", "POST"])
@for_signed_in
def sessions(person: SignedIn) -> ResponseReturnValue:
    if forms.is_sent():
        return end_chosen(person, request.form.get("end", ""))
    found = store.user_sessions.of_user(person.id, clock.now())
    here_first = sorted(found, key=lambda session: session.id != person.session_id)
    clients: dict[int, list[str]] = {}
    for row in store.client_sessions.names_of_user(person.id):
        clients.setdefault(row.session_id, []).append(row.client_name)
    return show("sessions", person, sessions=here_first, clients=clients)


def end_chosen(person: SignedIn, which: str) -> ResponseReturnValue:
    """which: the id of a session, "others", or "everywhere"."""
    if which in ("everywhere", str(person.session_id)):
        sign_out([person], everywhere=which == "everywhere")
        return redirect(url_for("home.home" if cookie_values() else "login.logout"), 303)
    store.users.lock(person.id)  # no sign-in elsewhere comes between the question and the end
    others = store.user_sessions.others_of_user(person.id, person.session_id)
    chosen = others if which == "others" else [number for number in others if str(number) == which]
    if not chosen and which != "others":
        back = (url_for("account.sessions"), "Where you are signed in")
        return page_error(404, "Not signed in there", "You are signed out there already.", link=back)
    ended = end_sessions(person.id, chosen)
    after_commit(partial(write, Event.SIGN_OUT, sub=person.sub, sessions=ended.sessions))
    flash("You are signed out everywhere else." if which == "others" else "You are signed out there.")
    return redirect(url_for("account.sessions"), 303)


@blueprint.get("/account/sign-outs")
@for_signed_in
def sign_outs(person: SignedIn) -> str:
    """The receipts, one group for what ended at once."""
    receipts = store.logout_notices.of_user(person.id)
    grouped = [(at, list(group)) for at, group in groupby(receipts, key=when_written)]
    return show("sign_outs", person, sign_outs=grouped)


def when_written(receipt: ReceiptRow) -> int:
    return receipt.created_at
