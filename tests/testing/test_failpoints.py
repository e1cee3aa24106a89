"""Failpoints: what each point is, what orders say, that one process acts once, and that an unarmed app has
none of it.
"""

import os
import signal
import subprocess
import sys
import time

import pytest
from sqlalchemy.exc import OperationalError

from app import create_app
from config import Settings
from models import db
from testing import failpoints
from testing.failpoints import Action
from tests.armed import arm
from tests.builders import ISSUER, a_client, a_code, a_machine, a_token, a_user, basic, code_request
from tests.live import PROJECT

LOOPBACK = "http://127.0.0.1:8000"
CODE = "ost_ac_" + "c" * 43
EVENTS = ("begin", "commit", "after_cursor_execute")


def a_new_app(tmp_path, issuer=LOOPBACK):
    url = f"sqlite:///{tmp_path / 'failpoints.sqlite3'}"
    return create_app(Settings(issuer=issuer, database_url=url, secret_key="k" * 32))


def listeners(app):
    with app.app_context():
        return {name: len(list(getattr(db.engine.dispatch, name))) for name in EVENTS}


def test_an_app_that_is_not_armed_has_no_listener_of_it(tmp_path):
    app = a_new_app(tmp_path)
    assert listeners(app) == dict.fromkeys(EVENTS, 0)
    arm(app, tmp_path / "orders")
    assert listeners(app) == dict.fromkeys(EVENTS, 1)


def test_only_a_loopback_issuer_can_be_armed(tmp_path):
    with pytest.raises(AssertionError, match="failpoints kill processes"):
        arm(a_new_app(tmp_path, ISSUER), tmp_path / "orders")


def test_no_variable_arms_a_server(tmp_path, monkeypatch):
    monkeypatch.setenv("OSTIARY_ISSUER", LOOPBACK)
    monkeypatch.setenv("OSTIARY_DATABASE_URL", f"sqlite:///{tmp_path / 'failpoints.sqlite3'}")
    monkeypatch.setenv("OSTIARY_SECRET_KEY", "k" * 32)
    monkeypatch.setenv("OSTIARY_FAILPOINT", str(tmp_path / "orders"))
    assert listeners(create_app()) == dict.fromkeys(EVENTS, 0)


@pytest.fixture
def reached(app):
    """The points that requests reach, in order."""
    points = []
    with app.app_context():
        failpoints.listen(db.engine, lambda point, connection: points.append(point))
    return points


@pytest.mark.threat("T174")
def test_the_points_of_a_code_exchange(http, seed, reached):
    seed(a_user(), a_client(), a_code(CODE), a_token())
    reached.clear()
    assert http.post("/oauth/token", data=code_request(CODE), auth=basic()).status_code == 200
    points = [point for point in reached if point != "read"]
    assert points == ["begin", "lock", "claim", "delete", "insert", "before-commit", "after-commit"]


def test_the_points_of_a_machine_token(http, seed, reached):
    seed(a_machine())
    reached.clear()
    form = {"grant_type": "client_credentials"}
    assert http.post("/oauth/token", data=form, auth=basic("robot")).status_code == 200
    assert reached == ["begin", "read", "delete", "insert", "before-commit", "after-commit"]


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("insert:kill", Action("insert", "kill")),
        ("claim:kill:3\n", Action("claim", "kill", passes=3)),
        ("lock:hang:0.5", Action("lock", "hang", 0.5)),
        ("lock:hang:2:4", Action("lock", "hang", 2, 4)),
        ("before-commit:raise:1", Action("before-commit", "raise")),
    ],
)
def test_an_action_is_read_as_it_is_written(text, order):
    assert Action.parse(text) == order
    assert Action.parse(str(order)) == order


@pytest.mark.parametrize(
    "text", ["", "insert", "somewhere:kill", "insert:explode", "insert:kill:soon", "lock:hang"]
)
def test_orders_that_are_none(text):
    with pytest.raises((ValueError, IndexError)):
        Action.parse(text)


def test_the_nth_pass_is_the_one(tmp_path):
    orders = tmp_path / "orders"
    orders.write_text("insert:raise:2")
    assert failpoints.take(orders, "delete") is None
    assert failpoints.take(orders, "insert") is None
    assert failpoints.take(orders, "insert") == Action("insert", "raise")
    assert failpoints.take(orders, "insert") is None


class TestArmed:
    @pytest.fixture
    def orders(self, tmp_path):
        return tmp_path / "orders"

    @pytest.fixture
    def app(self, integration, tmp_path, orders):
        app = a_new_app(tmp_path)
        arm(app, orders)
        with app.app_context():
            db.create_all()
        yield app
        with app.app_context():
            db.engine.dispose()

    def post(self, app):
        return app.test_client().post(
            "/oauth/token", data={"grant_type": "client_credentials"}, auth=basic("robot"), base_url=LOOPBACK
        )

    @pytest.mark.parametrize("point", ["begin", "delete", "insert", "before-commit", "after-commit"])
    def test_storage_fails_once(self, app, seed, orders, point):
        seed(a_machine())
        orders.write_text(f"{point}:raise")
        assert self.post(app).status_code == 503
        assert not orders.exists()
        assert self.post(app).status_code == 200

    def test_it_hangs(self, app, seed, orders):
        seed(a_machine())
        orders.write_text("insert:hang:0.2")
        start = time.monotonic()
        assert self.post(app).status_code == 200
        assert time.monotonic() - start >= 0.2

    def test_outside_of_requests_nothing_happens(self, app, seed, orders):
        orders.write_text("insert:raise")
        seed(a_machine())
        assert orders.exists()


@pytest.mark.integration
def test_a_process_is_killed(tmp_path):
    orders = tmp_path / "orders"
    orders.write_text("begin:kill")
    ask = (
        "from tests.armed import create_app\n"
        f"create_app().test_client().get('/readyz', base_url='{LOOPBACK}')\n"
    )
    environment = os.environ | {
        "OSTIARY_ISSUER": LOOPBACK,
        "OSTIARY_DATABASE_URL": f"sqlite:///{tmp_path / 'killed.sqlite3'}",
        "OSTIARY_SECRET_KEY": "k" * 32,
        "FAILPOINT_ORDERS": str(orders),
    }
    command = [sys.executable, "-c", ask]
    first, second = (
        subprocess.run(command, cwd=PROJECT, env=environment, timeout=30).returncode for _ in range(2)
    )
    assert (first, second) == (-signal.SIGKILL, 0)


def test_an_error_of_commit_is_told_as_a_session_tells_it(app, seed):
    """With the driver's error in it, which decides what is answered."""

    def fail(point, connection):
        if point == "after-commit":
            raise connection.dialect.loaded_dbapi.OperationalError("cut")

    with app.app_context():
        failpoints.listen(db.engine, fail)
    with pytest.raises(OperationalError) as caught:
        seed(a_user())
    assert str(caught.value.orig) == "cut"
