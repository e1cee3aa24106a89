"""What all pages of an account share: they need somebody who is signed in, and stand in one layout."""

from collections.abc import Callable
from functools import wraps

from flask import redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from services.login_session import find_current_user, has_other_users
from store.user_sessions import SignedIn


def login_required(view: Callable[[SignedIn], ResponseReturnValue]) -> Callable[[], ResponseReturnValue]:
    """Return a view that is given the present account; who is not signed in does so first, and comes back."""

    @wraps(view)
    def view_of_user() -> ResponseReturnValue:
        user = find_current_user()
        if user is None:
            return redirect(url_for("login.login", next=request.script_root + request.path), 303)
        return view(user)

    return view_of_user


def render_account_page(page: str, user: SignedIn, **values: object) -> str:
    """Return a page of the account."""
    return render_template(f"account/{page}.html", user=user, has_others=has_other_users(), **values)
