"""Fixtures: a fresh in-memory app per test, rows in and out, and the statements that were sent.

In-memory SQLite is for the test client alone. Anything with threads or processes uses `tests/live.py`: a real server on a file or
on PostgreSQL. The app context is closed before a test starts: an open one would be shared with the request it sends.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from sqlalchemy import event

from app import create_app
from config import Settings
from models import Scope, db
from protocol import clock, passwords
from tests.builders import ISSUER, SECRET_KEY
from tests.live import ENGINES, Postgres, new_database

# What `make test` leaves to `make test-long`, so that it ends while somebody waits; CI runs both.
LONG_FILES = {
    "test_rotation_live",
    "test_mutations",
    "test_apache",
    "test_demo_chromium",
    "test_pytest_plugin",
    "test_google_linking",
}
LONG_ON_POSTGRESQL = {
    "test_logout_notices_live",
    "test_assertions_live",
    "test_throttles_live",
    "test_oauth4webapi",
    "test_oauth4webapi_openid",
    "test_live",
    "test_demo",
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Marks what is long. Files that take long come first: the short ones after them keep all processes busy to the end."""
    for item in items:
        name = item.path.stem
        if name in LONG_FILES or (name in LONG_ON_POSTGRESQL and "postgresql" in item.name):
            item.add_marker("long")
    items.sort(key=lambda item: item.path.parent.name != "flows")


@pytest.fixture(scope="session", autouse=True)
def clean_environment():
    """No test sees the settings of whoever runs it."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in [name for name in os.environ if name.startswith("OSTIARY_") or name == "PORT"]:
            monkeypatch.delenv(name)
        yield


@pytest.fixture
def settings() -> Settings:
    return Settings(issuer=ISSUER, database_url="sqlite://", secret_key="k" * 32, signup="open")


@pytest.fixture(scope="session")
def first_rows() -> bytes:
    """A database with all tables and some scopes, as SQLite keeps it in memory: taken over in no time, made in 6 ms."""
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


class CompiledTemplates(BytecodeCache):
    """The compiled templates of this process: every test has an app of its own, and compiling is most of its first page."""

    def __init__(self) -> None:
        self.by_key: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self.by_key:
            bucket.bytecode_from_string(self.by_key[bucket.key])  # does nothing where the template's text has changed

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.by_key[bucket.key] = bucket.bytecode_to_string()


TEMPLATES = CompiledTemplates()


@pytest.fixture
def app(settings: Settings, first_rows: bytes) -> Iterator[Flask]:
    app = create_app(settings)
    app.jinja_env.bytecode_cache = TEMPLATES
    with app.app_context(), db.engine.connect() as connection:
        connection.connection.driver_connection.deserialize(first_rows)
    yield app
    with app.app_context():
        db.engine.dispose()


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
def sleep(monkeypatch):
    """The clock stands still, but for the seconds that a test sleeps."""
    started_at = clock.now()
    passed = 0

    def sleep(seconds):
        nonlocal passed
        passed += seconds

    monkeypatch.setattr(clock, "now", lambda: started_at + passed)
    return sleep


CHEAP = "$argon2id$v=19$m=8,t=1,p=1$"


@pytest.fixture(autouse=True)
def cheap_passwords(request, monkeypatch):
    """Pages and protocol ask for thousands of sign-ins: in this process a password hash costs next to nothing.

    What is hashed and when stays as it is. Not for tests that are about its price, nor where a live server has the other price.
    """
    folder = request.path.parent.name
    if folder in ("pages", "endpoints", "grants", "certification") and not request.node.get_closest_marker(
        "usual_price"
    ):
        monkeypatch.setattr(passwords, "MEMORY_KIB", 8)
        monkeypatch.setattr(passwords, "ITERATIONS", 1)
        monkeypatch.setattr(passwords, "PARAMETERS", CHEAP)
        monkeypatch.setattr(passwords, "HASH_OF_NOBODY", f"{CHEAP}{'A' * 22}${'A' * 43}")


@pytest.fixture(scope="session")
def postgres():
    """A function that gives this run's PostgreSQL server, started when the first test needs it.

    In a folder of its own: every pytest session that starts closes the one that they share to PostgreSQL's user.
    """
    servers = []
    with tempfile.TemporaryDirectory(prefix="ostiary-postgres-") as folder:

        def server():
            if not servers:
                servers.append(Postgres(Path(folder)))
            return servers[0]

        yield server
        for started in servers:
            started.stop()


@pytest.fixture(params=ENGINES)
def database_url(request, tmp_path, postgres):
    """A fresh database on each engine that several processes can share."""
    return new_database(request.param, tmp_path, postgres)
