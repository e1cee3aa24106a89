"""The log of events: an event, fields, and for each refusal one reason from a closed list.

Enters: values, some of which an attacker may have chosen. Leaves: log records whose text is one line. No
value can look like another field, begin another line, or control a terminal. No value is a secret: callers
pass ids and fixed words, never what a user typed, and anything that looks like a credential is cut. A record
keeps its fields, for formatters that write them in another way.
"""

# ruff: noqa: S105 - words, no passwords
import json
import logging
import re
from collections.abc import Mapping
from enum import Enum, StrEnum
from ipaddress import ip_address

from flask import g, has_request_context, request

log = logging.getLogger("ostiary.events")

BARE = re.compile(r"[A-Za-z0-9._~:/@+,-]+")
CREDENTIAL = re.compile(r"(ost_[a-z]{2}_|eyJ)[\w.~+/=-]*", re.ASCII)
NOT_VISIBLE = re.compile(r"[^\x20-\x7E]")
MAXIMUM_VALUE = 1_000
MAXIMUM_UNVERIFIED = 64  # characters of a value that a client sent, and that nothing verified


class Event(StrEnum):
    """What a line is about."""

    REQUEST = "request"
    REFUSED = "refused"
    SIGN_IN = "sign_in"
    SIGN_OUT = "sign_out"
    SIGN_UP = "sign_up"
    PASSWORD_CHANGED = "password_changed"


class Reason(Enum):
    """Why a request was refused, for the operator alone: an answer says less.

    The value says what the word means.
    """

    def __str__(self) -> str:
        return self.name.lower()

    # a client and its authentication
    UNKNOWN_CLIENT = "no client is registered under this client id"
    CLIENT_NOT_NAMED = "the request names no client, or two different ones"
    WRONG_SECRET = "the client exists, but the secret is wrong"
    WRONG_ASSERTION = "the client's signed assertion is not valid; `detail` says why"
    KEYS_NOT_AT_HAND = (
        "the client's keys are at its `jwks_uri`, and too many requests are waiting for the network"
    )
    WRONG_AUTH_METHOD = (
        "the client is not registered for this way of client authentication, or the endpoint does not take it"
    )
    WRONG_CLIENT = "the code or token belongs to another client"
    UNAUTHORIZED_CLIENT = "the client is not registered for this grant"
    # an authorization request, or one to sign out
    REDIRECT_URI_NOT_REGISTERED = "the redirect URI is missing or not registered for this client"
    INVALID_REQUEST = "the request is malformed; `detail` says how"
    INVALID_SCOPE = "the scope is unknown, or more than the client or the user may have"
    INVALID_REQUEST_OBJECT = "the signed request object is not valid; `detail` says why"
    REQUEST_URI_NOT_SUPPORTED = "a request object has to be sent by value, not by reference"
    UNSUPPORTED_RESPONSE_TYPE = "the response type is not `code`"
    LOGIN_REQUIRED = "the client asked with `prompt=none`, and no matching user is signed in"
    CONSENT_REQUIRED = "the client asked with `prompt=none`, and the user has not allowed this"
    ACCOUNT_SELECTION_REQUIRED = "the client asked with `prompt=none`, and several users are signed in"
    UNMET_AUTHENTICATION_REQUIREMENTS = "the client requires a way of sign-in that was not used"
    ACCESS_DENIED = "the user pressed Deny"
    REQUEST_GONE = "the pending request was answered, is too old, or belongs to another browser"
    # codes and refresh tokens
    CODE_UNKNOWN = "no such code was issued, or it was used, or it expired long ago"
    CODE_EXPIRED = "the code came too late"
    CODE_REPLAYED = "the code was used before, and all else was right: the tokens that it issued have ended"
    WRONG_REDIRECT_URI = "the redirect URI differs from the one in the authorization request"
    WRONG_VERIFIER = "the code verifier does not match the authorization request"
    REFRESH_UNKNOWN = "the refresh token was not issued here"
    REFRESH_ENDED = "the sign-in of the refresh token has ended"
    REFRESH_EXPIRED = "the refresh token, or its sign-in, has expired"
    REFRESH_REUSED = "the refresh token was replaced by another, and this is no repeat that is allowed"
    UNSUPPORTED_GRANT_TYPE = "there is no such grant here"
    # bearer tokens
    TOKEN_MISSING = "a protected resource was requested without a bearer token"
    TOKEN_UNKNOWN = "no such access token was issued, or it was revoked or replaced"
    TOKEN_EXPIRED = "the access token has expired"
    INSUFFICIENT_SCOPE = "the access token does not have the scope for this"
    # forms
    WRONG_PASSWORD = "the account exists, but the password is wrong"
    UNKNOWN_ACCOUNT = (
        "there is no account with the address that was typed (the address itself is never logged)"
    )
    DISABLED = "the account is disabled or removed"
    ACCOUNT_EXISTS = "somebody tried to sign up with the address of an existing account"
    INVALID_FORM = "the input of a form cannot be used: a short password, a malformed address"
    THROTTLED = "too many failures before this one"
    BUSY = "this process is already checking as many passwords as it may"
    CSRF = "the form has no CSRF token, or one of another browser; `detail` says which"
    COOKIES_BLOCKED = "the browser keeps no cookies, so the form cannot be verified"
    STALE_FORM = "the form is from before a sign-in or sign-out in the same browser"
    # the request itself, and the server
    WRONG_HOST = "the request names another host than the issuer's"
    FOREIGN_ORIGIN = "another site's page has sent a form"
    NOT_LOOPBACK = "a loopback issuer was called through a proxy, or from another machine"
    NOT_FOUND = "there is nothing at this address"
    METHOD_NOT_ALLOWED = "the address exists, but not for this method"
    TOO_LARGE = "the request is larger than any request needs to be"
    TOO_SLOW = "the request did not arrive within its time"
    MALFORMED = "the request is not valid HTTP"
    STORAGE_UNAVAILABLE = "the database is away, too busy, or not migrated"
    TENANT_UNAVAILABLE = "settings that the tenant has of its own cannot be used; the line before says which"
    BUG = "the line with `bug:` and the same request id says where"


