"""Our own forms: each proves that our page sent it, may arrive twice, and may be out of date.

Enters: a view that a person's POST is for. Leaves: its response. A form without the right CSRF token does nothing: its page is
shown again, filled in, with status 400, and what a view stores that has not asked about it is undone. A form that was answered a
moment ago gets the same answer and does nothing either: a double click, a slow line or a reload sends it again, and the browser
shows the second answer alone.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask, Response, current_app, g, render_template, request, session
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from flask_wtf.csrf import CSRFError, CSRFProtect, generate_csrf
from itsdangerous import BadData, URLSafeTimedSerializer

import browser_ids
import store.form_answers
from errors import is_machine_path, page_error
from events import Reason, because
from front_door import is_foreign_by_design
from protocol import clock, credentials
from unit_of_work import AnsweredMeanwhileError, answer, refuse

KEPT_HEADERS = ("Location", "Content-Type", "Cache-Control")
KEPT_OF_REQUEST = ("known_device", "script", "form_action", "noted")  # what a view leaves in `g` for its response
SEPARATOR = "~"  # stands in no token of Flask-WTF
WAIT_SECONDS = 5
TOKEN_SALT = "wtf-csrf-token"  # noqa: S105 - how Flask-WTF signs its tokens


class FormsInHand:
    """The forms that this process works on. The same one again waits for the first, so it needs no place for a password hash.

    One of each waits, and no longer than a form takes, so there are no more threads that wait than threads that work.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: dict[bytes, threading.Event] = {}
        self._waited_for: set[bytes] = set()

    @contextmanager
    def one(self, form: bytes) -> Iterator[None]:
        """The work on one form, begun after that on the same one has ended."""
        is_first = self._is_first(form)
        try:
            yield
        finally:
            if is_first:
                with self._lock:
                    self._done.pop(form).set()

    def _is_first(self, form: bytes) -> bool:
        with self._lock:
            done = self._done.get(form)
            if done is None:
                self._done[form] = threading.Event()
                return True
            if form in self._waited_for:
                return False
            self._waited_for.add(form)
        done.wait(WAIT_SECONDS)
        with self._lock:
            self._waited_for.discard(form)
        return False


class TokensOfForms(CSRFProtect):
    """Flask-WTF's tokens are alike on all pages that one browser is shown in one second; ours are of one form each."""

    def _get_csrf_token(self) -> str | None:
        return (super()._get_csrf_token() or "").partition(SEPARATOR)[0]


csrf = TokensOfForms()


class Form(FlaskForm):
    """The fields of a page's form. Flask-WTF would read them from JSON too, where a text may be none and a letter half of one."""

    class Meta(FlaskForm.Meta):
        def wrap_formdata(self, form: Any, formdata: Any) -> Any:
            return request.form if request.method == "POST" else None


def new_token() -> str:
    """The hidden field `csrf_token` of one form on one page: what proves the session, and what tells the form from others."""
    return f"{generate_csrf()}{SEPARATOR}{credentials.random_text(8)}"


def init_app(app: Flask) -> None:
    app.config.update(
        WTF_CSRF_CHECK_DEFAULT=False,  # `answered_once` checks, because a repeated form is answered whatever its token
        WTF_CSRF_TIME_LIMIT=None,  # as long as the session: a sign-in page may stay open over lunch
        WTF_CSRF_SSL_STRICT=False,  # it wants a Referer, which our own Referrer-Policy takes away; see front_door.check_origin
    )
    csrf.init_app(app)
    app.jinja_env.globals["form_token"] = new_token
    app.extensions["ostiary.forms_in_hand"] = FormsInHand()


def is_sent() -> bool:
    """Whether the view has a form to act on. Where it has none it shows its page: on GET, and for a form that is out of date."""
    return request.method == "POST" and not is_stale()


def is_stale() -> bool:
    """Whether the form is not the one of today's session: nothing is done by it, and its page is shown again."""
    g.was_asked_if_stale = True
    return bool(g.get("form_is_stale", False))


