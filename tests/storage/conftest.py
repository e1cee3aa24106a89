"""Everything here starts processes or opens files: no part of it belongs to `make test-fast`."""

import pytest

from config import Settings
from database.tenancy import HOME, entered
from models import Tenant, db
from tests.apps import app_with_tables
from tests.builders import ISSUER, SECRET_KEY
from tests.live import ENGINES, new_database
from tests.statements import text
from tests.storage.two_tenants import OTHER, fill
from unit_of_work import transaction


@pytest.fixture(scope="session", autouse=True)
def outside_memory(integration):
    """Give each test of this folder the mark `integration`."""


@pytest.fixture(scope="session", params=ENGINES)
def app_of_two_tenants(request, tmp_path_factory, servers):
    url = new_database(request.param, tmp_path_factory.mktemp("two_tenants"), servers)
    with app_with_tables(Settings(issuer=ISSUER, database_url=url, secret_key=SECRET_KEY)) as app:
        with app.app_context():
            with transaction():
                db.session.add(Tenant(name="other", created_at=0))
            for tenant in (HOME, OTHER):
                with entered(tenant), transaction():
                    fill(tenant)
                db.session.remove()
            count_on()
        yield app


def count_on():
    """Let PostgreSQL number rows from here on: it does not see which numbers have been given."""
    if db.engine.dialect.name == "postgresql":
        with transaction():
            for table in ("end_user", "user_session", "logout_notice", "token"):
                db.session.execute(text(f"ALTER SEQUENCE {table}_id_seq RESTART WITH 1000"))


@pytest.fixture
def two_tenants(app_of_two_tenants):
    """Two tenants with rows of the same names (`two_tenants.py`), in one transaction, which is undone."""
    with app_of_two_tenants.app_context():
        yield
        db.session.rollback()
        db.session.remove()
