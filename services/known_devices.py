"""Know for which accounts a user has signed in with this browser before, by a signed cookie.

Failed sign-ins with a known device are counted apart, and a device has one session for each account.
`crypto/device_cookie.py` has the cookie's value; `middleware/session_cookie.py` writes it.
"""

from flask import g, request

from crypto import device_cookie
from protocol import cookie_names
from services.current import tenant


def cookie_name() -> str:
    """Return the name of the cookie."""
    return tenant().cookie_name + cookie_names.DEVICE


def find(account: str) -> str | None:
    """Return what the cookie has for an account that was signed in to with this browser before, else None."""
    return device_cookie.find_entry(request.cookies.get(cookie_name(), ""), account, tenant().device_keys)


def remember(account: str) -> bytes:
    """Know this browser for an account from now on, and return the digest that sessions of both share."""
    known = request.cookies.get(cookie_name(), "")
    g.known_device = device_cookie.add_entry(known, account, tenant().device_keys)
    return device_cookie.device_digest(g.known_device)
