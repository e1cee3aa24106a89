"""`/`: users see whether they are signed in, and developers find the way in."""

from flask import Blueprint, render_template

from services.current import settings
from services.demo import find_client
from services.login_session import has_others, signed_in

blueprint = Blueprint("home", __name__)


@blueprint.get("/")
def home() -> str:
    """Return the home page."""
    return render_template(
        "home.html",
        user=signed_in(),
        has_others=has_others(),
        signup_is_open=settings.signup == "open",
        has_demo=find_client() is not None,
    )
