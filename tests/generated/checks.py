"""What must hold of every answer, whatever was asked.

`problems(…)` lists what does not, in words; an empty list is the aim. An echo is a copy of the hostile value,
of its beginning or end, in any spelling that a page, JSON or a URL would give it. These are meant: `state` in
a redirect to the client, in a form that is posted to it, and in the form that asks who signs out; field names
in the answer to a preflight; the value of the form fields `email` (of `login_hint` too) and `name`; `next` in
the links of the sign-in and sign-up pages; what a redirect to a path of ours carries on in its query,
percent-encoded (a ticket, a client's request that came by POST); and entries of the cookie of known devices.
None of it belongs into the log, but for the beginning of a client id that is unknown.
"""

import html
import json
import re
from functools import lru_cache
from urllib.parse import parse_qsl, quote_from_bytes, quote_plus, urlsplit

from tests.builders import PASSWORD, REDIRECT_URI

TOKEN_ERRORS = set(
    "invalid_request invalid_client invalid_grant unauthorized_client unsupported_grant_type invalid_scope"
    " invalid_token insufficient_scope unsupported_token_type".split()
)  # RFC 6749 §5.2, RFC 6750 §3.1, RFC 7009 §2.2.1
AUTHORIZATION_ERRORS = set(
    "invalid_request unauthorized_client access_denied unsupported_response_type invalid_scope server_error"
    " temporarily_unavailable login_required consent_required account_selection_required interaction_required"
    " unmet_authentication_requirements invalid_request_object request_uri_not_supported".split()
)  # RFC 6749 §4.1.2.1, OpenID Connect Core §3.1.2.6, Error Code unmet_authentication_requirements 1.0
DESCRIPTION = re.compile(r"[\x20-\x21\x23-\x5B\x5D-\x7E]+")  # RFC 6749 §5.2
OWN_PATH = re.compile(r"/(?![/\\])[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]*")
NOTICEABLE = 6  # shorter texts stand on pages anyway
PIECE = 12
FIELD = re.compile(rb'(<input id="(?:email|name)" [^>]*?value=")[^"]*(")')
STATE = re.compile(rb'(<input type="hidden" name="state" value=")[^"]*(")')
ANSWER_FORM = re.compile(rb'<form method="post" action="([^"]*)" id="answer">(.*?)</form>', re.DOTALL)
ERROR_FIELD = re.compile(rb'name="error" value="([^"]*)"')
LINK = re.compile(rb'(href="/)[^"]*(")')
LINK_OF_REDIRECT = re.compile(rb'<a href="[^"]*">[^<]*</a>')
TOO_MANY_HASHES = b"Many people are signing in at this moment."
MACHINES = {  # what each of them answers, besides JSON
    "/oauth/token": None,
    "/oauth/introspect": "application/token-introspection+jwt",
    "/oauth/revoke": None,
    "/oauth/userinfo": "application/jwt",
    "/oauth/jwks": "application/jwk-set+json",
    "/api/me": None,
    "/.well-known/oauth-authorization-server": None,
    "/.well-known/openid-configuration": None,
}
UNKNOWN_CLIENT = re.compile(r'client_id=(?:"(?:[^"\\]|\\.){,128}"|[^" ]{1,64}) client_known=false')
PROBES = ("/healthz", "/readyz")
DEVICES = re.compile(r"[\w-]+-device=([A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}~?){1,5};.*", re.ASCII)
FIELD_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}(, [A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}){0,31}")
AFTER_LOGOUT = "https://app.example/bye"
OF_CLIENT = (REDIRECT_URI + "?", AFTER_LOGOUT + "?")
SECRETS = re.compile(
    r"ost_(?:at|rt|ac|cs)_\w{20}|eyJ[\w-]+\.[\w-]+|ostiary=|" + re.escape(PASSWORD), re.ASCII
)


def problems(answer, path, value, *, name=b"", may_wait=False, is_early=False):
    """path: without its query. name: of the parameter under test.

    may_wait: 429 and the 503 of too many password hashes are in order. is_early: the request may have been
    refused before anything knew that a machine had sent it.
    """
    found = [*status_problems(answer, may_wait), *client_problems(answer), *echoes(answer, value, name)]
    error = error_of(answer)
    if error is not None and error not in AUTHORIZATION_ERRORS:
        found.append(f"unregistered error {error[:80]!r}")
    if path in (*MACHINES, *PROBES) and not is_early:
        found += machine_problems(answer, path)
    return found


