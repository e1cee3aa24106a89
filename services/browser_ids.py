"""Know a browser again by random ids in its cookies; its pending requests are stored under their digests.

A browser that opens many tabs before it has a cookie gets an id with each answer. Each of those cookies has
a name of its own, so none replaces another, and each tab can be finished. An id grants nothing by itself: an
attacker who plants one in a browser learns neither its tickets nor who is signed in. So an id outlives
sign-in and sign-out, and pending requests stay with their browser.
"""

import re
from typing import NamedTuple, Self

from flask import g, request

from crypto import credentials
from protocol import clock, cookie_names
from services.current import tenant

# New requests use an id that is younger. Its cookie lives twice as long, so that a ticket, or a page that
# stays open for an hour, does not outlive the cookie of its id.
RENEWAL_SECONDS = 6 * 3600
COOKIE_SECONDS = 2 * RENEWAL_SECONDS
MAXIMUM_COOKIES = 180  # as many as Chromium keeps for one site
VALUE = re.compile(r"([A-Za-z0-9_-]{22})\.([0-9a-f]{1,12})")


class BrowserId(NamedTuple):
    """An id of a browser, as its cookie has it."""

    issued_at: int  # not signed: a browser that changes it harms itself only
    secret: str

    @property
    def digest(self) -> bytes:
        """Return what pending requests are stored under."""
        return credentials.digest(self.secret)

    def __str__(self) -> str:
        return f"{self.secret}.{self.issued_at:x}"

    @classmethod
    def new(cls) -> Self:
        """Return a new random id."""
        return cls(clock.now(), credentials.random_text(16))


def cookie_prefix() -> str:
    """Return how the names of the cookies with ids begin."""
    return tenant().cookie_name + cookie_names.BROWSER_ID


def all_ids() -> list[BrowserId]:
    """Return the ids of this browser, the newest first."""
    values = (value for name, value in request.cookies.items(multi=True) if name.startswith(cookie_prefix()))
    matches = (VALUE.fullmatch(value) for value, _place in zip(values, range(MAXIMUM_COOKIES), strict=False))
    found = [BrowserId(int(match[2], 16), match[1]) for match in matches if match is not None]
    return sorted([*found, *([g.new_browser_id] if "new_browser_id" in g else [])], reverse=True)


def digests() -> list[bytes]:
    """Return what this browser's requests may be stored under; nothing for a browser without cookies."""
    return [found.digest for found in all_ids()]


def digest() -> bytes:
    """Return what a new request is stored under. An id is made when no present one is young enough."""
    oldest = clock.now() - RENEWAL_SECONDS
    young = next((found for found in all_ids() if found.issued_at > oldest), None)
    if young is None:
        young = g.new_browser_id = BrowserId.new()
    return young.digest


def sends_cookies() -> bool:
    """Return whether this browser has sent a cookie of this issuer; others of the host have other names."""
    session = tenant().cookie_name
    return any(cookie_names.is_of(session, name) for name in request.cookies)
