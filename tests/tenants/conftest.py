"""Fixtures of the tenants: an app with three issuers, in memory or on a database server."""

from contextlib import contextmanager

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from config import Settings
from database.tenancy import HOME
from models import db
from services import current
from services.current import state_of
from tests.apps import app_with_tables
from tests.builders import ISSUER, SECRET_KEY
from tests.live import new_database
from tests.refusal_lines import one_line_a_refusal
from tests.statements import delete
from tests.tenants.issuers import three_issuers

IN_MEMORY = "memory"
SERVERS = [
    pytest.param("postgresql", marks=pytest.mark.integration),
    pytest.param("mariadb", marks=[pytest.mark.integration, pytest.mark.long]),
]

FAILURES = 4  # until somebody has to wait
SIGN_UPS = 2
ON = {"issuer": ISSUER, "secret_key": SECRET_KEY, "tenants": "on", "signup": "open"}
FEW = {
    "failed_sign_ins_per_account_and_address": FAILURES,
    "failed_client_authentications_per_client": FAILURES,
    "sign_ups_per_address": SIGN_UPS,
}


def settings_for(database_url="sqlite://", **changed):
    return Settings(**{"database_url": database_url} | ON | FEW | changed)


@contextmanager
def in_memory(apps, first_rows, **changed):
    """An app with tenants on, and none beside home."""

    def fill():
        with db.engine.connect() as connection:
            connection.connection.driver_connection.deserialize(first_rows)

    with apps.borrow(settings_for(**changed), fill) as app, one_line_a_refusal(app):
        yield app


@pytest.fixture(scope="module", params=[IN_MEMORY, *SERVERS])
def app_on_server(request, tmp_path_factory):
    """An app on a database server, one for all tests of a module; None where the database is in memory."""
    if request.param == IN_MEMORY:
        yield None
        return
    folder, servers = tmp_path_factory.mktemp("tenants"), request.getfixturevalue("servers")
    with app_with_tables(settings_for(new_database(request.param, folder, servers))) as app:
        yield app


@pytest.fixture
def issuers(apps, first_rows, app_on_server, stopped_clock):
    """Home, acme and beta, with nothing but what `three_issuers` fills in."""
    if app_on_server is None:
        with in_memory(apps, first_rows) as app:
            yield three_issuers(app)
        return
    current.init_app(app_on_server, state_of(app_on_server).settings)
    with one_line_a_refusal(app_on_server):
        yield three_issuers(app_on_server)
    with app_on_server.app_context():
        for table in reversed(db.metadata.sorted_tables):
            rows = delete(table)
            db.session.execute(rows.where(table.c.id != HOME) if table.name == "tenant" else rows)
        db.session.commit()


@pytest.fixture
def away_from():
    """`away_from(app)(True)`: whoever reads the tenants finds no database."""

    def away_from(app):
        is_away = [False]

        def refuse(connection, cursor, sql, *rest):
            if is_away[0] and "FROM tenant" in sql:
                raise OperationalError(sql, {}, Exception("the database is away"))

        with app.app_context():
            event.listen(db.engine, "before_cursor_execute", refuse)
        return lambda value: is_away.__setitem__(0, value)

    return away_from
