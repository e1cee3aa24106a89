"""Commands run on a migrated SQLite file, a copy of one that `flask db upgrade` made: they refuse
any other.
"""

import json
import shutil

import pytest
from flask_migrate import upgrade

from app import create_app
from config import Settings
from models import SigningKey, db
from protocol import clock
from tests.builders import ISSUER, SECRET_KEY


def settings_on(path):
    return Settings(issuer=ISSUER, database_url=f"sqlite:///{path}", secret_key=SECRET_KEY)


def a_signing_key(kid, **changed):
    """A key that signs since yesterday; nothing can be signed with it."""
    yesterday = clock.now() - 24 * 3600
    values = {
        "alg": "RS256",
        "generation": 1,
        "public_jwk": {"kid": kid},
        "sealed_private_key": b"not even sealed",
    }
    return SigningKey(**{"kid": kid, "created_at": yesterday, "active_from": yesterday} | values | changed)


@pytest.fixture(scope="session")
def migrated_file(integration, tmp_path_factory):
    path = tmp_path_factory.mktemp("migrated") / "ostiary.sqlite3"
    app = create_app(settings_on(path))
    with app.app_context():
        upgrade()
        db.engine.dispose()
    return path


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("commands")


@pytest.fixture
def settings(migrated_file, folder):
    """The same file for every test, so that they can share an app; as new each time."""
    for left in folder.glob("ostiary.sqlite3*"):
        left.rmdir() if left.is_dir() else left.unlink()
    path = folder / "ostiary.sqlite3"
    shutil.copy(migrated_file, path)
    return settings_on(path)


@pytest.fixture
def app(stopped_clock, settings, apps):
    with apps.borrow(settings) as app:
        yield app


@pytest.fixture
def flask(app):
    """Run `flask …` in this process: a result with `exit_code`, `stdout` and `stderr`.

    A traceback fails the test.
    """

    def flask(*arguments, input=None):
        return app.test_cli_runner().invoke(args=arguments, input=input, catch_exceptions=False)

    return flask


@pytest.fixture
def flask_json(flask):
    """What a command that succeeds prints with `--json`."""

    def flask_json(*arguments, input=None):
        done = flask(*arguments, "--json", input=input)
        assert done.exit_code == 0, done.stderr
        return json.loads(done.stdout)

    return flask_json


@pytest.fixture
def refused(flask):
    """The words on stderr of a command that must exit 1 and print nothing on stdout."""

    def refused(*arguments, input=None):
        done = flask(*arguments, input=input)
        assert (done.exit_code, done.stdout) == (1, ""), done.output
        assert done.stderr.startswith("Error: ")
        return done.stderr

    return refused
