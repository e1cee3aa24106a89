"""Which browser a request comes from: cookies that hold a random id each. Pending requests are stored under
their digests.

A browser that opens many tabs before it has a cookie is given an id by each answer. Each of those cookies has
a name of its own, so none takes the place of another, and each tab can be finished. An id opens nothing by
itself: whoever plants one in a browser knows neither its tickets nor who is signed in. So it outlives sign-in
and sign-out, and what was pending stays where it is.
"""

import re
from typing import NamedTuple, Self

from flask import current_app, g, request

from crypto import credentials
from protocol import clock

# A younger id is used for what is new. Its cookie lives twice as long, so that a ticket, or a page that stays
# open over lunch, does not outlive the cookie of its id.
RENEWAL_SECONDS = 6 * 3600
COOKIE_SECONDS = 2 * RENEWAL_SECONDS
MAXIMUM_COOKIES = 180  # as many as Chromium keeps for one site
VALUE = re.compile(r"([A-Za-z0-9_-]{22})\.([0-9a-f]{1,12})")


class BrowserId(NamedTuple):
    issued_at: int  # by its own word; only this browser suffers from a wrong one
    secret: str

    @property
    def digest(self) -> bytes:
        return credentials.digest(self.secret)

    def __str__(self) -> str:
        return f"{self.secret}.{self.issued_at:x}"

    @classmethod
    def new(cls) -> Self:
        return cls(clock.now(), credentials.random_text(16))


def cookie_prefix() -> str:
    return str(current_app.config["SESSION_COOKIE_NAME"]) + "-browser-"


def all_ids() -> list[BrowserId]:
    """The ids of this browser, the newest first."""
    values = (value for name, value in request.cookies.items(multi=True) if name.startswith(cookie_prefix()))
    matches = (VALUE.fullmatch(value) for value, _place in zip(values, range(MAXIMUM_COOKIES), strict=False))
    found = [BrowserId(int(match[2], 16), match[1]) for match in matches if match is not None]
    return sorted([*found, *([g.new_browser_id] if "new_browser_id" in g else [])], reverse=True)


def digests() -> list[bytes]:
    """What this browser's pending requests may be stored under; nothing for a browser without cookies."""
    return [found.digest for found in all_ids()]


def digest() -> bytes:
    """What the next one is stored under. An id is made when there is none, or none that is young enough."""
    oldest = clock.now() - RENEWAL_SECONDS
    young = next((found for found in all_ids() if found.issued_at > oldest), None)
    if young is None:
        young = g.new_browser_id = BrowserId.new()
    return young.digest


def sends_cookies() -> bool:
    """Whether this browser has sent any cookie of ours; another issuer of the same host has names with its
    path in them.
    """
    ours = str(current_app.config["SESSION_COOKIE_NAME"])
    return any(name == ours or name.startswith(f"{ours}-") for name in request.cookies)
