"""Fixtures: a fresh in-memory app per test, rows in and out, and the statements that were sent.

In-memory SQLite is for the test client alone. Anything with threads or processes uses `tests/live.py`: a real
server on a file or on PostgreSQL. The app context is closed before a test starts: an open one would be shared
with the request it sends.
"""

import gc
import os
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event

from app import create_app
from config import Settings
from crypto import key_schedule, passwords
from models import Scope, db
from tests import isolation, rsa_keys
from tests.apps import Apps
from tests.builders import ISSUER, SECRET_KEY
from tests.live import ENGINES, DatabaseServers, new_database
from tests.places import an_open_folder
from tests.refusal_lines import one_line_a_refusal
from tests.stopped_clock import StoppedClock, stop_clock

IGNORED = {"PORT", "PYTHONDONTWRITEBYTECODE"}  # variables of whoever runs the tests


def pytest_addoption(parser):
    parser.addoption(
        "--delay-clock",
        type=float,
        default=0,
        metavar="SECONDS",
        help="wait before each test's clock is stopped: with 1.1, what was stored earlier is a second older",
    )


def pytest_configure(config):
    if not hasattr(config, "workerinput"):  # once a run, and its workers inherit the environment
        config.add_cleanup(rsa_keys.begin_run())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Complete the marks; what starts processes comes first, so that the short files after it keep all
    workers busy to the end.
    """
    for item in items:
        complete_marks(item)
    items.sort(key=lambda item: item.get_closest_marker("integration") is None)


def pytest_collection_finish():
    """Spare the garbage collector what stays until the end: the modules, and ten thousand tests."""
    gc.collect()
    gc.freeze()


def complete_marks(item):
    """Add the marks that follow from others, and from the fixtures that a test asks for."""
    for mark in item.iter_markers("long_on"):
        if any(engine in item.name for engine in mark.args):
            item.add_marker("whole_machine" if item.get_closest_marker("long") else "long")
    if item.get_closest_marker("alone") or item.get_closest_marker("whole_machine"):
        item.add_marker("long")
    if "integration" in item.fixturenames:
        item.add_marker("integration")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    is_fast = not any(map(item.get_closest_marker, ("integration", "long")))
    with isolation.only_memory(is_on=is_fast):
        return (yield)


@pytest.fixture(scope="session")
def integration():
    """Give the mark of this name to each test whose fixture starts a process, listens or opens a file."""


@pytest.fixture(scope="session", autouse=True)
def clean_environment():
    """No test sees the settings of whoever runs it, and what servers compile is there for the next one."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in [name for name in os.environ if name.startswith("OSTIARY_") or name in IGNORED]:
            monkeypatch.delenv(name)
        yield


@pytest.fixture(scope="session")
def settings() -> Settings:
    return Settings(issuer=ISSUER, database_url="sqlite://", secret_key="k" * 32, signup="open")


@pytest.fixture(scope="session")
def first_rows() -> bytes:
    """A database with all tables and some scopes, as SQLite keeps it in memory: taken over in no time, made
    in 6 ms.
    """
    app = create_app(Settings(issuer=ISSUER, database_url="sqlite://", secret_key=SECRET_KEY))
    with app.app_context():
        db.create_all()
        db.session.add_all(
            [
                Scope(name="openid", description="Know who you are"),
                Scope(name="profile", description="See your name"),
                Scope(name="email", description="See your email address"),
                Scope(name="read", description="Read your notes"),
            ]
        )
        db.session.commit()
        with db.engine.connect() as connection:
            content = connection.connection.driver_connection.serialize()
        db.engine.dispose()
    return content


@pytest.fixture(scope="session")
def apps() -> Apps:
    return Apps()


@pytest.fixture
def stopped_clock(request) -> Iterator[StoppedClock]:
    """Return the clock, stopped before a test's first row: what writes rows asks for it, or for `app`."""
    with stop_clock(request.config) as stopped_clock:
        yield stopped_clock


