"""Answer every error that is no refusal of OAuth: as JSON for programs, as a page for users.

Enters: an exception that left a view, or an HTTP status. Leaves: a response that echoes no input and names no
secret: to unknown addresses, while the storage is away (503), and after bugs (500 with an id that the log has
too). `authorization_server.AuthorizationServer.handle_error_response` answers the `OAuth2Error`s.
"""

import logging
from collections.abc import Callable
from http import HTTPStatus

from flask import Flask, Response, g, json, render_template, request
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.exceptions import HTTPException, NotFound

from errors import ConfigError, StorageBusyError
from middleware.endpoint_policy import current_policy
from services import current
from services.event_log import Reason, set_reason

log = logging.getLogger("ostiary.error_responses")

RETRY_AFTER_SECONDS = 2
UNSERVED_SECONDS = 5
AGAIN = ("", "Try again")  # the address of the page itself (RFC 3986 §4.4)


def oauth_error_body(error: str, description: str) -> dict[str, str]:
    """Return the members of RFC 6749 §5.2. description: fixed text, never input."""
    return {"error": error, "error_description": description}


def json_error(status: int, error: str, description: str) -> Response:
    """Return an error as programs get it."""
    response = Response(json.dumps(oauth_error_body(error, description)), status, mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response


def page_error(
    status: int, title: str, text: str, *, sign_out: bool = False, link: tuple[str, str] | None = None
) -> Response:
    """Return an error as users get it.

    sign_out: whether the user wanted to sign out, so that the page offers it. link: an address that leads on,
    and its words, instead of the home page's.
    """
    request_id = g.get("request_id", "")
    page = render_template(
        "error.html", title=title, text=text, sign_out=sign_out, link=link, request_id=request_id
    )
    return Response(page, status, mimetype="text/html")


PAGE_TEXTS = {
    400: ("That did not work", "The request was not understood. Please go back and try again."),
    403: ("Not allowed", "This page is not open to you."),
    404: ("Nothing here", "There is no page at this address."),
    405: ("Not this way", "This address cannot be used like that."),
    413: ("Too large", "What was sent is larger than this site accepts."),
    429: ("Too many tries", "Please wait a little and try again."),
}


def answer_http_exception(error: HTTPException) -> Response:
    """Return the answer to what Werkzeug or a view raised, with its `Allow` or `Retry-After`."""
    ready = error.get_response()
    status = ready.status_code
    if current_policy().is_for_programs:
        kind = "server_error" if status >= 500 else "invalid_request"
        response = json_error(status, kind, HTTPStatus(status).phrase)
    else:
        title, text = PAGE_TEXTS.get(status, ("That did not work", HTTPStatus(status).phrase))
        response = page_error(status, title, text)
    for name in ("Allow", "Retry-After"):
        if name in ready.headers:
            response.headers[name] = ready.headers[name]
    return response


def answer_unavailable(error: Exception) -> Response:
    """Return 503: the database is away or too busy; nothing was stored, or it is unknown whether it was.

    Retry-After is left out where a code was sent: the first try may have spent it, so the flow starts over. A
    tenant that was removed meanwhile cannot have a row any more: that is 404, as it is from then on.
    """
    if isinstance(error, IntegrityError) and current.is_gone():
        return answer_http_exception(NotFound())
    log.warning("storage unavailable: %s", type(error).__name__)
    has_code = current_policy().member == "token_endpoint" and "code" in request.form
    advice = "Start the authorization again." if has_code else "Try again in a few seconds."
    text = f"The server cannot reach its storage at the moment. {advice}"
    response = unavailable_response(text)
    if not has_code:
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def answer_unserved(error: Exception) -> Response:
    """Return 503: no tenant can be looked up, or the settings of this one cannot be used.

    Nothing was tried, so Retry-After is always right.
    """
    if isinstance(error, ConfigError):
        set_reason(Reason.TENANT_UNAVAILABLE)
        log.error("a tenant cannot be served: %s", "; ".join(error.problems))
    else:
        log.error("no tenant can be looked up: %s", type(error).__name__)
    response = unavailable_response(
        "This address cannot be served at the moment. Try again in a few seconds.", AGAIN
    )
    response.headers["Retry-After"] = str(UNSERVED_SECONDS)
    return response


def unavailable_response(text: str, link: tuple[str, str] | None = None) -> Response:
    """Return 503 as programs and users get it. link: as of `page_error`."""
    if current_policy().is_for_programs:
        return json_error(503, "temporarily_unavailable", text)
    return page_error(503, "Back in a moment", text, link=link)


def answer_bug(error: Exception) -> Response:
    """Return 500 with an id only.

    The trace goes to the log; the exception's text, which may quote input, does not.
    """
    request_id = g.get("request_id", "")
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append(
            f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno} {trace.tb_frame.f_code.co_name}"
        )
        trace = trace.tb_next
    log.error("bug: %s at %s", type(error).__name__, " < ".join(reversed(frames)))
    text = f"Something went wrong on our side. If you report it, give this number: {request_id}"
    if current_policy().is_for_programs:
        return json_error(500, "server_error", text)
    return page_error(500, "Our fault", text)


def init_app(app: Flask, is_unavailable: Callable[[DBAPIError], bool]) -> None:
    """Answer the errors of this app.

    is_unavailable: tells a connection that broke, or a race lost too often, from a statement that was wrong.
    """

    def answer_database_error(error: DBAPIError) -> Response:
        return answer_unavailable(error) if is_unavailable(error) else answer_bug(error)

    app.register_error_handler(HTTPException, answer_http_exception)
    app.register_error_handler(PoolTimeoutError, answer_unavailable)
    app.register_error_handler(StorageBusyError, answer_unavailable)
    app.register_error_handler(DBAPIError, answer_database_error)
    app.register_error_handler(Exception, answer_bug)