def status_problems(answer, may_wait):
    if may_wait and (answer.status == 429 or (answer.status == 503 and TOO_MANY_HASHES in answer.body)):
        return (
            []
            if answer.headers.get("Retry-After", "").isdigit()
            else [f"{answer.status} without Retry-After"]
        )
    if answer.status >= 429 and answer.status != 431:
        return [f"status {answer.status}"]
    if answer.status == 405 and not answer.headers.get("Allow"):
        return ["405 without Allow"]
    return []


def client_problems(answer):
    """Of what goes to a client, or on to a path of ours."""
    location = answer.headers.get("Location")
    if location is None:
        found = [f"{answer.status} without Location"] if answer.status in (301, 302, 303, 307, 308) else []
        return found + [
            f"a form for {form[1]!r}" for form in answer_forms(answer) if form[1] != REDIRECT_URI.encode()
        ]
    if OWN_PATH.fullmatch(location) or location == AFTER_LOGOUT:
        return []
    if not location.startswith(OF_CLIENT):
        return [f"a redirect to {location[:80]!r}"]
    return []


def answer_forms(answer):
    """The forms by which the answer goes to a client (OAuth 2.0 Form Post Response Mode)."""
    return list(ANSWER_FORM.finditer(answer.body)) if answer.status == 200 else []


def error_of(answer):
    """The error code that a client is told by way of the browser, or None."""
    location = answer.headers.get("Location", "")
    if location.startswith(OF_CLIENT):
        return dict(parse_qsl(urlsplit(location).query)).get("error")
    told = [error[1].decode() for form in answer_forms(answer) for error in ERROR_FIELD.finditer(form[2])]
    return told[0] if told else None


def is_refusal(answer):
    return answer.status >= 400 or error_of(answer) is not None


def machine_problems(answer, path):
    found = ["a machine was sent a cookie"] if "Set-Cookie" in answer.headers else []
    kind = answer.headers.get("Content-Type", "").partition(";")[0]
    if answer.status == 200 and path in PROBES:
        return found
    if answer.body and kind != "application/json" and (answer.status >= 400 or kind != MACHINES.get(path)):
        return [*found, f"a machine was sent {kind}"]
    stored = answer.headers.get("Cache-Control", "")
    is_public = path == "/oauth/jwks" or path.startswith("/.well-known/")
    if "no-store" not in stored and not (is_public and answer.status == 200):
        found.append(f"a machine may keep the answer: {stored}")
    return found + (json_error_problems(answer.body) if answer.body and answer.status >= 400 else [])


def json_error_problems(body):
    error = json.loads(body)
    found = [] if error["error"] in TOKEN_ERRORS else [f"unregistered error {error['error']!r}"]
    if not DESCRIPTION.fullmatch(error["error_description"]):
        found.append("a description outside of visible ASCII")
    return found


def log_problems(lines, value):
    """What a line of the log must not hold: anything that lets somebody in, or that was sent."""
    written = UNKNOWN_CLIENT.sub("", "\n".join(lines))
    found = [f"a secret in the log: {secret[0][:20]!r}" for secret in SECRETS.finditer(written)]
    raw = written.encode("utf-8", "surrogatepass")
    return found + [f"an echo in the log: {needle[:80]!r}" for needle in spellings(value) if needle in raw]


# ---- echoes ------------------------------------------------------------------------------------------------


def echoes(answer, value, name):
    """Where the answer repeats the value."""
    body = answer.body.replace(answer.headers.get("Request-Id", "-").encode(), b"")
    if "Location" in answer.headers:
        body = LINK_OF_REDIRECT.sub(b"", body)  # Werkzeug says it again, escaped
    if name in (b"email", b"name", b"login_hint"):
        body = FIELD.sub(rb"\1\2", body)
    if name == b"state":
        body = STATE.sub(rb"\1\2", body)
    if name == b"next":
        body = LINK.sub(rb"\1\2", body)
    headers = "\n".join(
        f"{field}: {text}" for field, text in answer.headers if not is_meant(field, text, name)
    )
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
        return OWN_PATH.fullmatch(text) is not None or (name == b"state" and text.startswith(OF_CLIENT))
    if field == "Access-Control-Allow-Headers":
        return FIELD_NAMES.fullmatch(text) is not None
    return field == "Request-Id"


@lru_cache(64)
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