REASONS_OF_ERRORS = {"invalid_client": Reason.UNKNOWN_CLIENT}
REASONS = {str(reason): reason for reason in Reason}


def set_reason(reason: Reason, **fields: object) -> None:
    """Set why this request is refused, and further fields of its log line; a later call wins."""
    add_fields(reason=str(reason), **fields)


def add_fields(**fields: object) -> None:
    """Add fields to the log line of this request, which is written if the request is refused.

    The dict is replaced, never changed: a second try of the request starts without the fields of the first.
    """
    if has_request_context():
        g.log_fields = g.get("log_fields", {}) | fields


def get_field(name: str) -> object:
    """Return the value of a field that was set for this request, or None."""
    return g.get("log_fields", {}).get(name) if has_request_context() else None


def set_client(client_id: str, is_known: bool) -> None:
    """Set which client a request comes from. An unknown id is cut, and cleaned of control characters."""
    add_fields(client_id=client_id if is_known else visible(client_id) or None, client_known=is_known)


def set_error(error: str, description: str | None) -> None:
    """Set what the client is told: a registered error code and fixed words. A reason that was set stays."""
    reason = get_field("reason") or REASONS_OF_ERRORS.get(error) or REASONS.get(error, Reason.INVALID_REQUEST)
    add_fields(error=error, reason=str(reason), detail=get_field("detail") or description or None)


def write(event: Event, level: int = logging.INFO, **fields: object) -> None:
    """Write one line of the log, without fields that are None.

    The request's id and the client's address are added. A view may run twice: an event that counts only once
    it is committed is written by `unit_of_work.after_commit`.
    """
    if not log.isEnabledFor(level):
        return
    if has_request_context():
        fields.setdefault("remote_addr", as_address(request.remote_addr))
    known = {name: as_plain(value) for name, value in {"event": event, **fields}.items() if value is not None}
    log.log(level, "%s", as_text(known), extra={"fields": known})


def as_plain(value: object) -> bool | int | float | str:
    """Return a value for JSON, of bounded length, with credentials cut."""
    if isinstance(value, bool | int | float):
        return value
    return CREDENTIAL.sub(r"\1...", str(value)[:MAXIMUM_VALUE])


def as_address(text: str | None) -> str | None:
    """Return an IP address in its usual spelling; None for anything else."""
    try:
        return str(ip_address(text or ""))
    except ValueError:
        return None


def as_text(fields: Mapping[str, object]) -> str:
    """Return fields as `name=value`, separated by blanks."""
    return " ".join(f"{name}={as_value(value)}" for name, value in fields.items())


def as_value(value: object) -> str:
    """Return a plain word unchanged, and anything else as a JSON string in ASCII."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(as_plain(value))
    return text if BARE.fullmatch(text) else json.dumps(text).replace("\x7f", "\\u007f")


def visible(presented: str) -> str:
    """Return as much of an unverified value as may be logged."""
    return NOT_VISIBLE.sub("?", presented[:MAXIMUM_UNVERIFIED])


def printable(text: str) -> str:
    """Return a text in one line, with escapes for characters that do not print or change the direction."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )
