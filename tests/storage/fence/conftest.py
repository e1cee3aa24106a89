"""Engines behind the fence, with rows of two tenants: in memory, on PostgreSQL, on MariaDB."""

import pytest
from sqlalchemy import create_engine

from database import tenancy
from tests.storage.fence.models import Base, fill


@pytest.fixture(scope="session")
def outside_memory():
    """Unlike the rest of `tests/storage`, what needs no server here stays in memory."""


@pytest.fixture(scope="module")
def memory():
    engine = create_engine("sqlite://")
    yield prepared(engine)
    engine.dispose()


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def on_server(request, servers):
    engine = create_engine(servers(request.param).new_database())
    yield prepared(engine)
    engine.dispose()


def prepared(engine):
    """Return an engine behind the fence, with rows of two tenants."""
    with engine.begin() as connection:
        fill(connection)
    tenancy.install(engine, Base.metadata)
    return engine
