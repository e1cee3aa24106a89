"""The device cookie: for which accounts a user has signed in with this browser before.

Its text is `nonce.mac~nonce.mac~…`, an entry for each account, the latest first. An entry grants nothing. It
lets the failed sign-ins of this browser be counted apart from those of other browsers, so that nobody can
lock a user out of the user's own device (OWASP: device cookies).
"""

import hashlib
import hmac
import re

from crypto import base64url
from crypto.credentials import digest, random_text

MAXIMUM_ACCOUNTS = 5
ENTRY = re.compile(r"[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}")


def find_entry(cookie: str, account: str, keys: list[bytes]) -> str | None:
    """Return the entry for an account, or None when the browser has none.

    cookie: the header's value, of any content. keys: any of them may have signed.
    """
    for entry in cookie.split("~", MAXIMUM_ACCOUNTS)[:MAXIMUM_ACCOUNTS]:
        nonce, _dot, mac = entry.partition(".")
        if any(hmac.compare_digest(compute_mac(nonce, account, key).encode(), encode(mac)) for key in keys):
            return entry
    return None


def add_entry(cookie: str, account: str, keys: list[bytes]) -> str:
    """Return the cookie after a sign-in to an account. keys: the first one signs, all of them verify."""
    known = find_entry(cookie, account, keys)
    others = [
        entry for entry in cookie.split("~", MAXIMUM_ACCOUNTS) if is_well_formed(entry) and entry != known
    ]
    nonce = known.partition(".")[0] if known else random_text(16)
    return "~".join([f"{nonce}.{compute_mac(nonce, account, keys[0])}", *others[: MAXIMUM_ACCOUNTS - 1]])


def device_digest(cookie: str) -> bytes:
    """Return the digest that names this device for the account of an entry, or of a cookie's first entry.

    It is made of the nonce, so it stays when the secret key changes.
    """
    return digest(cookie.partition(".")[0])


def compute_mac(nonce: str, account: str, key: bytes) -> str:
    """Return the HMAC that binds a nonce to an account, as base64url."""
    return base64url.encode(hmac.digest(key, encode(f"{nonce}\0{account}"), hashlib.sha256))


def is_well_formed(text: str) -> bool:
    """Return whether a text has the form of an entry. Anything else in the cookie is dropped."""
    return ENTRY.fullmatch(text) is not None


def encode(text: str) -> bytes:
    """Return the bytes of a text, also of one that is no valid Unicode (a lone surrogate)."""
    return text.encode("utf-8", "surrogatepass")
