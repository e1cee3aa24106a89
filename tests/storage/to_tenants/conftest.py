"""An app on each engine whose database has no tables yet."""

import pytest

from models import db
from tests.storage.to_tenants.migrating import new_app


@pytest.fixture
def app(database_url):
    app = new_app(database_url)
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def dialect(app):
    return db.engine.dialect.name
