"""Say instants, browsers and waits in plain words, for pages. Nothing that a browser sent is repeated."""

import math
from datetime import UTC, datetime

UNKNOWN = "A program we do not know"
# Most browsers name others too, to be let in: the first that fits is the one.
BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
SYSTEMS = (
    ("iPhone", "an iPhone"),
    ("iPad", "an iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Macintosh", "macOS"),
    ("Linux", "Linux"),
)
METHODS = {"pwd": "password"}  # RFC 8176 §2


def describe_browser(user_agent: str) -> str:
    """Return `Firefox on Windows`, as far as the browser's own claim can be trusted (RFC 9110 §10.1.5)."""
    name = next((name for mark, name in BROWSERS if mark in user_agent), None)
    system = next((name for mark, name in SYSTEMS if mark in user_agent), None)
    if name is None:
        return UNKNOWN if system is None else f"{UNKNOWN}, on {system}"
    return name if system is None else f"{name} on {system}"


def describe_methods(amr: str) -> str:
    """Return how a user proved who they are; "" for methods that have no words here."""
    return " and ".join(METHODS[method] for method in amr.split() if method in METHODS)


def utc(at: int) -> datetime:
    """Return epoch seconds as an instant in UTC."""
    return datetime.fromtimestamp(at, UTC)


def date_and_time(moment: datetime) -> str:
    """Return `4 July 2026, 09:30 UTC`, which stays right while a page is open."""
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"


BUSY = "Many people are signing in at this moment. Please try again in a few seconds."
BUSY_SECONDS = "2"  # the Retry-After that goes with it


def too_many_tries(seconds: int) -> str:
    """Return the sentence for somebody who has to wait."""
    minutes = math.ceil(seconds / 60)
    return (
        f"Too many tries. Please wait {'a minute' if minutes == 1 else f'{minutes} minutes'}, then try again."
    )
