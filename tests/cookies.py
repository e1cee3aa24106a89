"""Cookies of a browser that has been here, made without its requests."""

from typing import NamedTuple

from flask import session
from flask_wtf.csrf import generate_csrf

from services.browser_ids import BrowserId, cookie_prefix


class Cookies(NamedTuple):
    header: str
    csrf_token: str
    browser_id: str


def cookies_of(app, issuer, *values):
    """Return the cookies of a browser with these sessions, the present account first; `csrf_token` is for its
    forms, `browser_id` for its pending requests.
    """
    browser = BrowserId.new()
    with app.test_request_context("/login", base_url=issuer):
        if values:
            session.update(_user_id=values[0], others=list(values[1:]))
        csrf_token = generate_csrf()
        signed = app.session_interface.get_signing_serializer(app).dumps(dict(session))
        header = f"{app.session_interface.get_cookie_name(app)}={signed}; {cookie_prefix()}0={browser}"
    return Cookies(header, csrf_token, browser.secret)
