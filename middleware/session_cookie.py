"""Set the flags of all our cookies, and open the browser's session for pages alone: programs get none.

`services/login_session.py` has what signing in and out does to it.
"""

import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from flask import Flask, Request, Response, g, session
from flask.sessions import NullSession, SecureCookieSessionInterface, SessionMixin
from flask.typing import ResponseReturnValue
from flask_login import LoginManager

import store.user_sessions
from config import Settings
from crypto import credentials
from middleware.endpoint_policy import current_policy, policy_of
from protocol import clock
from services import browser_ids, known_devices
from services.login_session import load_signed_in, note_use
from unit_of_work import answer, is_refused

KNOWN_DEVICE_SECONDS = 365 * 24 * 3600


class SessionOnlyLogins(LoginManager):
    """Flask-Login without its second cookie: we never set it, and reading a forged one raises TypeError
    (0.6.3).
    """

    def _load_user(self) -> None:
        cookie_value = session.get("_user_id")
        person = load_signed_in(cookie_value) if cookie_value is not None else None
        self._update_request_context_with_user(note_use(person))


class PageSessions(SecureCookieSessionInterface):
    """Flask's signed cookie for pages; nothing to read, sign or send for machines."""

    def open_session(self, app: Flask, request: Request) -> Any:
        if policy_of(request.environ).is_for_programs or request.path.startswith(
            app.static_url_path or "/static"
        ):
            return NullSession()
        return super().open_session(app, request)

    def is_null_session(self, obj: object) -> bool:
        return isinstance(obj, NullSession)

    def save_session(self, app: Flask, session: SessionMixin, response: Any) -> None:
        if not isinstance(session, NullSession):
            super().save_session(app, session, response)


def init_app(app: Flask, settings: Settings) -> None:
    """Cookies are `__Host-` and Secure on an https issuer; plain names on loopback http, where browsers
    refuse those.
    """
    app.session_interface = PageSessions()
    app.config.update(
        SECRET_KEY=credentials.derive_key(settings.secret_key.get_secret_value(), "browser session"),
        SECRET_KEY_FALLBACKS=[
            credentials.derive_key(key.get_secret_value(), "browser session")
            for key in settings.old_secret_keys
        ],
        # By its path, because servers of one host have no other way to tell their cookies apart: `__Host-`
        # needs Path=/.
        SESSION_COOKIE_NAME=("__Host-ostiary" if settings.is_https else "ostiary")
        + settings.path.replace("/", "."),
        SESSION_COOKIE_SECURE=settings.is_https,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_PATH="/",
        SESSION_REFRESH_EACH_REQUEST=False,  # `record_session_use` does, now and then
        PERMANENT_SESSION_LIFETIME=timedelta(seconds=store.user_sessions.KEPT_SECONDS),
    )
    # No context processor: it would ask the database on every error page, also on the one that says the
    # database is away.
    SessionOnlyLogins().init_app(app, add_context_processor=False)

    @app.after_request
    def send_known_device(response: Response) -> Response:
        if "known_device" in g:
            name, text = known_devices.cookie_name(), g.known_device
            secure = settings.is_https
            response.set_cookie(
                name, text, KNOWN_DEVICE_SECONDS, secure=secure, httponly=True, samesite="Lax"
            )
        return response

    @app.after_request
    def send_new_id(response: Response) -> Response:
        """With a page that has a form there is always an id: the form's answer is known by it when it is sent
        again.
        """
        if "csrf_token" in g and not current_policy().is_for_programs:
            browser_ids.digest()
        if "new_browser_id" in g:
            new: browser_ids.BrowserId = g.new_browser_id
            name = f"{browser_ids.cookie_prefix()}{secrets.token_hex(4)}"
            response.set_cookie(
                name,
                str(new),
                browser_ids.COOKIE_SECONDS,
                secure=settings.is_https,
                httponly=True,
                samesite="Lax",
            )
        return response


def record_session_use(view: Callable[[], ResponseReturnValue]) -> Callable[[], Response]:
    """`view`, and after it, as the last statement of its transaction, that the sessions which it used are in
    use.

    One UPDATE an hour, not for a request that is refused. The cookie is sent again with it, by whoever was
    first alone: several answers at once would overtake each other.
    """

    def view_and_use() -> Response:
        response = answer(view)
        if not is_refused(response):
            for person in g.pop("in_use", {}).values():
                if store.user_sessions.record_use(person, clock.now()):
                    session.modified = True
        return response

    return view_and_use
