"""Do the work of a form once, however often it arrives.

A double click, a slow line or a reload gets the first answer again, because a browser shows the second answer
only.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flask import Response, g, request, session
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError

import store.form_answers
from crypto import credentials
from crypto.json_values import JsonObject
from database.tenancy import current_tenant
from errors import DuplicateRequestError
from middleware.forms import age_of, cookies_are_blocked, csrf, is_ours
from protocol import clock
from services import browser_ids
from services.current import forms_in_flight
from services.event_log import Reason, set_reason
from unit_of_work import answer, is_refused, mark_rollback

STORED_HEADERS = ("Location", "Content-Type", "Cache-Control")
# What a view leaves in `g` for its response.
STORED_CONTEXT = ("known_device", "script", "form_action", "log_fields")


@contextmanager
def in_single_flight() -> Iterator[None]:
    """Let the same form be worked on once at a time in this process. Around its transaction."""
    if not is_ours():
        yield
        return
    with forms_in_flight.process(credentials.digest(f"{current_tenant()} {form_text()}")):
        yield


def answer_once(view: Callable[[], ResponseReturnValue]) -> Callable[[], ResponseReturnValue]:
    """Return a view that runs `view` for a form with the right token that has not been answered yet."""
    return (lambda: answer_form(view)) if is_ours() else view


def answer_form(view: Callable[[], ResponseReturnValue]) -> Response:
    """Return the answer to a form: the stored one, or the view's.

    One SELECT more for each form, two for one that is refused; for one that did something also a sweep and an
    INSERT.
    """
    form = form_text()
    kept = find_answer(form)
    if kept is not None and kept.answer is not None:
        return repeat(kept.answer)
    try:
        csrf.protect()
    except CSRFError as error:
        return answer_stale_form(view, error)
    before = session_digest()
    response = answer(view)
    if is_refused(response):
        meanwhile = find_answer(form) if response.status_code >= 400 else None
        if meanwhile is not None and meanwhile.answer is not None:
            raise DuplicateRequestError  # the same form, sent at the same time, has done this one's work
        return response
    if browsers := browser_ids.digests():
        store.form_answers.add(form, browsers[0], stored_answer(response, before), clock.now(), expired=kept)
    return response


def answer_stale_form(view: Callable[[], ResponseReturnValue], error: CSRFError) -> Response:
    """Return the view's answer to a stale form; undo the view unless it has asked `is_stale`."""
    age = age_of(request.form.get("csrf_token", ""))
    set_reason(Reason.CSRF if age is None else Reason.STALE_FORM, detail=error.description)
    if age is not None and age < browser_ids.RENEWAL_SECONDS and not browser_ids.sends_cookies():
        set_reason(Reason.COOKIES_BLOCKED)
        return cookies_are_blocked()  # the page is so young that its cookies must still be there
    g.form_is_stale = True
    response = answer(view)
    # This form has not used the session, which may have ended in another tab.
    g.pop("in_use", None)
    if not g.get("was_asked_if_stale"):
        mark_rollback()
    return response


def find_answer(form: str) -> store.form_answers.StoredAnswer | None:
    """Return what this browser was answered to the same form a moment ago."""
    return store.form_answers.find(form, browser_ids.digests(), clock.now())


def form_text() -> str:
    """Return all that was sent, with the form's random token: equal texts are the same form."""
    fields = list(request.form.items(multi=True))
    return json.dumps([request.path, request.query_string.decode("latin-1"), fields])


def session_digest() -> str:
    """Return a digest of the session cookie that the browser holds."""
    return credentials.digest(json.dumps(dict(session), sort_keys=True, default=str)).hex()


def stored_answer(response: Response, before: str) -> JsonObject:
    """Return all that it takes to give this answer again.

    before: `session_digest` as it was before the view.
    """
    return {
        "status": response.status_code,
        "headers": {name: response.headers[name] for name in STORED_HEADERS if name in response.headers},
        "body": response.get_data(as_text=True),
        "before": before,
        "session": dict(session),
        "request": {name: getattr(g, name) for name in STORED_CONTEXT if name in g},
    }


def repeat(kept: JsonObject) -> Response:
    """Return a stored answer again.

    Its cookies only where the browser has not got the first answer: later ones may hold more by now.
    """
    for name, value in kept["request"].items():
        if name != "known_device" or session_digest() == kept["before"]:
            setattr(g, name, value)
    if session_digest() == kept["before"] and dict(session) != kept["session"]:
        session.clear()
        session.update(kept["session"])
    return Response(kept["body"], kept["status"], kept["headers"])
