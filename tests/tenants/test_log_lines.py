import logging

from config import Settings
from middleware.logs import LineFormatter
from services.tenant_state import TenantState, entered
from tests.builders import ISSUER, SECRET_KEY

RECORD = logging.LogRecord("ostiary.events", logging.INFO, "", 0, "hello", None, None)


def line_of(tenant):
    with entered(tenant):
        return LineFormatter().format(RECORD)


def test_a_line_says_which_tenant_it_is_about_unless_it_is_home():
    settings = Settings(issuer=ISSUER, database_url="sqlite://", secret_key=SECRET_KEY, tenants="on")
    assert line_of(TenantState(settings, 2, "acme")).endswith(" hello request_id=- tenant=acme")
    assert line_of(TenantState(settings)).endswith(" hello request_id=-")
    assert LineFormatter().format(RECORD).endswith(" hello request_id=-")
