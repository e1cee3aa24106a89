"""`/`: users see whether they are signed in, and developers find the way in."""

from flask import Blueprint, render_template

from services.current import settings
from services.demo import find_client
from services.login_session import find_current_user, has_other_users

blueprint = Blueprint("home", __name__)


@blueprint.get("/")
def home() -> str:
    """Return the home page."""
    return render_template(
        "home.html",
        user=find_current_user(),
        has_others=has_other_users(),
        signup_is_open=settings.signup == "open",
        has_demo=find_client() is not None,
    )
