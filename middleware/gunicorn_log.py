"""Write what gunicorn logs as one line a record.

Its own doings, and a line for each request where `--access-logfile` asks for it. Its own formats escape
nothing: a request line or a user agent could begin another line, or tell a terminal what to do. Log settings
that an operator makes for gunicorn (`--logconfig`) are left as they are.
"""

import logging
from datetime import timedelta
from logging import Formatter
from typing import Protocol
from wsgiref.types import WSGIEnvironment

from gunicorn.config import Config
from gunicorn.glogging import Logger

from config import VERSION
from middleware.issuers import TENANT_NAME
from middleware.logs import LineFormatter
from middleware.request_checks import REQUEST_ID
from services.event_log import Event, as_address, as_plain, as_text, printable


class Printable(Formatter):
    """Writes an access line in the operator's own format, escaped."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class Answer(Protocol):
    """What gunicorn knows about a response that it has sent."""

    status: str | int
    sent: int


class Log(Logger):
    """gunicorn's logger, with our lines."""

    def setup(self, cfg: Config) -> None:
        """Set the formats, unless the operator has, and log our version."""
        super().setup(cfg)
        if not (cfg.logconfig or cfg.logconfig_dict or cfg.logconfig_json):
            self.set_formats(cfg)
        self.info("Ostiary %s", VERSION)  # above everything else that a server says

    def set_formats(self, cfg: Config) -> None:
        """Let both logs write our lines, the access log where the operator has no format for it."""
        self.has_own_access_format = cfg.access_log_format == cfg.settings["access_log_format"].default
        for handler in self.error_log.handlers:
            handler.setFormatter(LineFormatter())
        for handler in self.access_log.handlers:
            handler.setFormatter(
                LineFormatter() if self.has_own_access_format else Printable(self.access_fmt)
            )

    def access(self, resp: Answer, req: object, environ: WSGIEnvironment, request_time: timedelta) -> None:
        """Log a request. The path stands there without its query, which holds codes, tickets and states."""
        if not self.access_log_enabled:
            return
        if not getattr(self, "has_own_access_format", False):
            super().access(resp, req, environ, request_time)
            return
        fields = {
            "event": str(Event.REQUEST),
            "remote_addr": as_address(environ.get("REMOTE_ADDR")) or "-",
            "method": environ.get("REQUEST_METHOD"),
            "path": environ.get("RAW_URI", "").partition("?")[0],
            "status": str(resp.status).partition(" ")[0],
            "bytes": resp.sent,
            "ms": request_time // timedelta(milliseconds=1),
            "user_agent": environ.get("HTTP_USER_AGENT", "-"),
        }
        fields = {name: as_plain(value) for name, value in fields.items()}
        more = {
            "fields": fields,
            "request_id": environ.get(REQUEST_ID, "-"),
            "tenant": environ.get(TENANT_NAME),
        }
        self.access_log.info("%s", as_text(fields), extra=more)
