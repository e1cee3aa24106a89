"""What the log says and in which words: an event, fields, and for each refusal one reason from a closed list.

Enters: values, some of which strangers made up. Leaves: records whose text is one line, in which no value can pass for another
field, begin another line, or tell a terminal what to do. No value is a secret: callers pass ids and words of ours, never what a
person typed, and what looks like a credential is cut short. A record keeps its fields: another format can be made of them.
"""

import json
import logging
import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from flask import g, has_request_context, request

log = logging.getLogger("ostiary.events")

BARE = re.compile(r"[A-Za-z0-9._~:/@+,-]+")
CREDENTIAL = re.compile(r"(ost_[a-z]{2}_|eyJ)[\w.~+/=-]*", re.ASCII)
NOT_VISIBLE = re.compile(r"[^\x20-\x7E]")
MAXIMUM_VALUE = 500
MAXIMUM_UNKNOWN_CLIENT_ID = 64


class Event(StrEnum):
    """What a line is about."""

    REFUSED = "refused"
    SIGN_IN = "sign_in"
    SIGN_OUT = "sign_out"
    SIGN_UP = "sign_up"


class Reason(StrEnum):
    """Why a request was refused, for the operator alone: an answer says less."""

    # a client, and how it proves itself
    UNKNOWN_CLIENT = "unknown_client"
    WRONG_SECRET = "wrong_secret"  # noqa: S105 - a word
    WRONG_ASSERTION = "wrong_assertion"
    WRONG_AUTH_METHOD = "wrong_auth_method"
    # an authorization request
    REDIRECT_URI_NOT_REGISTERED = "redirect_uri_not_registered"
    INVALID_REQUEST = "invalid_request"
    INVALID_SCOPE = "invalid_scope"
    REQUEST_GONE = "request_gone"
    # what a person sends
    WRONG_PASSWORD = "wrong_password"  # noqa: S105 - a word
    UNKNOWN_ACCOUNT = "unknown_account"
    DISABLED = "disabled"
    THROTTLED = "throttled"
    CSRF = "csrf"
    STALE_FORM = "stale_form"
    # what the front door meets
    WRONG_HOST = "wrong_host"
    FOREIGN_ORIGIN = "foreign_origin"
    NOT_FOUND = "not_found"
    # what a client redeems
    CODE_UNKNOWN = "code_unknown"
    CODE_EXPIRED = "code_expired"
    CODE_REPLAYED = "code_replayed"
    WRONG_VERIFIER = "wrong_verifier"
    REFRESH_REUSED = "refresh_reused"
    REFRESH_EXPIRED = "refresh_expired"


def because(reason: Reason, **fields: Any) -> None:
    """Note why this request is about to be refused, and what else the line shall say; a later note wins. Nothing is written yet:
    the line is written once, when the answer is known.
    """
    note(reason=reason, **fields)


def note(**fields: Any) -> None:
    """What the line of a refusal says, if this request is refused. A new dict each time: a second try starts without the first."""
    if has_request_context():
        g.noted = g.get("noted", {}) | fields


def write(event: Event, level: int = logging.INFO, **fields: Any) -> None:
    """One line of the log. A field that is None is left out; the request's id and the client's address come by themselves.

    A view may run twice: what only counts once it is committed is written by `unit_of_work.after_commit`.
    """
    if not log.isEnabledFor(level):
        return
    if has_request_context():
        fields = {"remote_addr": request.remote_addr, **fields}
    known = {"event": str(event)} | {name: value for name, value in fields.items() if value is not None}
    log.log(level, "%s", as_text(known), extra={"fields": known})


def as_text(fields: dict[str, Any]) -> str:
    """`name=value` for each, with a blank between them."""
    return " ".join(f"{name}={as_value(value)}" for name, value in fields.items())


def as_value(value: Any) -> str:
    """As it is where it is a plain word, else as a JSON string of ASCII: quotes, controls and all other letters are escaped."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = CREDENTIAL.sub(r"\1...", str(value)[:MAXIMUM_VALUE])
    return text if BARE.fullmatch(text) else json.dumps(text).replace("\x7f", "\\u007f")


def unknown_client_id(presented: str) -> str:
    """Of what was sent for a client id, as much as may stand in the log."""
    return NOT_VISIBLE.sub("?", presented[:MAXIMUM_UNKNOWN_CLIENT_ID])


def printable(text: str) -> str:
    """The text in one line; what does not print, or changes the direction of what does, is written as an escape."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


class Line(logging.Formatter):
    """A record as one line: `2026-11-30T15:21:41.123Z INFO ostiary.events event=… request_id=…`."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        request_id = as_value(getattr(record, "request_id", "-"))
        return f"{at} {record.levelname} {record.name} {text_of(record)} request_id={request_id}"


def text_of(record: logging.LogRecord) -> str:
    fields: dict[str, Any] | None = getattr(record, "fields", None)
    if fields is not None:
        return as_text(fields)
    text = CREDENTIAL.sub(r"\1...", printable(record.getMessage()))
    if record.exc_info:
        text += printable("\n" + logging.Formatter().formatException(record.exc_info))
    return text


class RequestId(logging.Filter):
    """Gives every log record the id of its request, the one that an error page shows."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = g.get("request_id", "-") if has_request_context() else "-"
        return True


def configure(level: str) -> None:
    """One line a record on stderr. Nothing that is logged holds a token, code, secret, password or cookie."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler.formatter, Line):
            root.removeHandler(handler)
    handler = logging.StreamHandler()
    handler.setFormatter(Line())
    handler.addFilter(RequestId())
    root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(True)
