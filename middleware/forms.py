"""Protect our own forms: each proves that our page sent it (CSRF), may arrive twice, and may be out of date.

Enters: a view that takes a user's POST. Leaves: its response. A form without the right CSRF token does
nothing: its page is shown again, filled in, with status 400, and what a view stores that has not asked
`is_stale` is undone. `middleware/repeated_forms.py` answers a form that arrives again.
"""

from flask import Flask, Response, current_app, g, render_template, request
from flask_wtf import FlaskForm
from flask_wtf.csrf import CSRFProtect, generate_csrf
from itsdangerous import BadData, URLSafeTimedSerializer
from werkzeug.datastructures import MultiDict

from crypto import credentials
from middleware.endpoint_policy import is_form_of_ours
from middleware.error_responses import page_error
from protocol import clock

SEPARATOR = "~"  # stands in no token of Flask-WTF
TOKEN_SALT = "wtf-csrf-token"  # noqa: S105 - how Flask-WTF signs its tokens


class FormTokens(CSRFProtect):
    """Flask-WTF's CSRF protection, with a token for each form.

    Its own are alike on all pages that one browser is shown in one second.
    """

    def _get_csrf_token(self) -> str | None:
        return (super()._get_csrf_token() or "").partition(SEPARATOR)[0]


csrf = FormTokens()


class Form(FlaskForm):
    """The fields of a page's form, read from a form only.

    Flask-WTF would read them from JSON too, where a value may be no text.
    """

    class Meta(FlaskForm.Meta):
        def wrap_formdata(self, form: FlaskForm, formdata: object) -> MultiDict[str, str] | None:
            """Return the fields that were sent; None where the form is only shown."""
            return request.form if request.method == "POST" else None


def new_token() -> str:
    """Return the hidden field `csrf_token` of one form, which also tells the form from others."""
    return f"{generate_csrf()}{SEPARATOR}{credentials.random_text(8)}"


def init_app(app: Flask) -> None:
    """Prepare the CSRF protection, and `form_token` for the templates."""
    app.config.update(
        # `answer_once` checks, because a repeated form is answered whatever its token
        WTF_CSRF_CHECK_DEFAULT=False,
        WTF_CSRF_TIME_LIMIT=None,  # as long as the session: a sign-in page may stay open over lunch
        # it wants a Referer, which our own Referrer-Policy takes away; see `check_origin`
        WTF_CSRF_SSL_STRICT=False,
    )
    csrf.init_app(app)
    app.jinja_env.globals["form_token"] = new_token


def is_sent() -> bool:
    """Return whether the view has a form to act on; if not (GET, a stale form) it shows its page."""
    return request.method == "POST" and not is_stale()


def is_stale() -> bool:
    """Return whether the form belongs to another session; then it changes nothing and is shown again."""
    g.was_asked_if_stale = True
    return bool(g.get("form_is_stale", False))


def is_ours() -> bool:
    """Return whether the request is a form of one of our pages, and there is a view for it."""
    return request.url_rule is not None and is_form_of_ours()


def age_of(token: str) -> float | None:
    """Return how many seconds ago a page was shown with this token; None for a token that is not ours."""
    serializer = URLSafeTimedSerializer(current_app.secret_key or "", salt=TOKEN_SALT)
    try:
        _secret, shown_at = serializer.loads(token.partition(SEPARATOR)[0], return_timestamp=True)
    except BadData:
        return None
    return clock.now() - float(shown_at.timestamp())


def cookies_are_blocked() -> Response:
    """Return the page for a browser that sent no cookie with a form of ours."""
    text = (
        "Your browser keeps no cookies of this site, so it cannot know that it is still you."
        f" Allow cookies for {request.host}, then try again."
    )
    again = request.script_root + request.full_path.rstrip("?")
    return page_error(400, "Cookies are blocked", text, link=(again, "Try again"))


def show_stale_form(response: Response) -> Response:
    """Return the answer to a form that is out of date: its page, or a link to it.

    Runs after the transaction.
    """
    if not g.get("form_is_stale") or response.status_code >= 400:
        return response
    if response.status_code < 300:
        response.status_code = 400
        return response
    return Response(
        render_template("stale_form.html", go_on=response.headers["Location"]), 400, mimetype="text/html"
    )
