"""The form of a request's parameters, which is checked before any grant reads them.

Authlib reads parameters from query and body alike, takes the first of two, tries one way of client
authentication after the other, and raises on some characters. Such a request is refused here before, with the
registered error and fixed words (RFC 6749 §3.1, §3.2, §2.3; RFC 9700 §2.5).
"""

import binascii
import re
from base64 import b64decode
from collections import Counter
from collections.abc import Iterable
from urllib.parse import unquote_plus

from authlib.oauth2.rfc6749 import InvalidRequestError, InvalidScopeError, OAuth2Error

from protocol import typed_text

FORM = "application/x-www-form-urlencoded"
VISIBLE = re.compile(r"[\x20-\x7E]*")  # VSCHAR, RFC 6749 appendix A
CONTROL = re.compile(r"[\x00-\x1F\x7F-\x9F\uD800-\uDFFF\uFFFD]")
# The client chose the value and gets it back unchanged; a secret with other characters is merely wrong (401).
FREE_TEXT = frozenset({"state", "nonce", "client_secret"})
NOT_IN_JSON = re.compile(
    r"[\x00-\x08\x0B\x0C\x0E-\x1F\uD800-\uDFFF\uFFFD]"
)  # line feeds and tabs are whitespace (RFC 8259 §2)
JSON_PARAMETERS = frozenset({"claims"})
REPEATABLE = frozenset({"resource", "audience"})  # RFC 8707 §2, RFC 8693 §2.1

MAXIMUM_LENGTHS = {
    "state": 8_192,
    "id_token_hint": 8_192,
    "claims": 8_192,
    "client_assertion": 16_384,
    "request": 16_384,
    "redirect_uri": 2_000,
    "scope": 4_096,
}
DEFAULT_MAXIMUM_LENGTH = 4_096
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"  # RFC 7523 §2.2
AUTHORIZATION = frozenset(
    "response_type client_id redirect_uri scope state response_mode code_challenge"
    " code_challenge_method nonce"
    " prompt max_age id_token_hint acr_values display claims request request_uri".split()
)
KNOWN = AUTHORIZATION | frozenset(
    "grant_type code client_secret client_assertion client_assertion_type code_verifier refresh_token"
    " ticket decision token"
    " token_type_hint post_logout_redirect_uri".split()
)
# Optional hints: ignored, not refused, where they are too long or have characters that no hint has.
HINTS = frozenset({"login_hint", "ui_locales", "claims_locales"})
MAXIMUM_HINT_LENGTH = 254


def select_known(parameters: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the parameters of a checked authorization request that this server knows.

    Unknown parameters, and those without a value, are left out (RFC 6749 §3.1).
    """
    return {
        name: value
        for name, value in parameters
        if value and (name in AUTHORIZATION or (name in HINTS and is_usable(value)))
    }


def is_usable(hint: str) -> bool:
    """Return whether a hint has a length and characters that a hint may have."""
    return (
        len(hint) <= MAXIMUM_HINT_LENGTH and not CONTROL.search(hint) and not typed_text.find_forbidden(hint)
    )


def check_form(
    content_type: str, query: str, form: Iterable[tuple[str, str]], authorization: str
) -> set[str]:
    """Return the names of the parameters that have a value, in a request that a client sends by itself.

    form: the pairs of the body, repeated ones included. authorization: the header's text, "" when absent.
    Raises InvalidRequestError, and InvalidScopeError for a blank scope.
    """
    if content_type.partition(";")[0].strip().lower() != FORM:
        raise InvalidRequestError("the body must be application/x-www-form-urlencoded")
    if query:
        raise InvalidRequestError("parameters belong into the body, not into the URL")
    pairs = list(form)
    check_parameters(pairs)
    if any(name == "scope" and value and not value.strip() for name, value in pairs):
        raise InvalidScopeError("the scope is blank")
    names = {name for name, value in pairs if value}  # without a value it counts as left out (§3.2)
    proofs = names & {"client_secret", "client_assertion"}
    if len(proofs) + bool(authorization) > 1:
        raise InvalidRequestError("use one way of client authentication, not two")
    if names & {"client_assertion", "client_assertion_type"}:
        check_assertion(dict(pairs))
    return names


def check_parameters(
    pairs: Iterable[tuple[str, str]], of_scope: type[OAuth2Error] = InvalidRequestError
) -> None:
    """Raise InvalidRequestError for a parameter that is repeated, too long, or has forbidden characters.

    of_scope: the error for a malformed scope.
    """
    pairs = list(pairs)
    if not find_repeated(pairs) <= REPEATABLE:
        raise InvalidRequestError("a parameter is given more than once")
    for name, value in pairs:
        if name not in KNOWN:
            continue  # RFC 6749 §3.1: unknown parameters are ignored
        error = of_scope if name == "scope" else InvalidRequestError
        if len(value) > MAXIMUM_LENGTHS.get(name, DEFAULT_MAXIMUM_LENGTH):
            raise error(f"{name} is too long")
        if has_wrong_characters(name, value):
            raise error(f"{name} has characters that its syntax does not allow")


def has_wrong_characters(name: str, value: str) -> bool:
    """Return whether a value has characters outside of the parameter's syntax."""
    if name in JSON_PARAMETERS:
        return NOT_IN_JSON.search(value) is not None
    if name in FREE_TEXT:
        return CONTROL.search(value) is not None
    return VISIBLE.fullmatch(value) is None


def find_repeated(pairs: Iterable[tuple[str, str]]) -> set[str]:
    """Return the names of the parameters that are given more than once."""
    return {name for name, count in Counter(name for name, _value in pairs).items() if count > 1}


def select_well_formed(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the well-formed parameters of a refused request: they say where the error goes.

    The result is empty where the client or the redirect URI is repeated or malformed: then the error is shown
    to the user and sent to nobody (RFC 6749 §4.1.2.1).
    """
    pairs = list(pairs)
    repeated = find_repeated(pairs)
    well_formed = {
        name: value for name, value in pairs if value and name not in repeated and is_well_formed(name, value)
    }
    required = {
        name for name, value in pairs if name in ("client_id", "redirect_uri") and (value or name in repeated)
    }
    return select_known(well_formed.items()) if required <= well_formed.keys() else {}


def is_well_formed(name: str, value: str) -> bool:
    """Return whether one parameter has an allowed length and allowed characters."""
    try:
        check_parameters([(name, value)])
    except OAuth2Error:
        return False
    return True


def check_assertion(form: dict[str, str]) -> None:
    """Raise InvalidRequestError unless both parameters of an assertion are there (RFC 7521 §4.2)."""
    if not form.get("client_assertion"):
        raise InvalidRequestError("client_assertion is missing")
    if form.get("client_assertion_type") != JWT_BEARER:
        raise InvalidRequestError("client_assertion_type must be the one for JWTs (RFC 7523)")


def parse_basic(authorization: str) -> tuple[str, str] | None:
    """Return client_id and secret of a well-formed Basic header, else None (RFC 6749 §2.3.1)."""
    scheme, _blank, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user_pass = b64decode(encoded.strip().encode("ascii"), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeError):
        return None
    client_id, colon, secret = user_pass.partition(":")
    if not colon:
        return None
    return unquote_plus(client_id), unquote_plus(secret)
