import logging
from argparse import Namespace
from datetime import timedelta

from werkzeug.test import create_environ

from config import Settings
from middleware.gunicorn_log import Log
from middleware.logs import LineFormatter
from middleware.request_checks import REQUEST_ID
from services.tenant_state import TenantState, entered
from tests.builders import ISSUER, SECRET_KEY
from tests.tenants.conftest import in_memory
from tests.tenants.issuers import three_issuers

RECORD = logging.LogRecord("ostiary.events", logging.INFO, "", 0, "hello", None, None)


def line_of(tenant):
    with entered(tenant):
        return LineFormatter().format(RECORD)


def test_a_line_says_which_tenant_it_is_about_unless_it_is_home():
    settings = Settings(issuer=ISSUER, database_url="sqlite://", secret_key=SECRET_KEY, tenants="on")
    assert line_of(TenantState(settings, 2, "acme")).endswith(" hello request_id=- tenant=acme")
    assert line_of(TenantState(settings)).endswith(" hello request_id=-")
    assert LineFormatter().format(RECORD).endswith(" hello request_id=-")


def test_the_line_of_a_request_says_it_too(apps, first_rows, stopped_clock):
    """gunicorn writes it after the tenant was left; at a host of its own nothing else in the line tells."""
    with in_memory(apps, first_rows) as app:
        for issuer, end in zip(three_issuers(app), ("", " tenant=acme", " tenant=beta"), strict=True):
            environ = create_environ(f"{issuer.path}/login", issuer.origin)
            assert b"Sign in" in b"".join(app.wsgi_app(environ, lambda *answer: None))
            line = access_line(environ)
            assert line.endswith(f" request_id={environ[REQUEST_ID]}{end}"), line


class AccessLog(Log):
    """gunicorn's logger with an access log of our lines, and without a configuration."""

    access_log_enabled = has_own_access_format = True

    def __init__(self):
        self.access_log = logging.Logger("gunicorn.access")


def access_line(environ):
    lines = []
    log = AccessLog()
    log.access_log.addHandler(handler := logging.Handler())
    handler.setFormatter(LineFormatter())
    handler.emit = lambda record: lines.append(handler.format(record))
    log.access(Namespace(status="200 OK", sent=1), None, environ, timedelta(0))
    [line] = lines
    return line
