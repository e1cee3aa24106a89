"""The browser's session: a signed cookie that holds random ids only, and what signing in and out does to it.

Enters: a request of a person. Leaves: who is signed in, and which pending authorization requests are this browser's. The cookie
names a row of `user_session`, so ending a session anywhere ends it here. Machine endpoints open no session at all.
"""

from typing import Any

from flask import Flask, Request, Response, current_app, g, request, session
from flask.sessions import NullSession, SecureCookieSessionInterface, SessionMixin
from flask_login import LoginManager, current_user, login_user

import store.tickets
import store.user_sessions
from config import Settings
from errors import is_machine_path
from protocol import clock, credentials, known_device
from store.user_sessions import SignedIn
from unit_of_work import lock_owner

KNOWN_DEVICE_SECONDS = 365 * 24 * 3600


class SessionOnlyLogins(LoginManager):
    """Flask-Login without its second cookie: we never set it, and reading a forged one raises TypeError (0.6.3)."""

    def _load_user(self) -> None:
        session_id = session.get("_user_id")
        self._update_request_context_with_user(load_signed_in(session_id) if session_id is not None else None)


class PageSessions(SecureCookieSessionInterface):
    """Flask's signed cookie for pages; nothing to read, sign or send for machines."""

    def open_session(self, app: Flask, request: Request) -> Any:
        if is_machine_path(request.path) or request.path.startswith(app.static_url_path or "/static"):
            return NullSession()
        return super().open_session(app, request)

    def is_null_session(self, obj: object) -> bool:
        return isinstance(obj, NullSession)

    def save_session(self, app: Flask, session: SessionMixin, response: Any) -> None:
        if not isinstance(session, NullSession):
            super().save_session(app, session, response)


def init_app(app: Flask, settings: Settings) -> None:
    """Cookies are `__Host-` and Secure on an https issuer; plain names on loopback http, where browsers refuse those."""
    app.session_interface = PageSessions()
    app.config.update(
        SECRET_KEY=credentials.derive_key(settings.secret_key.get_secret_value(), "browser session"),
        SECRET_KEY_FALLBACKS=[
            credentials.derive_key(key.get_secret_value(), "browser session") for key in settings.old_secret_keys
        ],
        SESSION_COOKIE_NAME="__Host-ostiary" if settings.is_https else "ostiary",
        SESSION_COOKIE_SECURE=settings.is_https,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_PATH="/",
        SESSION_REFRESH_EACH_REQUEST=False,
    )
    # No context processor: it would ask the database on every error page, also on the one that says the database is away.
    SessionOnlyLogins().init_app(app, add_context_processor=False)

    keys = [settings.secret_key, *settings.old_secret_keys]
    app.extensions["ostiary.known_device_keys"] = [
        credentials.derive_key(key.get_secret_value(), "known device") for key in keys
    ]

    @app.after_request
    def send_known_device(response: Response) -> Response:
        if "known_device" in g:
            name, text = known_device_cookie_name(), g.known_device
            secure = settings.is_https
            response.set_cookie(name, text, KNOWN_DEVICE_SECONDS, secure=secure, httponly=True, samesite="Lax")
        return response


def load_signed_in(session_id: str) -> SignedIn | None:
    return store.user_sessions.find_signed_in(session_id, credentials.digest(session_id), clock.now())


def signed_in() -> SignedIn | None:
    """Who this browser is signed in as."""
    return current_user._get_current_object() if current_user.is_authenticated else None


def signed_in_for_good() -> SignedIn | None:
    """Who is signed in, locked to the end of the transaction: a sign-out from elsewhere comes wholly before or wholly after it."""
    session_id = session.get("_user_id")
    if session_id is None:
        return None
    return store.user_sessions.find_signed_in(session_id, credentials.digest(session_id), clock.now(), lock=True)


def known_device_cookie_name() -> str:
    return str(current_app.config["SESSION_COOKIE_NAME"]) + "-device"


def find_known_device(account: str) -> str | None:
    """What tells this browser from others, where somebody has signed in to this account with it before; else None."""
    keys = current_app.extensions["ostiary.known_device_keys"]
    return known_device.find_entry(request.cookies.get(known_device_cookie_name(), ""), account, keys)


def remember_device(account: str) -> None:
    """From now on this browser is known for this account."""
    keys = current_app.extensions["ostiary.known_device_keys"]
    g.known_device = known_device.remember(request.cookies.get(known_device_cookie_name(), ""), account, keys)


def browser_digest() -> bytes:
    """The id that this browser's pending requests are stored under; made when first needed."""
    if "browser" not in session:
        session["browser"] = credentials.random_text()
    return credentials.digest(session["browser"])


def sign_in(user_id: int, password_hash: str) -> bool:
    """Begin a new session under new ids, so that nobody can have planted them. What this browser had pending comes along.

    False when the person was disabled or got another password since this one was checked: under the lock that such a change
    takes too, a sign-in comes wholly before it, and its session ends with the others, or wholly after it.
    """
    owner = lock_owner(user_id)
    if owner is None or owner.password_hash != password_hash:
        return False
    end_current_session()
    old_browser = browser_digest()
    session.clear()
    store.tickets.hand_over(old_browser, browser_digest())
    session_id = credentials.random_text()
    store.user_sessions.start(
        credentials.digest(session_id),
        user_id,
        clock.now(),
        request.headers.get("User-Agent", ""),
        request.remote_addr or "",
    )
    login_user(load_signed_in(session_id))
    return True


def sign_out(ticket_digest: bytes | None = None) -> None:
    """End this browser's session. Of its pending requests only the named one stays, for somebody else to sign in for."""
    end_current_session()
    old_browser = browser_digest()
    session.clear()
    if ticket_digest is not None:
        store.tickets.hand_over(old_browser, browser_digest(), ticket_digest)


def end_current_session() -> None:
    if "_user_id" in session:
        store.user_sessions.end(credentials.digest(session["_user_id"]))
