"""The cookie that says for which accounts somebody has signed in with this browser before.

`nonce.mac~nonce.mac~…`, an entry for each account, the latest first. An entry opens nothing: it lets the
failed sign-ins of this browser be counted apart from those of strangers, so that nobody can lock a person out
of a device of theirs.
"""

import hashlib
import hmac
import re

from crypto import base64url
from crypto.credentials import digest, random_text

MAXIMUM_ACCOUNTS = 5
ENTRY = re.compile(r"[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}")


def find_entry(cookie: str, account: str, keys: list[bytes]) -> str | None:
    """The entry for this account; None when this browser is a stranger. cookie: as it came, it may be
    anything.
    """
    for entry in cookie.split("~", MAXIMUM_ACCOUNTS)[:MAXIMUM_ACCOUNTS]:
        nonce, _dot, mac = entry.partition(".")
        if any(hmac.compare_digest(mac_of(nonce, account, key).encode(), encoded(mac)) for key in keys):
            return entry
    return None


def remember(cookie: str, account: str, keys: list[bytes]) -> str:
    """The cookie after a sign-in to this account. keys: the first one signs, all of them verify."""
    known = find_entry(cookie, account, keys)
    others = [entry for entry in cookie.split("~", MAXIMUM_ACCOUNTS) if is_entry(entry) and entry != known]
    nonce = known.partition(".")[0] if known else random_text(16)
    return "~".join([f"{nonce}.{mac_of(nonce, account, keys[0])}", *others[: MAXIMUM_ACCOUNTS - 1]])


def digest_of(cookie: str) -> bytes:
    """What a session is known by as this device's, for the account of an entry or of the first one.

    Changes with no key.
    """
    return digest(cookie.partition(".")[0])


def mac_of(nonce: str, account: str, key: bytes) -> str:
    return base64url.encode(hmac.digest(key, encoded(f"{nonce}\0{account}"), hashlib.sha256))


def is_entry(text: str) -> bool:
    """Whether this has the form of an entry: what a stranger put into the cookie is not carried on."""
    return ENTRY.fullmatch(text) is not None


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