@pytest.fixture
def app(stopped_clock: StoppedClock, settings: Settings, apps: Apps, first_rows: bytes) -> Iterator[Flask]:
    def fill() -> None:
        with db.engine.connect() as connection:
            connection.connection.driver_connection.deserialize(first_rows)

    with apps.borrow(settings, fill) as app, one_line_a_refusal(app):
        yield app


class Browser(FlaskClient):
    """The test client, speaking to the issuer's own host."""

    def open(self, *args, **kwargs):
        kwargs.setdefault("base_url", ISSUER)
        return super().open(*args, **kwargs)


@pytest.fixture
def http(app):
    app.test_client_class = Browser
    return app.test_client()


@pytest.fixture
def seed(app):
    """Store rows, in an app context of its own."""

    def seed(*rows):
        with app.app_context():
            for row in rows:  # in the order given: people and clients before what refers to them
                db.session.add(row)
                db.session.flush()
            db.session.commit()

    return seed


@pytest.fixture
def rows(app):
    """The rows of a statement as tuples, in an app context of its own."""

    def rows(statement):
        with app.app_context():
            return [tuple(row) for row in db.session.execute(statement)]

    return rows


@pytest.fixture
def statements(app):
    """The SQL sent since the last `clear()`, in order, "COMMIT" and "ROLLBACK" included."""
    seen = []
    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", lambda conn, cursor, sql, *rest: seen.append(sql))
        event.listen(db.engine, "commit", lambda conn: seen.append("COMMIT"))
        event.listen(db.engine, "rollback", lambda conn: seen.append("ROLLBACK"))
    return seen


@pytest.fixture
def sleep(stopped_clock):
    """A function that lets so many seconds pass."""
    return stopped_clock.sleep


CHEAP_FOLDERS = (
    *("pages", "endpoints", "grants", "certification", "lines", "middleware", "services", "tenants"),
)
CHEAP = "$argon2id$v=19$m=8,t=1,p=1$"


@pytest.fixture(autouse=True)
def cheap_passwords(request, monkeypatch):
    """Pages and protocol ask for thousands of sign-ins: in this process a password hash costs next to
    nothing.

    What is hashed and when stays as it is. Not for tests that are about its price, nor where a live server
    has the other price.
    """
    folder = request.path.parent.name
    if folder in CHEAP_FOLDERS and not request.node.get_closest_marker("usual_price"):
        monkeypatch.setattr(passwords, "MEMORY_KIB", 8)
        monkeypatch.setattr(passwords, "ITERATIONS", 1)
        monkeypatch.setattr(passwords, "PARAMETERS", CHEAP)
        monkeypatch.setattr(passwords, "DUMMY_HASH", f"{CHEAP}{'A' * 22}${'A' * 43}")


@pytest.fixture(autouse=True)
def pooled_rsa_keys(request, monkeypatch):
    """Let the server take its RSA keys from a pool: to make one and to read it takes longer than a test."""
    if not request.node.get_closest_marker("usual_price"):
        pool = rsa_keys.Pool()
        monkeypatch.setitem(key_schedule.GENERATORS, "RS256", pool.generate)
        monkeypatch.setitem(key_schedule.TYPES, "RS256", pool)


@pytest.fixture(scope="session")
def servers(integration):
    """This run's database servers, each started when the first test needs it:
    `servers("mariadb").new_database()`.

    In a folder of their own, which PostgreSQL's account can enter: pytest's are closed to others.
    """
    with an_open_folder() as folder:
        servers = DatabaseServers(folder)
        yield servers
        servers.stop()


@pytest.fixture(scope="session")
def postgres(servers):
    return servers


@pytest.fixture(params=ENGINES)
def database_url(request, tmp_path, servers):
    """A fresh database on each engine that several processes can share."""
    return new_database(request.param, tmp_path, servers)
