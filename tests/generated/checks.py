"""What must hold of every answer, whatever was asked.

`problems(…)` lists what does not, in words; an empty list is the aim. An echo is a copy of the hostile value, of its beginning or
end, in any spelling that a page, JSON or a URL would give it. Five are meant: `state` in a redirect to the client; the value of the
form fields `email` and `name`; `next` in the links of the sign-in and sign-up pages; what a redirect to a path of ours carries on
in its query, percent-encoded (a ticket, an authorization request that came by POST); and entries of the cookie of known devices.
"""

import html
import json
import re
from urllib.parse import parse_qsl, quote_from_bytes, quote_plus, urlsplit

from tests.builders import REDIRECT_URI

TOKEN_ERRORS = set(
    "invalid_request invalid_client invalid_grant unauthorized_client unsupported_grant_type invalid_scope"
    " invalid_token insufficient_scope unsupported_token_type".split()
)  # RFC 6749 §5.2, RFC 6750 §3.1, RFC 7009 §2.2.1
AUTHORIZATION_ERRORS = set(
    "invalid_request unauthorized_client access_denied unsupported_response_type invalid_scope server_error"
    " temporarily_unavailable".split()
)  # RFC 6749 §4.1.2.1
DESCRIPTION = re.compile(r"[\x20-\x21\x23-\x5B\x5D-\x7E]+")  # RFC 6749 §5.2
OWN_PATH = re.compile(r"/(?![/\\])[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]*")
NOTICEABLE = 6  # shorter texts stand on pages anyway
PIECE = 12
FIELD = re.compile(rb'(<input id="(?:email|name)" [^>]*?value=")[^"]*(")')
LINK = re.compile(rb'(href="/)[^"]*(")')
LINK_OF_REDIRECT = re.compile(rb'<a href="[^"]*">[^<]*</a>')
TOO_MANY_HASHES = b"Many people are signing in at this moment."
MACHINES = ("/oauth/token", "/oauth/introspect", "/oauth/revoke", "/api/me", "/.well-known/oauth-authorization-server")
PROBES = ("/healthz", "/readyz")
DEVICES = re.compile(r"[\w-]+-device=([A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}~?){1,5};.*", re.ASCII)
LOCATION_OF_CLIENT = REDIRECT_URI + "?"


def problems(answer, path, value, *, name=b"", may_wait=False, is_early=False):
    """name: of the parameter under test. may_wait: 429 and the 503 of too many password hashes are in order.

    is_early: the request may have been refused before anything knew that a machine had sent it.
    """
    found = [*status_problems(answer, may_wait), *location_problems(answer), *echoes(answer, value, name)]
    if path in (*MACHINES, *PROBES) and not is_early:
        found += machine_problems(answer, path)
    return found


def status_problems(answer, may_wait):
    if may_wait and (answer.status == 429 or (answer.status == 503 and TOO_MANY_HASHES in answer.body)):
        return [] if answer.headers.get("Retry-After", "").isdigit() else [f"{answer.status} without Retry-After"]
    if answer.status >= 429 and answer.status != 431:
        return [f"status {answer.status}"]
    if answer.status == 405 and not answer.headers.get("Allow"):
        return ["405 without Allow"]
    return []


def location_problems(answer):
    location = answer.headers.get("Location")
    if location is None:
        return [f"{answer.status} without Location"] if answer.status in (301, 302, 303, 307, 308) else []
    if OWN_PATH.fullmatch(location):
        return []
    if not location.startswith(LOCATION_OF_CLIENT):
        return [f"a redirect to {location[:80]!r}"]
    error = dict(parse_qsl(urlsplit(location).query)).get("error")
    return [] if error is None or error in AUTHORIZATION_ERRORS else [f"unregistered error {error[:80]!r}"]


def machine_problems(answer, path):
    found = ["a machine was sent a cookie"] if "Set-Cookie" in answer.headers else []
    kind = answer.headers.get("Content-Type", "").partition(";")[0]
    if answer.status == 200 and path in PROBES:
        return found
    if answer.body and kind != "application/json":
        return [*found, f"a machine was sent {kind}"]
    stored = answer.headers.get("Cache-Control", "")
    if "no-store" not in stored and not (path.startswith("/.well-known/") and answer.status == 200):
        found.append(f"a machine may keep the answer: {stored}")
    return found + (json_error_problems(answer.body) if answer.body and answer.status >= 400 else [])


def json_error_problems(body):
    error = json.loads(body)
    found = [] if error["error"] in TOKEN_ERRORS else [f"unregistered error {error['error']!r}"]
    if not DESCRIPTION.fullmatch(error["error_description"]):
        found.append("a description outside of visible ASCII")
    return found


# ---- echoes -------------------------------------------------------------------------------------------------------


def echoes(answer, value, name):
    """Where the answer repeats the value."""
    body = answer.body.replace(answer.headers.get("Request-Id", "-").encode(), b"")
    if "Location" in answer.headers:
        body = LINK_OF_REDIRECT.sub(b"", body)  # Werkzeug says it again, escaped
    if name in (b"email", b"name"):
        body = FIELD.sub(rb"\1\2", body)
    if name == b"next":
        body = LINK.sub(rb"\1\2", body)
    headers = "\n".join(f"{field}: {text}" for field, text in answer.headers if not is_meant(field, text, name))
    sent = headers.encode("latin-1", "replace")
    needles = spellings(value)
    return [
        f"an echo in the {place}: {needle[:80]!r}"
        for place, text in (("body", body), ("headers", sent))
        for needle in needles
        if needle in text
    ]


def is_meant(field, text, name):
    """Whether this header may hold what was sent."""
    if field == "Set-Cookie":
        return DEVICES.fullmatch(text) is not None
    if field == "Location":
        return OWN_PATH.fullmatch(text) is not None or (name == b"state" and text.startswith(LOCATION_OF_CLIENT))
    return field == "Request-Id"


def spellings(value):
    """What a copy of the value, of its beginning or of its end would look like."""
    pieces = {piece.strip() for piece in (value[:1_000], value[:PIECE], value[-PIECE:])}
    found = set()
    for piece in pieces:
        text = piece.decode("utf-8", "replace")
        if len(text.strip().strip("\ufffd\0")) < NOTICEABLE:
            continue
        found |= {piece, html.escape(text).encode(), json.dumps(text)[1:-1].encode()}
        found |= {quote_from_bytes(piece).encode(), quote_plus(piece, safe="").encode()}
    return found