def is_ours() -> bool:
    """Whether the request is a form of one of our pages; programs and clients' pages send others."""
    is_page = request.url_rule is not None and not is_machine_path(request.path)
    return request.method == "POST" and is_page and not is_foreign_by_design()


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Around the transaction of a form of ours: in this process the same form is not worked on twice at once."""
    if not is_ours():
        yield
        return
    in_hand: FormsInHand = current_app.extensions["ostiary.forms_in_hand"]
    with in_hand.one(credentials.digest(form_text())):
        yield


def answered_once(view: Callable[[], ResponseReturnValue]) -> Callable[[], ResponseReturnValue]:
    """`view`, run for a form that is right and new."""
    return (lambda: answer_form(view)) if is_ours() else view


def answer_form(view: Callable[[], ResponseReturnValue]) -> Response:
    """One SELECT more for each form, two for one that is refused; for one that did something also a sweep and an INSERT."""
    form = form_text()
    kept = find_answer(form)
    if kept is not None and kept.answer is not None:
        return repeat(kept.answer)
    try:
        csrf.protect()
    except CSRFError as error:
        age = age_of(request.form.get("csrf_token", ""))
        because(Reason.CSRF if age is None else Reason.STALE_FORM, detail=error.description)
        if age is not None and age < browser_ids.RENEWAL_SECONDS and not browser_ids.sends_cookies():
            because(Reason.COOKIES_BLOCKED)
            return cookies_are_blocked()  # the page is so young that its cookies must still be there
        g.form_is_stale = True
        response = answer(view)
        g.pop("in_use", None)  # a session that somebody else may have ended in another tab was not used by this
        if not g.get("was_asked_if_stale"):
            refuse()  # the view has not asked, so it may have done something: that is undone
        return response
    before = session_digest()
    response = answer(view)
    if response.status_code >= 400 or g.refused:
        meanwhile = find_answer(form) if response.status_code >= 400 else None
        if meanwhile is not None and meanwhile.answer is not None:
            raise AnsweredMeanwhileError  # what this one found done was done by the same form, sent at the same time
        return response
    if browsers := browser_ids.digests():
        store.form_answers.add(form, browsers[0], what_to_keep(response, before), clock.now(), expired=kept)
    return response


def find_answer(form: str) -> store.form_answers.Kept | None:
    return store.form_answers.find(form, browser_ids.digests(), clock.now())


def form_text() -> str:
    """All that was sent, the form's random token included: two forms are the same when this is equal."""
    fields = list(request.form.items(multi=True))
    return json.dumps([request.path, request.query_string.decode("latin-1"), fields])


def session_digest() -> str:
    """Which session cookie the browser holds."""
    return credentials.digest(json.dumps(dict(session), sort_keys=True, default=str)).hex()


def what_to_keep(response: Response, before: str) -> dict[str, Any]:
    return {
        "status": response.status_code,
        "headers": {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers},
        "body": response.get_data(as_text=True),
        "before": before,
        "session": dict(session),
        "request": {name: getattr(g, name) for name in KEPT_OF_REQUEST if name in g},
    }


def repeat(kept: dict[str, Any]) -> Response:
    """The answer once more. Cookies only where the browser never got the first answer: later ones may say more by now."""
    for name, value in kept["request"].items():
        if name != "known_device" or session_digest() == kept["before"]:
            setattr(g, name, value)
    if session_digest() == kept["before"] and dict(session) != kept["session"]:
        session.clear()
        session.update(kept["session"])
    return Response(kept["body"], kept["status"], kept["headers"])


def age_of(token: str) -> float | None:
    """How many seconds ago one of our pages was shown with this token; None for a token that is not ours."""
    serializer = URLSafeTimedSerializer(current_app.secret_key or "", salt=TOKEN_SALT)
    try:
        _secret, shown_at = serializer.loads(token.partition(SEPARATOR)[0], return_timestamp=True)
    except BadData:
        return None
    return clock.now() - float(shown_at.timestamp())


def cookies_are_blocked() -> Response:
    text = (
        "Your browser keeps no cookies of this site, so it cannot know that it is still you. Allow cookies for"
        f" {request.host}, then try again."
    )
    again = request.script_root + request.full_path.rstrip("?")
    return page_error(400, "Cookies are blocked", text, link=(again, "Try again"))


def told_if_stale(response: Response) -> Response:
    """After the transaction: what a form that is out of date is answered. The page that it belongs to, or the way there."""
    if not g.get("form_is_stale") or response.status_code >= 400:
        return response
    if response.status_code < 300:
        response.status_code = 400
        return response
    return Response(render_template("stale_form.html", go_on=response.headers["Location"]), 400, mimetype="text/html")
