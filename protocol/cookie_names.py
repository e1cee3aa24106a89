"""The names of our cookies: each path of a host has its own, so issuers of one host do not replace them.

A `__Host-` cookie has Path=/ (RFC 6265bis §4.1.3.2), so a browser sends the cookies of all issuers of a host
to each of them, and only names tell them apart.
"""

import hashlib
import re

# Each stands behind the name of the session cookie. After the second comes a random number.
DEVICE = "-device"
BROWSER_ID = "-browser-"

MAXIMUM_PATH = 100  # 64 tabs have a cookie each, and all of them fit into a header of 16 KiB

# A path may have letters, digits and "-_.~/" (`protocol/issuer.py`). Its slashes are dots in the name, so its
# dots are another sign. So is a hyphen that would let the name read as another issuer's with a word of ours
# behind it: the path /staff-device must not get the name of the device cookie of /staff.
OUR_HYPHEN = re.compile(r"-(?=device\Z|browser(?:-|\Z))")
SIGNS = str.maketrans({"/": ".", ".": "!"})


def session_cookie_name(path: str, is_https: bool, tenant: int | None = None) -> str:
    """Return the name of the session cookie of the issuer with this path; no other path has it.

    path: "" for none, else as `protocol/issuer.py` allows it. tenant: its number; None for home, which has
    the path's. A number is short, and used once: a tenant that gets the name of one that was removed has
    other cookies.
    """
    prefix = "__Host-ostiary" if is_https else "ostiary"
    if tenant is not None:
        return f"{prefix}~{tenant}"
    if len(path) > MAXIMUM_PATH:
        return f"{prefix}!{hashlib.sha256(path.encode()).hexdigest()}"
    return prefix + OUR_HYPHEN.sub("+", path).translate(SIGNS)


def is_of(session: str, name: str) -> bool:
    """Return whether a cookie's name is one of the names that begin with that of a session cookie."""
    return name in (session, session + DEVICE) or name.startswith(session + BROWSER_ID)
