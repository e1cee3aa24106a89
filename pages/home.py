"""`/`: where a person sees whether they are signed in, and a developer finds the way in."""

from flask import Blueprint, render_template

from pages.demo import find_client
from services.current import settings
from services.login_session import has_others, signed_in

blueprint = Blueprint("home", __name__)


@blueprint.get("/")
def home() -> str:
    return render_template(
        "home.html",
        person=signed_in(),
        has_others=has_others(),
        signup_is_open=settings.signup == "open",
        has_demo=find_client() is not None,
    )
