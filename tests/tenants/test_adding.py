"""Two operators add tenants at the same moment: one host is never that of two."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from app import create_app
from errors import ConflictError
from models import db
from services import tenants
from tests.tenants.conftest import settings_for
from tests.tenants.issuers import add_tenant

ROUNDS = 4


@pytest.fixture
def apps_on_one(database_url):
    """Two, as two commands are two processes."""
    found = [create_app(settings_for(database_url)) for _ in range(2)]
    with found[0].app_context():
        db.create_all()
    yield found
    for app in found:
        with app.app_context():
            db.engine.dispose()


@pytest.mark.threat("T204")
@pytest.mark.integration
@pytest.mark.long_on("mariadb")
def test_one_host(apps_on_one, monkeypatch):
    barrier, look = Barrier(2), tenants.refuse_if_taken

    def look_and_dawdle(*tenant):
        look(*tenant)
        time.sleep(0.1)  # the other one looks meanwhile

    monkeypatch.setattr(tenants, "refuse_if_taken", look_and_dawdle)

    def add(app, name, issuer):
        barrier.wait(10)
        try:
            return add_tenant(app, name, issuer)
        except ConflictError:
            return None

    with ThreadPoolExecutor(2) as pool:
        for number in range(ROUNDS):
            host = f"https://host{number}.example"
            issuers = [host, f"{host}/below"]
            names = [f"a{number}", f"b{number}"]
            assert sorted(map(bool, pool.map(add, apps_on_one, names, issuers))) == [False, True]
