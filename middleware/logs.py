"""Write the log: one line a record, one line a refused request, and no query of a request in any of them.

`services/event_log.py` has the events, the reasons, and how a value is written.
"""

# ruff: noqa: S105 - words, no passwords
import logging
import re
import threading
from datetime import UTC, datetime

from flask import Response, g, has_request_context, request

from database.tenancy import HOME
from services.event_log import CREDENTIAL, Event, Reason, as_text, as_value, printable, write
from services.tenant_state import find_entered

log = logging.getLogger("ostiary.logs")

REASONS_OF_STATUSES = {
    404: Reason.NOT_FOUND,
    405: Reason.METHOD_NOT_ALLOWED,
    413: Reason.TOO_LARGE,
    429: Reason.THROTTLED,
    503: Reason.STORAGE_UNAVAILABLE,
}
FIELDS_OF_REFUSALS = (
    "reason",
    "status",
    "error",
    "client_id",
    "client_known",
    "grant_type",
    "sub",
    "route",
    "detail",
)


def write_refusal(response: Response) -> None:
    """Write the line of a request that was refused.

    By its status, or by an error that goes to a client in a redirect or a form.
    """
    noted = g.get("log_fields", {})
    if response.status_code >= 400 or "error" in noted:
        status = response.status_code
        reason = REASONS_OF_STATUSES.get(status, Reason.INVALID_REQUEST if status < 500 else Reason.BUG)
        route = request.url_rule.rule if request.url_rule else None
        fields = {"reason": reason, "route": route} | noted | {"status": status}
        write(Event.REFUSED, **{name: fields.get(name) for name in FIELDS_OF_REFUSALS})


class LineFormatter(logging.Formatter):
    """Writes a record as one line: `2026-11-30T15:21:41.123Z INFO ostiary.events event=… request_id=…`.

    At the end stands the tenant for whom it was written, unless that is home.
    """

    def format(self, record: logging.LogRecord) -> str:
        at = (
            datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z")
        )
        request_id = as_value(getattr(record, "request_id", "-"))
        tenant = getattr(record, "tenant", None) or current_name()
        of_tenant = f" tenant={tenant}" if tenant is not None else ""
        return f"{at} {record.levelname} {record.name} {text_of(record)} request_id={request_id}{of_tenant}"


def current_name() -> str | None:
    """Return the name of the tenant that was entered, None for home and for none."""
    tenant = find_entered()
    return tenant.name if tenant is not None and tenant.id != HOME else None


def text_of(record: logging.LogRecord) -> str:
    """Return the text of a record, with nothing secret or unprintable in it."""
    fields: dict[str, object] | None = getattr(record, "fields", None)
    if fields is not None:
        return as_text(fields)
    text = CREDENTIAL.sub(r"\1...", printable(record.getMessage()))
    if record.exc_info:
        text += printable("\n" + logging.Formatter().formatException(record.exc_info))
    return text


class RequestId(logging.Filter):
    """Gives every log record the id of its request, the one that an error page shows."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "request_id"):
            record.request_id = g.get("request_id", "-") if has_request_context() else "-"
        return True


def configure(level: str) -> None:
    """Let the log go to stderr, a line for each record."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler.formatter, LineFormatter):
            root.removeHandler(handler)
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter())
    handler.addFilter(RequestId())
    root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(True)
    threading.excepthook = write_uncaught


def write_uncaught(failure: threading.ExceptHookArgs) -> None:
    """Log the exception that ended a thread. Python would print it unescaped."""
    name = failure.thread.name if failure.thread else "?"
    # its value is there
    log.error("a thread ended: %s", name, exc_info=failure[:3])  # type: ignore[arg-type]


COLOURS = re.compile(r"\x1b\[\d*m")
HTTP_VERSION = re.compile(r" HTTP/\d\.\d$")


class WithoutQuery(logging.Filter):
    """Takes the query out of the development server's lines: it holds codes, tickets and states.

    What is left has no colours, and no quotation mark of the request's own.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                without_secrets(part) if isinstance(part, str) else part for part in record.args
            )
        return True


def without_secrets(request_line: str) -> str:
    """Return a request line without its query."""
    before, mark, after = COLOURS.sub("", request_line).partition("?")
    version = HTTP_VERSION.search(after) if mark else None
    return before.replace('"', "%22") + (version[0] if version else "")


without_query = WithoutQuery()  # one for all apps: a logger takes the same filter once
