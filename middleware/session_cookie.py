"""Set the flags of all our cookies, and open the browser's session for users: programs have none.

`services/login_session.py` has what signing in and out does to it.
"""

import secrets
from collections.abc import Callable
from datetime import timedelta

from flask import Flask, Request, Response, g, session
from flask.sessions import NullSession, SecureCookieSession, SecureCookieSessionInterface, SessionMixin
from flask.typing import ResponseReturnValue
from flask_login import LoginManager
from itsdangerous import URLSafeTimedSerializer

import store.user_sessions
from config import Settings
from middleware.endpoint_policy import policy_of
from protocol import clock
from services import browser_ids, current, known_devices
from services.current import settings as current_settings
from services.current import tenant
from services.login_session import load_signed_in, note_use
from unit_of_work import answer, is_refused

KNOWN_DEVICE_SECONDS = 365 * 24 * 3600


class SessionOnlyLogins(LoginManager):
    """Flask-Login without its "remember me" cookie.

    We never set it, and reading a forged one raises TypeError (0.6.3).
    """

    def init_app(self, app: Flask, add_context_processor: bool = False) -> None:
        """Let Flask-Login find this; neither its hook, for the cookie, nor its context processor is wanted.

        That would ask the database on every error page, also on the one that says the database is away.
        """
        app.login_manager = self  # type: ignore[attr-defined]

    def _load_user(self) -> None:
        """Load the user of the session cookie."""
        cookie_value = session.get("_user_id")
        user = load_signed_in(cookie_value) if cookie_value is not None else None
        self._update_request_context_with_user(note_use(user))


class PageSessions(SecureCookieSessionInterface):
    """Flask's signed cookie for users; nothing to read, sign or send for programs and files."""

    def get_cookie_name(self, app: Flask) -> str:
        """Return the name of the tenant's cookie."""
        return tenant().cookie_name

    def get_signing_serializer(self, app: Flask) -> URLSafeTimedSerializer:
        """Return what signs and reads the tenant's cookie, as Flask's own does it."""
        return URLSafeTimedSerializer(
            tenant().session_keys,
            salt=self.salt,
            serializer=self.serializer,
            signer_kwargs={"key_derivation": self.key_derivation, "digest_method": self.digest_method},
        )

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Return the session of this request."""
        if policy_of(request.environ).is_for_programs or request.path.startswith(
            app.static_url_path or "/static"
        ):
            return NullSession()
        return super().open_session(app, request)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Set all cookies that a page has; this one where the session has changed. Not for programs."""
        send_browser_id(response)
        send_device_cookie(response)
        session.accessed = True  # so each page says "Vary: Cookie", also one that no view has made
        super().save_session(app, session, response)


def init_app(app: Flask, settings: Settings) -> None:
    """Configure the cookies.

    `__Host-` and Secure on an https issuer; plain names on loopback http, where browsers refuse those.
    """
    app.session_interface = PageSessions()
    app.config.update(
        # For the tokens of forms, each of which belongs to one session. `PageSessions` signs the cookies.
        SECRET_KEY=current.state_of(app).home.session_keys[-1],
        SESSION_COOKIE_SECURE=settings.is_https,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_PATH="/",
        SESSION_REFRESH_EACH_REQUEST=False,  # `record_session_use` does, now and then
        PERMANENT_SESSION_LIFETIME=timedelta(seconds=store.user_sessions.KEPT_SECONDS),
    )
    SessionOnlyLogins().init_app(app)


def send_device_cookie(response: Response) -> None:
    """Set the cookie of known devices where somebody has signed in."""
    if "known_device" in g:
        set_cookie(response, known_devices.cookie_name(), g.known_device, KNOWN_DEVICE_SECONDS)


def send_browser_id(response: Response) -> None:
    """Set a browser id where there is a new one.

    With a page that has a form there is always one: the form's answer is found by it when the form is sent
    again.
    """
    if "csrf_token" in g:
        browser_ids.digest()
    if "new_browser_id" in g:
        new: browser_ids.BrowserId = g.new_browser_id
        name = f"{browser_ids.cookie_prefix()}{secrets.token_hex(4)}"
        set_cookie(response, name, str(new), browser_ids.COOKIE_SECONDS)


def set_cookie(response: Response, name: str, value: str, seconds: int) -> None:
    """Set a cookie that no script reads and no other site's form is sent with."""
    secure = current_settings.is_https
    response.set_cookie(name, value, seconds, secure=secure, httponly=True, samesite="Lax")


def record_session_use(view: Callable[[], ResponseReturnValue]) -> Callable[[], Response]:
    """Return a view that records, as the last statement of `view`'s transaction, which sessions it used.

    One UPDATE an hour, not for a request that is refused. The cookie is sent again with it, but only by who
    was first: several answers at once would overtake each other.
    """

    def run() -> Response:
        response = answer(view)
        if not is_refused(response):
            for user in g.pop("in_use", {}).values():
                if store.user_sessions.record_use(user, clock.now()):
                    session.modified = True
        return response

    return run
