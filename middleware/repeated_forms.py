"""Do the work of a form once, however often it arrives: a double click, a slow line or a reload gets the
first answer again.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flask import Response, g, request, session
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError

import store.form_answers
from crypto import credentials
from errors import DuplicateRequestError
from middleware.forms import age_of, cookies_are_blocked, csrf, is_ours
from protocol import clock
from services import browser_ids
from services.current import forms_in_flight
from services.event_log import Reason, set_reason
from unit_of_work import answer, is_refused, mark_rollback

STORED_HEADERS = ("Location", "Content-Type", "Cache-Control")
# what a view leaves in `g` for its response
STORED_CONTEXT = ("known_device", "script", "form_action", "noted")


@contextmanager
def in_single_flight() -> Iterator[None]:
    """Around the transaction of a form of ours: in this process the same form is not worked on
    twice at once.
    """
    if not is_ours():
        yield
        return
    with forms_in_flight.process(credentials.digest(form_text())):
        yield


def answer_once(view: Callable[[], ResponseReturnValue]) -> Callable[[], ResponseReturnValue]:
    """`view`, run for a form that is right and new."""
    return (lambda: answer_form(view)) if is_ours() else view


def answer_form(view: Callable[[], ResponseReturnValue]) -> Response:
    """One SELECT more for each form, two for one that is refused; for one that did something also a sweep and
    an INSERT.
    """
    form = form_text()
    kept = find_answer(form)
    if kept is not None and kept.answer is not None:
        return repeat(kept.answer)
    try:
        csrf.protect()
    except CSRFError as error:
        age = age_of(request.form.get("csrf_token", ""))
        set_reason(Reason.CSRF if age is None else Reason.STALE_FORM, detail=error.description)
        if age is not None and age < browser_ids.RENEWAL_SECONDS and not browser_ids.sends_cookies():
            set_reason(Reason.COOKIES_BLOCKED)
            return cookies_are_blocked()  # the page is so young that its cookies must still be there
        g.form_is_stale = True
        response = answer(view)
        # a session that somebody else may have ended in another tab was not used by this
        g.pop("in_use", None)
        if not g.get("was_asked_if_stale"):
            mark_rollback()  # the view has not asked, so it may have done something: that is undone
        return response
    before = session_digest()
    response = answer(view)
    if is_refused(response):
        meanwhile = find_answer(form) if response.status_code >= 400 else None
        if meanwhile is not None and meanwhile.answer is not None:
            # what this one found done was done by the same form, sent at the same time
            raise DuplicateRequestError
        return response
    if browsers := browser_ids.digests():
        store.form_answers.add(form, browsers[0], stored_answer(response, before), clock.now(), expired=kept)
    return response


def find_answer(form: str) -> store.form_answers.StoredAnswer | None:
    return store.form_answers.find(form, browser_ids.digests(), clock.now())


def form_text() -> str:
    """All that was sent, the form's random token included: two forms are the same when this is equal."""
    fields = list(request.form.items(multi=True))
    return json.dumps([request.path, request.query_string.decode("latin-1"), fields])


def session_digest() -> str:
    """Which session cookie the browser holds."""
    return credentials.digest(json.dumps(dict(session), sort_keys=True, default=str)).hex()


def stored_answer(response: Response, before: str) -> dict[str, Any]:
    return {
        "status": response.status_code,
        "headers": {name: response.headers[name] for name in STORED_HEADERS if name in response.headers},
        "body": response.get_data(as_text=True),
        "before": before,
        "session": dict(session),
        "request": {name: getattr(g, name) for name in STORED_CONTEXT if name in g},
    }


def repeat(kept: dict[str, Any]) -> Response:
    """The answer once more.

    Cookies only where the browser never got the first answer: later ones may say more by now.
    """
    for name, value in kept["request"].items():
        if name != "known_device" or session_digest() == kept["before"]:
            setattr(g, name, value)
    if session_digest() == kept["before"] and dict(session) != kept["session"]:
        session.clear()
        session.update(kept["session"])
    return Response(kept["body"], kept["status"], kept["headers"])
